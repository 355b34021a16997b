"""Scaling of the channels of a series, learned from its training part and undone on the way out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from msae_jax.data.series.series import CHUNK, chunks
from msae_jax.errors import InputError

KINDS = ("none", "zscore", "robust", "window")


@dataclass(frozen=True)
class Scaling:
    """Each channel c becomes (x - center[c]) / width[c].

    Attributes:
      kind: `none`; `zscore`, mean and standard deviation of the training part; `robust`, its median
        and interquartile range; or `window`, which leaves the values and scales each window.
      center, width: of each channel.
    """

    kind: str
    center: tuple[float, ...]
    width: tuple[float, ...]

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Returns values [..., C] scaled, float32."""
        return self._over(values, lambda x: (x - self._center) / self._width)

    def invert(self, values: np.ndarray) -> np.ndarray:
        """Returns scaled values [..., C] in the user's units, float32."""
        return self._over(values, lambda x: x * self._width + self._center)

    def apply_in_place(self, values: np.ndarray) -> None:
        """Scales an array [T, C] without another of its size."""
        if self.kind in ("none", "window"):
            return
        for part in chunks(values):
            part[...] = (part.astype(np.float64) - self._center) / self._width

    @property
    def _center(self) -> np.ndarray:
        return np.asarray(self.center)

    @property
    def _width(self) -> np.ndarray:
        return np.asarray(self.width)

    def _over(self, values: np.ndarray, fn: Any) -> np.ndarray:
        if self.kind in ("none", "window"):
            return np.asarray(values, np.float32)
        return fn(np.asarray(values, np.float64)).astype(np.float32)

    def to_dict(self) -> dict[str, Any]:
        """Returns the scaling as JSON values."""
        return {"kind": self.kind, "center": list(self.center), "width": list(self.width)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Scaling:
        """Returns the scaling that `to_dict` wrote.

        Raises: KeyError, TypeError or ValueError if it is none.
        """
        center, width = (tuple(map(float, values[key])) for key in ("center", "width"))
        if values["kind"] not in KINDS or len(center) != len(width) or not all(width):
            raise ValueError(f"not a scaling: {values}")
        return cls(values["kind"], center, width)


def learn(
    kind: str,
    values: np.ndarray,
    segments: Sequence[tuple[int, int]],
    channels: Sequence[str],
    where: str,
) -> Scaling:
    """Returns the scaling of a kind, from the rows [begin, end) of each training segment.

    Raises:
      InputError: a channel is constant there, or holds no value.
    """
    count = len(channels)
    if kind in ("none", "window"):
        return Scaling(kind, (0.0,) * count, (1.0,) * count)
    center, width = (_robust if kind == "robust" else _moments)(values, segments)
    for name, c, w in zip(channels, center, width, strict=True):
        if not np.isfinite(c):
            raise InputError(f"{where}: channel {name!r} holds no value in the training part.")
        if not w > 0:
            hint = " or --scaling zscore" if kind == "robust" else ""
            raise InputError(
                f"{where}: channel {name!r} is constant ({c:g}) in the training part and cannot be "
                f"scaled ({kind}): leave it out with --channels, or take --scaling none{hint}."
            )
    return Scaling(kind, tuple(map(float, center)), tuple(map(float, width)))


def _moments(
    values: np.ndarray, segments: Sequence[tuple[int, int]]
) -> tuple[np.ndarray, np.ndarray]:
    """Returns mean and standard deviation of each channel, in two passes over parts."""

    def total(fn: Any) -> np.ndarray:
        parts = [
            fn(values[begin : min(begin + CHUNK, b)].astype(np.float64))
            for a, b in segments
            for begin in range(a, b, CHUNK)
        ]
        return np.sum(parts, axis=0)

    with np.errstate(invalid="ignore", divide="ignore"):
        n = total(lambda x: np.isfinite(x).sum(axis=0))
        mean = total(lambda x: np.nansum(x, axis=0)) / n
        variance = total(lambda x: np.nansum(np.square(x - mean), axis=0)) / n
    deviation = np.sqrt(variance)
    # what float32 cannot tell from rounding is constant
    return mean, np.where(deviation > 1e-6 * np.abs(mean), deviation, 0.0)


def _robust(
    values: np.ndarray, segments: Sequence[tuple[int, int]]
) -> tuple[np.ndarray, np.ndarray]:
    """Returns median and interquartile range of each channel."""
    found = []
    for column in values.T:
        known = np.concatenate([column[a:b] for a, b in segments])
        known = known[np.isfinite(known)].astype(np.float64)
        found.append(np.percentile(known, [25, 50, 75]) if known.size else np.full(3, np.nan))
    low, middle, high = np.transpose(found)
    return middle, high - low
