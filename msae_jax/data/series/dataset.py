"""From a file of series to a `Dataset` of windows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from msae_jax.data import arrays
from msae_jax.data.dataset import Dataset, Split, aligned
from msae_jax.data.options import Options, note, parse
from msae_jax.data.series import files
from msae_jax.data.series import scaling as scalings
from msae_jax.data.series.series import Series, chunks, collection, missing_points
from msae_jax.data.series.windows import Windows, between_gaps, starts_of
from msae_jax.errors import InputError

TRAIN_SHARE = 0.7  # of the points of a series
MAX_GAP = 0.5  # of a window
WINDOW = 128  # points, where none is given and the series is long enough
SPOILED = 30.0  # unscaled values beyond this spoil training with the usual learning rates


@dataclass(frozen=True)
class Facts:
    """What a run must know to put other series through its model.

    Attributes:
      channels: their names.
      scaling: learned from the training part.
      window, stride: in points.
    """

    channels: tuple[str, ...]
    scaling: scalings.Scaling
    window: int
    stride: int

    def to_dict(self) -> dict[str, Any]:
        """Returns the facts as JSON values."""
        return {
            "channels": list(self.channels),
            "scaling": self.scaling.to_dict(),
            "window": self.window,
            "stride": self.stride,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Facts:
        """Returns the facts that `to_dict` wrote.

        Raises:
          InputError: they are not such.
        """
        try:
            scaling = scalings.Scaling.from_dict(values["scaling"])
            channels = tuple(map(str, values["channels"]))
            found = cls(channels, scaling, int(values["window"]), int(values["stride"]))
            if len(channels) != len(scaling.center) or found.window < 2:
                raise ValueError("lengths differ")
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"these are no facts of a series: {error}") from error
        return found


def load(name: str | Path) -> Dataset:
    """Returns the windows of a file of series, split in time or by series, and scaled.

    Raises:
      InputError: the file cannot be read, or the options do not fit it.
    """
    path, options = parse(name)
    series = files.read(path, options)
    other = files.test_file(path)
    if other is None or series.count == 1:
        return as_dataset(series, str(name), options)
    note(f"{path}: the test series are those of {other.name}")
    test = files.read(other, options)
    if test.channels != series.channels:
        raise InputError(f"{other}: has {len(test.channels)} channels, {path} {series.channels}")
    joined = replace(
        series,
        values=np.concatenate([series.values, test.values]),
        bounds=np.concatenate([series.bounds, series.bounds[-1] + test.bounds[1:]]),
        labels=_joined(series.labels, test.labels),
    )
    return as_dataset(joined, str(name), options, train_series=series.count)


def as_dataset(
    series: Series,
    name: str = "series",
    options: Options | None = None,
    *,
    train_series: int | None = None,
) -> Dataset:
    """Returns the windows of series as a `Dataset`; `values` is scaled in place.

    One series is split in time: the first 70% of its points are the training part
    (`options.train_share`, `train_points`), and no test window begins within `gap` points of it. A
    collection is split by series: a tenth is the test part. Runs of missing points longer than half
    a window (`max_gap`) split a series; shorter ones stay, as NaN, and are masked in training.

    Args:
      train_series: the first so many series of a collection are the training part.

    Raises:
      InputError: a part holds no window, or a channel cannot be scaled.
    """
    options = options or Options()
    if options.split == "hash":
        raise InputError(f"{name}: --split hash is for samples; series split by time or random.")
    series, length = _with_length(series, options, name)
    stride = int(options.number("stride", 1))
    train, test = _parts(series, options, length, name, train_series)
    longest = int(options.number("max_gap", MAX_GAP) * length)
    if options.window is None and series.count > 1:
        longest = length  # shorter series are filled up, which is no gap
    segments = [between_gaps(series.values, part, longest) for part in (train, test)]
    _note_missing(series, longest, name)
    kind = options.scaling or "zscore"
    scaling = scalings.learn(kind, series.values, train, series.channels, name)
    if options.scaling is None:
        note(f"{name}: each channel is scaled to mean 0, deviation 1 (--scaling none leaves it)")
    elif kind == "window":
        note(f"{name}: each window is scaled by itself, which hides anomalies of the level")
    values = aligned(series.values)
    scaling.apply_in_place(values)
    if kind == "none":
        _note_range(values[slice(*train[0])], name)
    masked = _has_missing(values)
    splits = []
    for part, found in zip(("training", "test"), segments, strict=True):
        starts = _starts(found, length, stride, part, name)
        splits.append(Windows(values, starts, length, masked, kind == "window"))
    if options.split == "random":
        splits = _shuffled(splits, name)
    labels = [labels_of(series, windows) for windows in splits]
    facts = Facts(series.channels, scaling, length, stride)
    train_split, test_split = map(Split, splits, labels)
    return Dataset(name, train_split, test_split, series=facts, classes=series.classes)


def _starts(
    segments: list[tuple[int, int]], length: int, stride: int, part: str, name: str
) -> np.ndarray:
    starts = starts_of(segments, length, stride)
    if not len(starts):
        raise InputError(
            f"{name}: no window of {length} points fits the {part} part, whose longest run is "
            f"{max((b - a for a, b in segments), default=0)} points: give a shorter --window."
        )
    return starts


def _note_range(values: np.ndarray, name: str) -> None:
    high = max((float(np.nanmax(np.abs(part), initial=0.0)) for part in chunks(values)), default=0)
    if high > SPOILED:
        note(f"{name}: values up to {high:g} spoil training: --scaling zscore mends it")


def _with_length(series: Series, options: Options, name: str) -> tuple[Series, int]:
    """Returns the series and the window's length; without `--window`, of collections the longest.

    Then shorter series are filled up with missing points, so that each is one window.
    """
    lengths = np.diff(series.bounds)
    if options.window is not None:
        length = int(options.number("window"))
        if length > lengths.max():
            raise InputError(
                f"{name}: --window {length} is longer than the series, {lengths.max()} points"
            )
        return series, length
    if series.count == 1:
        length = max(2, min(WINDOW, int(lengths[0]) // 8))
        note(f"{name}: windows of {length} points (--window)")
        return series, length
    length = int(lengths.max())
    if (lengths == length).all():
        return series, length
    parts = [
        np.pad(part, ((0, length - len(part)), (0, 0)), constant_values=np.nan)
        for part in np.split(series.values, series.bounds[1:-1])
    ]
    return collection(parts, series.channels, series.labels, series.classes), length


def _parts(
    series: Series, options: Options, length: int, name: str, train_series: int | None
) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Returns the rows [begin, end) of the training series and of the test series."""
    bounds = list(zip(series.bounds[:-1].tolist(), series.bounds[1:].tolist(), strict=True))
    if train_series is not None:
        return bounds[:train_series], bounds[train_series:]
    share = options.number("train_share", TRAIN_SHARE)
    if series.count == 1:
        points = len(series.values)
        cut = int(options.number("train_points", int(share * points)))
        gap = int(options.number("gap", 0))
        if options.split == "random":
            return bounds, bounds
        if not length <= cut <= points - gap - length:
            raise InputError(
                f"{name}: {cut} training points, a gap of {gap} and {points - cut - gap} test "
                f"points do not each leave room for a window of {length}: change --train-points, "
                "--train-share, --gap or --window."
            )
        return [(0, cut)], [(cut + gap, points)]
    if options.train_points is not None or options.gap is not None:
        raise InputError(f"{name}: --train-points and --gap are for one series, got a collection.")
    order = np.random.RandomState(0).permutation(series.count)
    held_out = series.count / arrays.HELD_OUT
    if options.train_share is not None:
        held_out = series.count * (1 - share)
    n = min(max(1, round(held_out)), series.count - 1)
    return [bounds[i] for i in np.sort(order[n:])], [bounds[i] for i in np.sort(order[:n])]


