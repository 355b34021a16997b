"""One series, or a collection of them, before it is scaled and cut."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from msae_jax.data.options import note
from msae_jax.errors import InputError

CHUNK = 2**18  # points that are looked at together
IRREGULAR = 0.01
"""Steps that differ from the median step by more than this share of it are irregular."""


@dataclass(frozen=True)
class Series:
    """The values of one or several series, one behind the other.

    Attributes:
      values: float32 [T, C]; NaN where a value is missing.
      bounds: int [S + 1]; series s has the rows bounds[s] to bounds[s + 1].
      channels: the C names of the channels.
      times: of one series, float64 [T] seconds or datetime64 [T]; None where the file has none.
      labels: int32, [T] of the points of one series, or [S] of the series of a collection; or None.
      classes: what the labels stand for, label i for `classes[i]`; None where they are numbers.
    """

    values: np.ndarray
    bounds: np.ndarray
    channels: tuple[str, ...]
    times: np.ndarray | None = None
    labels: np.ndarray | None = None
    classes: tuple[str, ...] | None = None

    @property
    def count(self) -> int:
        """The number of series."""
        return len(self.bounds) - 1


def single(
    values: np.ndarray,
    channels: tuple[str, ...] | None = None,
    times: np.ndarray | None = None,
    labels: np.ndarray | None = None,
) -> Series:
    """Returns one series of values [T] or [T, C]."""
    values = values[:, None] if values.ndim == 1 else values
    names = channels or numbered(values.shape[1])
    return Series(values, np.array([0, len(values)]), names, times, labels)


def collection(
    parts: list[np.ndarray],
    channels: tuple[str, ...] | None = None,
    labels: object = None,
    classes: tuple[str, ...] | None = None,
) -> Series:
    """Returns several series, each [T_s, C]; they may differ in length."""
    bounds = np.cumsum([0, *(len(part) for part in parts)])
    values = np.concatenate(parts).astype(np.float32, copy=False)
    y = None if labels is None else np.asarray(labels, np.int32)
    return Series(values, bounds, channels or numbered(values.shape[1]), None, y, classes)


def numbered(count: int) -> tuple[str, ...]:
    """Returns names for channels that have none: their numbers, counted from 1."""
    return tuple(str(i + 1) for i in range(count))


def missing_points(values: np.ndarray) -> np.ndarray:
    """Returns whether every channel is missing at each point, bool [T]."""
    parts = [np.isnan(part).all(axis=1) for part in chunks(values)]
    return np.concatenate(parts) if parts else np.empty(0, bool)


def chunks(values: np.ndarray) -> Iterator[np.ndarray]:
    """Yields the points [T, C] in parts, so that what is computed of them takes little memory."""
    for begin in range(0, len(values), CHUNK):
        yield values[begin : begin + CHUNK]


def seconds(times: np.ndarray) -> np.ndarray:
    """Returns time stamps as float64 seconds."""
    if times.dtype.kind == "M":
        return times.astype("datetime64[us]").astype(np.int64) / 1e6
    return times.astype(np.float64)


def check_times(times: np.ndarray, lines: np.ndarray | None, where: str) -> None:
    """Checks that time stamps increase, and says where their steps are irregular.

    Args:
      lines: the line of each in the file, for the error; None counts points from 1.

    Raises:
      InputError: a time stamp is not after the one before it.
    """
    steps = np.diff(seconds(times))
    bad = np.flatnonzero(~(steps > 0))
    if bad.size:
        i = int(bad[0])
        place = f"point {i + 2}" if lines is None else f"line {int(lines[i + 1])}"
        what = "is doubled" if steps[i] == 0 else f"comes before {times[i]}"
        raise InputError(
            f"{where}: {place}: the time {times[i + 1]} {what}, expected times that increase: sort "
            "the file by time and keep one row of each time."
        )
    if not steps.size:
        return
    step = float(np.median(steps))
    odd = np.abs(steps - step) > IRREGULAR * step
    if odd.any():
        note(
            f"{where}: the time stamps are irregular: {int(odd.sum())} of {len(steps)} steps are "
            f"not {step:g} s, they range from {steps.min():g} to {steps.max():g} s; points are "
            f"taken as evenly spaced (--resample {step:g} puts them on a grid)"
        )


def resampled(series: Series, step: float) -> Series:
    """Returns one series on an even grid: the mean of the points in each step, NaN where none is.

    A label of a step is the largest of its points' labels.

    Args:
      step: seconds.
    """
    if series.times is None:
        raise InputError("--resample needs time stamps: name their column with --time.")
    at = seconds(series.times)
    bins = np.floor((at - at[0]) / step + 1e-9).astype(np.int64)
    size = int(bins[-1]) + 1
    if size > 2**31 or size > 1000 * len(at):
        raise InputError(
            f"--resample {step:g} would make {size} points of {len(at)}: give a longer step."
        )
    known = np.isfinite(series.values)
    sums = np.zeros((size, series.values.shape[1]))
    counts = np.zeros_like(sums)
    np.add.at(sums, bins, np.where(known, series.values, 0).astype(np.float64))
    np.add.at(counts, bins, known)
    with np.errstate(invalid="ignore"):
        values = (sums / np.where(counts, counts, np.nan)).astype(np.float32)
    grid = np.arange(size) * step
    if series.times.dtype.kind == "M":
        micro = np.round(grid * 1e6).astype("timedelta64[us]")
        times = series.times[0].astype("datetime64[us]") + micro
    else:
        times = series.times[0] + grid
    labels = None
    if series.labels is not None:
        labels = np.zeros(size, np.int32)
        np.maximum.at(labels, bins, series.labels)
    return replace(series, values=values, bounds=np.array([0, size]), times=times, labels=labels)
