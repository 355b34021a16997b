"""Pools of every kind, over the last one, two or three axes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

Array = jax.Array
Sizes = int | Sequence[int]

MOST_TAPS = 32  # of windows whose maximum is written out position by position


def _all(value: Sizes, n: int) -> tuple[int, ...]:
    values = (value,) if isinstance(value, int) else tuple(value)
    return values * n if len(values) == 1 else values


def _windows(
    x: Array, kernel: Sequence[int], stride: Sizes, padding: Sizes, dilation: Sizes, ceil: bool
) -> tuple[tuple[int, ...], tuple[int, ...], list[tuple[int, int]]]:
    """Returns strides, dilations, and the padding before and after each of the last axes.

    With `ceil`, windows may reach beyond the end, if they begin before the padding at the end.
    """
    n = len(kernel)
    steps = _all(stride, n) if not isinstance(stride, int) and len(stride) else ()
    steps = steps or ((stride,) * n if isinstance(stride, int) else tuple(kernel))
    spread, pads = _all(dilation, n), []
    for size, k, s, p, d in zip(x.shape[-n:], kernel, steps, _all(padding, n), spread, strict=True):
        room = size + 2 * p - d * (k - 1) - 1
        count = (-(-room // s) if ceil else room // s) + 1
        if ceil and (count - 1) * s >= size + p:
            count -= 1
        pads.append((p, max(p, (count - 1) * s + d * (k - 1) + 1 - size - p)))
    return steps, spread, pads


def _reduce(
    x: Array,
    kernel: Sequence[int],
    steps: Sequence[int],
    spread: Sequence[int],
    pads: Sequence[tuple[int, int]],
    of: Callable[[Any, Any], Any],
    nothing: Any,
) -> Array:
    lead = x.ndim - len(kernel)
    return lax.reduce_window(
        x,
        np.asarray(nothing, x.dtype),
        of,
        (1,) * lead + tuple(kernel),
        (1,) * lead + tuple(steps),
        ((0, 0),) * lead + tuple(pads),
        window_dilation=(1,) * lead + tuple(spread),
    )


def _taps(
    x: Array,
    kernel: Sequence[int],
    steps: Sequence[int],
    spread: Sequence[int],
    pads: Sequence[tuple[int, int]],
    nothing: Any,
) -> Iterator[Array]:
    """Yields, by the position in the window, the values there of all windows, row by row."""
    n = len(kernel)
    padded = jnp.pad(x, [(0, 0)] * (x.ndim - n) + list(pads), constant_values=nothing)
    axes = list(zip(kernel, steps, spread, padded.shape[-n:], strict=True))
    counts = [(size - d * (k - 1) - 1) // s + 1 for k, s, d, size in axes]
    for tap in itertools.product(*map(range, kernel)):
        cut = tuple(
            slice(d * a, d * a + s * (m - 1) + 1, s)
            for a, (_, s, d, _), m in zip(tap, axes, counts, strict=True)
        )
        yield padded[(..., *cut)]


def _largest(
    x: Array,
    kernel: Sequence[int],
    steps: Sequence[int],
    spread: Sequence[int],
    pads: Sequence[tuple[int, int]],
) -> Array:
    """Returns the maxima of windows; a gradient goes to the first of equals, as in PyTorch.

    The gradient of XLA's own operation is many times slower on CPUs.
    """
    first, *others = _taps(x, kernel, steps, spread, pads, -jnp.inf)
    for here in others:
        first = jnp.where((here > first) | jnp.isnan(here), here, first)
    return first


def _max_pool(n: int) -> Callable[..., Array]:
    def max_pool(
        self: Array,
        kernel_size: Sizes,
        stride: Sizes = (),
        padding: Sizes = 0,
        dilation: Sizes = 1,
        ceil_mode: bool = False,
    ) -> Array:
        kernel = _all(kernel_size, n)
        steps, spread, pads = _windows(self, kernel, stride, padding, dilation, ceil_mode)
        if jnp.issubdtype(self.dtype, jnp.floating) and math.prod(kernel) <= MOST_TAPS:
            return _largest(self, kernel, steps, spread, pads)
        least = -jnp.inf if jnp.issubdtype(self.dtype, jnp.floating) else jnp.iinfo(self.dtype).min
        return _reduce(self, kernel, steps, spread, pads, lax.max, least)

    return max_pool


def _max_pool_indexed(n: int) -> Callable[..., tuple[Array, Array]]:
    def max_pool_with_indices(
        self: Array,
        kernel_size: Sizes,
        stride: Sizes = (),
        padding: Sizes = 0,
        dilation: Sizes = 1,
        ceil_mode: bool = False,
    ) -> tuple[Array, Array]:
        """Returns the maxima, and where each was in its flattened image: the first, of equals."""
        kernel = _all(kernel_size, n)
        steps, spread, pads = _windows(self, kernel, stride, padding, dilation, ceil_mode)
        value = _max_pool(n)(self, kernel, steps, padding, dilation, ceil_mode)
        places = jnp.arange(int(np.prod(self.shape[-n:]))).reshape(self.shape[-n:])
        windows = (
            _taps(x, kernel, steps, spread, pads, nothing)
            for x, nothing in ((self, -jnp.inf), (places, 0))
        )
        both = zip(*windows, strict=True)
        best, number = next(both)
        found = jnp.broadcast_to(number, best.shape)
        for here, number in both:
            found, best = jnp.where(here > best, number, found), jnp.maximum(here, best)
        return value, found

    return max_pool_with_indices


def max_unpool2d(self: Array, indices: Array, output_size: Sequence[int]) -> Array:
    lead = self.shape[:-2]
    size = int(np.prod(output_size))
    rows, places = self.reshape(-1, *self.shape[-2:]), indices.reshape(-1, *self.shape[-2:])
    flat, where = rows.reshape(len(rows), -1), places.reshape(len(rows), -1)
    filled = jnp.zeros((len(rows), size), self.dtype)
    filled = filled.at[jnp.arange(len(rows))[:, None], where].set(flat)
    return filled.reshape(*lead, *output_size)


def _avg_pool(
    x: Array,
    kernel: Sequence[int],
    stride: Sizes,
    padding: Sizes,
    ceil: bool,
    count_include_pad: bool,
    divisor: int | None,
) -> Array:
    steps, spread, pads = _windows(x, kernel, stride, padding, 1, ceil)
    total = _reduce(x, kernel, steps, spread, pads, lax.add, 0)
    if divisor is not None:
        return total / divisor
    n = len(kernel)
    inside = _all(padding, n) if count_include_pad else (0,) * n
    ones = np.ones([size + 2 * p for size, p in zip(x.shape[-n:], inside, strict=True)])
    rest = [
        (a - p, max(0, b - p)) for (a, b), p in zip(pads, inside, strict=True)
    ]  # beyond it nothing counts
    counts = _reduce(jnp.asarray(ones, x.dtype), kernel, steps, spread, rest, lax.add, 0)
    return total / counts


def avg_pool1d(
    self: Array,
    kernel_size: Sizes,
    stride: Sizes = (),
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Array:
    kernel = _all(kernel_size, 1)
    return _avg_pool(self, kernel, stride, padding, ceil_mode, count_include_pad, None)


def _avg_pool_nd(n: int) -> Callable[..., Array]:
    def avg_pool(
        self: Array,
        kernel_size: Sizes,
        stride: Sizes = (),
        padding: Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> Array:
        kernel = _all(kernel_size, n)
        return _avg_pool(
            self, kernel, stride, padding, ceil_mode, count_include_pad, divisor_override
        )

    return avg_pool


def _bins(size: int, outputs: int) -> list[tuple[int, int]]:
    """Returns begin and end of the part of an axis that each output of an adaptive pool sees."""
    return [(i * size // outputs, -(-(i + 1) * size // outputs)) for i in range(outputs)]


def _adaptive_avg_pool(n: int) -> Callable[..., Array]:
    def adaptive_avg_pool(self: Array, output_size: Sizes) -> Array:
        for axis, outputs in zip(range(-n, 0), _all(output_size, n), strict=True):
            size = self.shape[axis]
            means = np.zeros((outputs, size))
            for row, (begin, end) in zip(means, _bins(size, outputs), strict=True):
                row[begin:end] = 1 / (end - begin)
            if size % outputs == 0:
                parts = self.reshape(*self.shape[:axis], outputs, -1, *self.shape[axis:][1:])
                self = parts.mean(axis)
                continue
            moved = jnp.moveaxis(self, axis, -1) @ jnp.asarray(means.T, self.dtype)
            self = jnp.moveaxis(moved, -1, axis)
        return self

    return adaptive_avg_pool


def _adaptive_max_pool(n: int) -> Callable[..., tuple[Array, None]]:
    def adaptive_max_pool(self: Array, output_size: Sizes) -> tuple[Array, None]:
        outputs = _all(output_size, n)
        sizes = self.shape[-n:]
        if any(size % m for size, m in zip(sizes, outputs, strict=True)):
            for axis, m in zip(range(-n, 0), outputs, strict=True):
                bins = _bins(self.shape[axis], m)
                cuts = [lax.slice_in_dim(self, i, j, axis=self.ndim + axis) for i, j in bins]
                self = jnp.concatenate([cut.max(axis, keepdims=True) for cut in cuts], axis)
            return self, None
        kernel = tuple(size // m for size, m in zip(sizes, outputs, strict=True))
        return _max_pool(n)(self, kernel), None

    return adaptive_max_pool


TABLE: dict[str, Callable[..., Any]] = {
    **{f"aten.max_pool{n}d.default": _max_pool(n) for n in (1, 2, 3)},
    **{f"aten.max_pool{n}d_with_indices.default": _max_pool_indexed(n) for n in (1, 2, 3)},
    "aten.max_unpool2d.default": max_unpool2d,
    "aten.avg_pool1d.default": avg_pool1d,
    **{f"aten.avg_pool{n}d.default": _avg_pool_nd(n) for n in (2, 3)},
    **{f"aten.adaptive_avg_pool{n}d.default": _adaptive_avg_pool(n) for n in (1, 2, 3)},
    **{f"aten._adaptive_avg_pool{n}d.default": _adaptive_avg_pool(n) for n in (2, 3)},
    **{f"aten.adaptive_max_pool{n}d.default": _adaptive_max_pool(n) for n in (1, 2, 3)},
}
