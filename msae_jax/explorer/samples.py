"""The samples as the page holds them: images in 256 steps, curves in float32."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from msae_jax.data.dataset import Samples, take
from msae_jax.data.series import Facts, Windows
from msae_jax.explorer.packing import packed


def as_values(x: np.ndarray | Windows, facts: Facts | None) -> dict[str, Any]:
    """Returns samples `[N, ...]` as the page reads them.

    Args:
      facts: of windows of a series, the channels and the scaling that the page undoes.
    """
    if facts is not None:
        return _windows(x, facts)
    if len(x.shape) == 4 and x.shape[3] in (1, 3):
        return _images(np.asarray(x))
    x = np.asarray(x, np.float32)
    channels = x.shape[2] if x.ndim == 3 else 1
    length = x.shape[1] if x.ndim == 3 else math.prod(x.shape[1:])
    names = [str(i + 1) for i in range(channels)]
    return _curves(x, length, names, [0.0] * channels, [1.0] * channels)


def _images(x: np.ndarray) -> dict[str, Any]:
    """Returns images; floating-point ones become the nearest of 256 intensities."""
    low, high = 0.0, 1.0
    step = 0.0
    if x.dtype != np.uint8:
        low, high = float(min(x.min(), 0.0)), float(max(x.max(), 1e-12))
        step = (high - low) / 255
        x = np.round((x - low) / step).astype(np.uint8)
    return {
        "kind": "image",
        "shape": list(x.shape[1:]),
        "values": packed(x),
        "low": low,
        "high": high,
        "step": step,
    }


def _curves(
    values: np.ndarray, length: int, channels: Sequence[str], center: Sequence[float],
    width: Sequence[float], starts: np.ndarray | None = None,
) -> dict[str, Any]:  # fmt: skip
    return {
        "kind": "curve",
        "shape": [length, len(channels)],
        "values": packed(values),
        "starts": None if starts is None else packed(starts),
        "channels": list(channels),
        "center": list(center),
        "width": list(width),
    }


def _windows(x: np.ndarray | Windows, facts: Facts) -> dict[str, Any]:
    """Returns windows of a series: the series once, and where each begins.

    Where each window was scaled by itself, the windows are written out as the model sees them.
    """
    scaling = facts.scaling
    told = (facts.window, facts.channels, scaling.center, scaling.width)
    if isinstance(x, Windows) and not x.standardize:
        begin, end = span(x)
        return _curves(x.values[begin:end], *told, x.starts - begin)
    whole = x.take(np.arange(len(x))) if isinstance(x, Windows) else x
    return _curves(np.asarray(whole, np.float32), *told)


def span(windows: Windows) -> tuple[int, int]:
    """Returns the first row of a series that windows need, and the one behind the last."""
    return int(windows.starts.min()), int(windows.starts.max()) + windows.length


def rows_of(n: int, wanted: int) -> np.ndarray:
    """Returns which of n samples are shown: all, or `wanted` evenly spaced ones."""
    if n <= wanted:
        return np.arange(n)
    return np.unique(np.linspace(0, n - 1, wanted).round().astype(np.int64))


def picked(x: Samples, rows: np.ndarray) -> np.ndarray | Windows:
    """Returns the rows of samples; of windows, still windows."""
    if isinstance(x, Windows):
        return replace(x, starts=x.starts[rows])
    return take(x, rows)
