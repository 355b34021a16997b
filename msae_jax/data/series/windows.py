"""Windows of series as an index: the values are held once, and each window is a start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from msae_jax.data.series.series import missing_points


@dataclass(frozen=True, eq=False)
class Windows:
    """Samples [N, L], or [N, L, C] of several channels, that are cut when they are asked for.

    It is a `Source`. `msae_jax.train` also makes it a pytree, whose windows are cut inside a
    compiled program, so that memory grows with T x C and not with N x L.

    Attributes:
      values: float32 [T, C]; NaN where a value is missing.
      starts: int32 [N]; window i has the rows starts[i] to starts[i] + L.
      length: L.
      masked: whether any value is missing.
      standardize: whether each window is moved to mean 0 and deviation 1, channel by channel. This
        hides anomalies of the level.
    """

    values: Any
    starts: Any
    length: int
    masked: bool = False
    standardize: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        channels = self.values.shape[1]
        return (len(self), self.length, *([channels] if channels > 1 else []))

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(np.float32)

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, index: Any) -> np.ndarray:
        return self.take(index)

    def __getitems__(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        return self.take(np.asarray(indices))

    def take(self, indices: Any) -> Any:
        """Returns the windows [B, L] or [B, L, C] at `indices` [B], of NumPy or JAX."""
        rows = self.starts[indices][..., None] + np.arange(self.length, dtype=np.int32)
        x = self.values[rows]
        if self.standardize:
            x = standardized(x, axis=-2)
        return x[..., 0] if self.values.shape[1] == 1 else x


def standardized(x: Any, axis: int) -> Any:
    """Returns (x - mean) / deviation along the axis, of NumPy or JAX; missing values stay NaN.

    Where the deviation is below 1e-6 only the mean is taken off.
    """
    mean, deviation = moments(x, axis)
    return ((x - mean) / deviation).astype(np.float32)


def moments(x: Any, axis: int) -> tuple[Any, Any]:
    """Returns the mean and the deviation that `standardized` takes; the axis has length 1."""
    xp: Any = np
    if not isinstance(x, np.ndarray):
        import jax.numpy as xp
    known = ~xp.isnan(x)
    n = xp.maximum(known.sum(axis, keepdims=True), 1).astype(np.float32)
    mean = xp.where(known, x, 0.0).sum(axis, keepdims=True) / n
    error = xp.where(known, x - mean, 0.0)
    deviation = xp.sqrt(xp.square(error).sum(axis, keepdims=True) / n)
    return mean, xp.where(deviation < 1e-6, 1.0, deviation)


def starts_of(segments: Sequence[tuple[int, int]], length: int, stride: int) -> np.ndarray:
    """Returns the starts int32 [N] of the windows that lie inside the segments [begin, end)."""
    parts = [np.arange(a, b - length + 1, stride, dtype=np.int32) for a, b in segments]
    return np.concatenate([np.empty(0, np.int32), *parts])


def between_gaps(
    values: np.ndarray, segments: Sequence[tuple[int, int]], longest: int
) -> list[tuple[int, int]]:
    """Returns the segments without the gaps that are longer than `longest` points.

    A gap is a run of points at which every channel is missing.
    """
    found = []
    for begin, end in segments:
        missing = missing_points(values[begin:end])
        edges = np.flatnonzero(np.diff(np.concatenate([[False], missing, [False]])))
        position = begin
        for a, b in edges.reshape(-1, 2) + begin:
            if b - a > longest:
                found.append((position, int(a)))
                position = int(b)
        found.append((position, end))
    return [(a, b) for a, b in found if b > a]
