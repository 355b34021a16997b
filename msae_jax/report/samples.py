"""Test samples beside their reconstructions: images, or curves in the user's units."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from msae_jax import weights
from msae_jax.analysis.augmentation import as_series, in_units
from msae_jax.data import Samples
from msae_jax.data.dataset import take
from msae_jax.data.series import Facts, Windows
from msae_jax.errors import InputError
from msae_jax.figures import image_rows
from msae_jax.figures.history import reconstructed_curve
from msae_jax.fitting.ensemble import who
from msae_jax.interop.torch_files import float32
from msae_jax.report.drawing import Drawings, plain
from msae_jax.report.gather import Run
from msae_jax.runs.history import in_words
from msae_jax.system.html import Html, element, joined, paragraphs
from msae_jax.train import evaluation

CHANNELS = 4
"""Channels of a series that are drawn at most."""
_IN_A_ROW = 4


class Shown(NamedTuple):
    """Which samples a report shows.

    Attributes:
      most: how many of a run. data: instead of the run's own.
      named: what the user names of a run's own code (`weights.model_of`).
    """

    most: int = 8
    data: str | None = None
    data_dir: Path | None = None
    named: Collection[str | None] = ()


class Pairs(NamedTuple):
    """Samples and what became of them.

    Attributes:
      original, reconstruction: `[n, ...]`, as the model sees them.
      errors: `[n]`, mean squared errors per value.
      windows: of a series, the windows that the samples are.
    """

    indices: np.ndarray
    original: np.ndarray
    reconstruction: np.ndarray
    errors: np.ndarray
    windows: Windows | None


def section(run: Run, shown: Shown, drawings: Drawings) -> Html:
    """Returns the samples of a run's first member with weights, or why there are none."""
    row = shown_member(run)
    if run.checkpoint is None or row is None:
        why = "every seed diverged" if run.checkpoint else "there is no checkpoint yet"
        return paragraphs([f"There is nothing to reconstruct with: {why}."])
    try:
        pairs, odd = _pairs(run, row, shown)
        drawn = _drawn(run, pairs, drawings)
    except InputError as error:
        return paragraphs([f"There are no samples here: {error}"])
    name = shown.data or run.settings.data
    said = (
        f"{len(pairs.indices)} samples, evenly spaced in the test split of {name}, "
        f"reconstructed by seed {who(run.members[row])} after "
        f"{in_words(len(run.histories[row]))}. Errors are mean squared errors per value, as the "
        "model sees the values."
    )
    return joined([paragraphs([said, *(f"Note: {text}." for text in odd)]), drawn])


def shown_member(run: Run) -> int | None:
    """Returns the position of the member that is shown: the first that has weights."""
    return next((i for i, h in enumerate(run.histories) if h and i not in run.diverged), None)


def _pairs(run: Run, row: int, shown: Shown) -> tuple[Pairs, list[str]]:
    assert run.checkpoint is not None
    opened = run.checkpoint.one(row)
    settings, model = weights.model_of(opened, shown.named)
    variables = jax.tree.map(float32, opened.variables)
    name = shown.data or settings.data
    _, (samples, _), odd = weights.split(
        name, "test", shown.data_dir, trained_on=opened.facts, own=shown.data is None
    )
    if tuple(samples.shape[1:]) != tuple(opened.sample_shape):
        raise InputError(
            f"the samples of {name} have shape {list(samples.shape[1:])}, the model was trained on "
            f"{list(opened.sample_shape)}."
        )
    count = min(shown.most, len(samples))
    indices = np.unique(np.linspace(0, len(samples) - 1, count).round().astype(int))
    windows = None
    chosen: Samples = take(samples, indices)
    if isinstance(samples, Windows):
        chosen = windows = replace(samples, starts=samples.starts[indices])
    made = evaluation.reconstruct(model, variables, chosen)
    original = np.asarray(take(chosen, np.arange(len(indices))))
    if original.dtype == np.uint8:
        original = original.astype(np.float32) / 255
    errors = np.nanmean(np.square(original - made).reshape(len(made), -1), axis=1)
    return Pairs(indices, original, made, errors, windows), odd


def _drawn(run: Run, pairs: Pairs, drawings: Drawings) -> Html:
    assert run.checkpoint is not None
    shape = pairs.original.shape[1:]
    facts = run.checkpoint.facts
    if pairs.windows is not None and facts is not None and facts.series is not None:
        return _series(pairs, Facts.from_dict(facts.series), drawings)
    if len(shape) == 3 and shape[2] in (1, 3):
        return _images(pairs, drawings)
    if len(shape) > 2:
        raise InputError(f"samples of shape {list(shape)} are neither images nor curves.")
    original, made = (as_series(x, math.prod(shape[1:])) for x in pairs[1:3])
    names = [f"channel {i + 1}" for i in range(original.shape[2])]
    titles = [f"sample {i}" for i in pairs.indices]
    return _curves(pairs, original, made, titles, names, [0] * len(titles), drawings)


def _images(pairs: Pairs, drawings: Drawings) -> Html:
    low, high = 0.0, 1.0
    if pairs.original.min() < 0 or pairs.original.max() > 1:  # users' own scale
        low, high = float(pairs.original.min()), float(pairs.original.max())
    original, made = (np.clip((x - low) / (high - low), 0, 1) for x in pairs[1:3])
    found = []
    for begin in range(0, len(original), _IN_A_ROW):
        rows = slice(begin, begin + _IN_A_ROW)
        captions = {"reconstruction": [f"MSE {error:.4f}" for error in pairs.errors[rows]]}
        titles = [f"sample {i}" for i in pairs.indices[rows]]
        images = {"original": original[rows], "reconstruction": made[rows]}
        figure = image_rows(images, titles=titles, captions=captions)
        listed = ", ".join(titles)
        found.append(drawings.add(figure, f"Originals above their reconstructions: {listed}."))
    return element("div", *found, class_="figures")


def _series(pairs: Pairs, facts: Facts, drawings: Drawings) -> Html:
    assert pairs.windows is not None
    count = len(facts.channels)
    original, made = (
        in_units(as_series(x, count), pairs.windows, facts.scaling) for x in pairs[1:3]
    )
    begins = [int(start) for start in pairs.windows.starts]
    titles = [f"window from point {begin}" for begin in begins]
    drawn = _curves(pairs, original, made, titles, list(facts.channels), begins, drawings)
    scaled = "each window by itself" if facts.scaling.kind == "window" else facts.scaling.kind
    said = f"Values are in the units of the data; the model sees them scaled ({scaled})."
    return joined([element("p", said), drawn])


def _curves(
    pairs: Pairs,
    original: np.ndarray,
    made: np.ndarray,
    titles: list[str],
    names: list[str],
    begins: list[int],
    drawings: Drawings,
) -> Html:
    """Draws samples `[n, L, C]` and their reconstructions, a figure a sample."""
    drawn = []
    channels = ["value"] if len(names) == 1 and names[0] == "channel 1" else names[:CHANNELS]
    for i, title in enumerate(titles):
        figure = reconstructed_curve(
            original[i, :, :CHANNELS],
            made[i, :, :CHANNELS],
            title=f"{title}, MSE {pairs.errors[i]:.4g}",
            channels=[plain(name) for name in channels],
            begin=begins[i],
        )
        drawn.append(drawings.add(figure, f"{title}: the original and its reconstruction."))
    said = "The line is the original, dashes are the reconstruction."
    if len(names) > CHANNELS:
        said += f" The first {CHANNELS} of {len(names)} channels are drawn."
    return joined([element("p", said), element("div", *drawn, class_="figures")])