def _shuffled(splits: list[Windows], name: str) -> list[Windows]:
    """Returns a random tenth of all windows as the test split."""
    note(f"{name}: windows are split at random: overlapping ones share points of both parts")
    every = splits[0]
    order = np.random.RandomState(0).permutation(len(every))
    n = max(1, len(every) // arrays.HELD_OUT)
    return [replace(every, starts=every.starts[np.sort(part)]) for part in (order[n:], order[:n])]


def labels_of(series: Series, windows: Windows) -> np.ndarray | None:
    """Returns of each window the class of its series, or whether it holds a labelled point."""
    if series.labels is None:
        return None
    if series.count > 1:
        which = np.searchsorted(series.bounds, windows.starts, side="right") - 1
        return series.labels[which]
    total = np.concatenate([[0], np.cumsum(series.labels != 0)])
    inside = total[windows.starts + windows.length] - total[windows.starts]
    return (inside > 0).astype(np.int32)


def _has_missing(values: np.ndarray) -> bool:
    return any(bool(np.isnan(part).any()) for part in chunks(values))


def _note_missing(series: Series, longest: int, name: str) -> None:
    missing = sum(int(np.isnan(part).sum()) for part in chunks(series.values))
    if not missing:
        return
    whole = missing_points(series.values)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], whole, [False]]))).reshape(-1, 2)
    lengths = edges[:, 1] - edges[:, 0]
    most = int(lengths.max(initial=0))
    note(
        f"{name}: {missing} of {series.values.size} values are missing and masked; {len(edges)} "
        f"gaps of up to {most} points in all channels, {int((lengths > longest).sum())} of them "
        f"longer than {longest} points, which split the series (--max-gap)"
    )


def _joined(a: np.ndarray | None, b: np.ndarray | None) -> np.ndarray | None:
    return None if a is None or b is None else np.concatenate([a, b])
