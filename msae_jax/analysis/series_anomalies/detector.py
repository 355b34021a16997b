"""From trained models and a series to scores: how badly windows over a point are reconstructed."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from msae_jax.analysis.series_anomalies.scores import StreamingScorer
from msae_jax.data.series import Facts, Series, Windows
from msae_jax.data.series.windows import between_gaps, starts_of
from msae_jax.errors import InputError
from msae_jax.system.compiling import jit_inference
from msae_jax.train import observed

BATCH_SIZE = 512
"""Windows that are reconstructed at once. It is always the same, so that a window has the same
error wherever it lies in a file."""


def scored_windows(series: Series, facts: Facts, max_gap: float = 0.5) -> Windows:
    """Returns all windows of series, at a stride of 1, scaled as the training data were.

    Raises:
      InputError: other channels than those of training, or no series as long as a window.
    """
    if len(series.channels) != len(facts.channels):
        raise InputError(
            f"the series has {len(series.channels)} channels, the model was trained on "
            f"{len(facts.channels)}: {', '.join(facts.channels)}: --channels chooses them."
        )
    values = facts.scaling.apply(series.values)
    bounds = list(zip(series.bounds[:-1].tolist(), series.bounds[1:].tolist(), strict=True))
    segments = between_gaps(values, bounds, int(max_gap * facts.window))
    starts = starts_of(segments, facts.window, 1)
    if not len(starts):
        longest = max((b - a for a, b in segments), default=0)
        raise InputError(
            f"the longest run without a gap has {longest} points, expected at least a window, "
            f"{facts.window}."
        )
    masked = bool(np.isnan(values).any())
    return Windows(values, starts, facts.window, masked, facts.scaling.kind == "window")


def point_scores_of(
    model: nn.Module,
    variables: Sequence[Mapping[str, Any]],
    windows: Windows,
    aggregate: str = "centre",
) -> np.ndarray:
    """Returns the score of each point and channel `[T, C]`, the mean over models.

    Args:
      variables: of each model, such as those of several seeds.
      aggregate: how the windows over a point are put together, see `scores.AGGREGATES`.

    Returns:
      float64 mean squared errors in units of the scaled data; NaN where a value is missing or no
      window reaches.
    """
    parts = list(stream(model, variables, windows, aggregate))
    return np.concatenate(parts)


def stream(
    model: nn.Module,
    variables: Sequence[Mapping[str, Any]],
    windows: Windows,
    aggregate: str = "centre",
) -> Iterator[np.ndarray]:
    """Yields the scores of `point_scores_of` in order, as soon as they are final."""
    length, channels = windows.values.shape
    scorer = StreamingScorer(windows.length, channels, aggregate)
    for begin in range(0, len(windows), BATCH_SIZE):
        picked = np.arange(begin, begin + BATCH_SIZE)
        count = min(BATCH_SIZE, len(windows) - begin)
        batch = windows.take(np.minimum(picked, len(windows) - 1))
        errors = np.mean([_errors(model, one, batch) for one in variables], axis=0)
        errors = errors[:count].reshape(count, windows.length, channels)
        yield scorer.add(errors, windows.starts[begin : begin + count])
    yield scorer.finish(length)


@functools.partial(jit_inference, static_argnums=0)
def _errors(model: nn.Module, variables: Mapping[str, Any], batch: jax.Array) -> jax.Array:
    """Returns squared errors `[B, L(, C)]`, NaN where a value is missing."""
    x, _ = observed(batch, masked=True)
    out: Any = model.apply(variables, x)
    return jnp.square(out.recon.reshape(x.shape) - batch)
