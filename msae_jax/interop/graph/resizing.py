"""Upsampling and padding of the last axes.

Every interpolation is separable: along one axis it is a matrix [outputs, inputs] of weights, which
the sizes alone decide. PyTorch's positions: with `align_corners`, output i lies at
i (S - 1) / (S' - 1); otherwise at (i + 1/2) scale - 1/2, scale being S / S' or, where the graph
gives a factor, one by that.

Source: aten/src/ATen/native/UpSample.h of PyTorch 2.13.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from msae_jax.errors import InputError

Array = jax.Array
Kernel = Callable[[np.ndarray, int], np.ndarray]
CUBIC = -0.75  # PyTorch's


def _scale(inputs: int, outputs: int, factor: float | None) -> float:
    return 1.0 / factor if factor else inputs / outputs


def _nearest(inputs: int, outputs: int, factor: float | None, exact: bool) -> np.ndarray:
    """Returns which input each output takes; in float32, as PyTorch computes it."""
    scale = np.float32(_scale(inputs, outputs, factor))
    at = np.arange(outputs, dtype=np.float32) + np.float32(0.5 if exact else 0.0)
    return np.minimum(np.floor(at * scale).astype(np.int64), inputs - 1)


def _positions(inputs: int, outputs: int, factor: float | None, corners: bool) -> np.ndarray:
    i = np.arange(outputs)
    if corners:
        return i * ((inputs - 1) / (outputs - 1) if outputs > 1 else 0.0)
    return (i + 0.5) * _scale(inputs, outputs, factor) - 0.5


def _linear(at: np.ndarray, inputs: int) -> np.ndarray:
    at = np.maximum(at, 0.0)
    low = np.minimum(np.floor(at).astype(int), inputs - 1)
    high, part = np.minimum(low + 1, inputs - 1), at - low
    weights = np.zeros((len(at), inputs))
    rows = np.arange(len(at))
    np.add.at(weights, (rows, low), 1 - part)
    np.add.at(weights, (rows, high), part)
    return weights


def _cubic(at: np.ndarray, inputs: int) -> np.ndarray:
    low = np.floor(at).astype(int)
    part = at - low
    weights = np.zeros((len(at), inputs))
    for tap in range(-1, 3):
        d = np.abs(part - tap)
        near = ((CUBIC + 2) * d - (CUBIC + 3)) * d * d + 1
        far = ((CUBIC * d - 5 * CUBIC) * d + 8 * CUBIC) * d - 4 * CUBIC
        places = np.clip(low + tap, 0, inputs - 1)
        np.add.at(weights, (np.arange(len(at)), places), np.where(d <= 1, near, far))
    return weights


def _outputs(x: Array, n: int, sizes: Sequence[int] | None, factors: Any) -> list[int]:
    if sizes is not None:
        return list(sizes)
    if factors is None:
        raise InputError("upsampling is given neither a size nor factors.")
    return [int(np.floor(size * f)) for size, f in zip(x.shape[-n:], factors, strict=True)]


def _take(
    x: Array, n: int, outputs: Sequence[int], factors: Sequence[float | None], exact: bool
) -> Array:
    for axis, m, factor in zip(range(-n, 0), outputs, factors, strict=True):
        size = x.shape[axis]
        at = _nearest(size, m, factor, exact)
        if m % size == 0 and (at == np.arange(m) // (m // size)).all():
            x = jnp.repeat(x, m // size, axis=axis)
        else:
            x = jnp.take(x, jnp.asarray(at), axis=axis)
    return x


def _mix(
    x: Array,
    n: int,
    outputs: Sequence[int],
    factors: Sequence[float | None],
    corners: bool,
    kernel: Kernel,
) -> Array:
    for axis, m, factor in zip(range(-n, 0), outputs, factors, strict=True):
        size = x.shape[axis]
        if m == size and (factor in (None, 1.0) or corners):
            continue
        weights = kernel(_positions(size, m, factor, corners), size)
        mixed = jnp.moveaxis(x, axis, -1) @ jnp.asarray(weights.T, x.dtype)
        x = jnp.moveaxis(mixed, -1, axis)
    return x


def _nearest_vec(n: int, exact: bool) -> Callable[..., Array]:
    def upsample(
        input: Array, output_size: Sequence[int] | None, scale_factors: Sequence[float] | None
    ) -> Array:
        outputs = _outputs(input, n, output_size, scale_factors)
        return _take(input, n, outputs, scale_factors or (None,) * n, exact)

    return upsample


def _mix_vec(n: int, kernel: Kernel) -> Callable[..., Array]:
    def upsample(
        input: Array,
        output_size: Sequence[int] | None,
        align_corners: bool,
        scale_factors: Sequence[float] | None,
    ) -> Array:
        outputs = _outputs(input, n, output_size, scale_factors)
        return _mix(input, n, outputs, scale_factors or (None,) * n, align_corners, kernel)

    return upsample


def _nearest_1d(exact: bool) -> Callable[..., Array]:
    def upsample(self: Array, output_size: Sequence[int], scales: float | None = None) -> Array:
        return _take(self, 1, output_size, (scales,), exact)

    return upsample


def _nearest_2d(exact: bool) -> Callable[..., Array]:
    def upsample(
        self: Array,
        output_size: Sequence[int],
        scales_h: float | None = None,
        scales_w: float | None = None,
    ) -> Array:
        return _take(self, 2, output_size, (scales_h, scales_w), exact)

    return upsample


def _nearest_3d(exact: bool) -> Callable[..., Array]:
    def upsample(
        self: Array,
        output_size: Sequence[int],
        scales_d: float | None = None,
        scales_h: float | None = None,
        scales_w: float | None = None,
    ) -> Array:
        return _take(self, 3, output_size, (scales_d, scales_h, scales_w), exact)

    return upsample


def upsample_trilinear3d(
    self: Array,
    output_size: Sequence[int],
    align_corners: bool,
    scales_d: float | None = None,
    scales_h: float | None = None,
    scales_w: float | None = None,
) -> Array:
    scales = (scales_d, scales_h, scales_w)
    return _mix(self, 3, output_size, scales, align_corners, _linear)


def upsample_linear1d(
    self: Array, output_size: Sequence[int], align_corners: bool, scales: float | None = None
) -> Array:
    return _mix(self, 1, output_size, (scales,), align_corners, _linear)


def _mix_2d(kernel: Kernel) -> Callable[..., Array]:
    def upsample(
        self: Array,
        output_size: Sequence[int],
        align_corners: bool,
        scales_h: float | None = None,
        scales_w: float | None = None,
    ) -> Array:
        return _mix(self, 2, output_size, (scales_h, scales_w), align_corners, kernel)

    return upsample


def _edges(x: Array, pad: Sequence[int]) -> list[tuple[int, int]]:
    """Returns PyTorch's padding, which begins with the last axis, as one pair for each axis."""
    pairs = list(zip(pad[::2], pad[1::2], strict=True))
    return [(0, 0)] * (x.ndim - len(pairs)) + pairs[::-1]


def constant_pad(self: Array, pad: Sequence[int], value: Any = 0) -> Array:
    """Returns the array with values around it; negative padding cuts off."""
    edges = [(low, high, 0) for low, high in _edges(self, pad)]
    return jax.lax.pad(self, jnp.asarray(value, self.dtype), edges)


_MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def pad(
    self: Array, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> Array:
    if mode == "constant":
        return constant_pad(self, pad, 0 if value is None else value)
    if mode not in _MODES or value is not None:
        raise InputError(f"padding has the mode {mode!r} with the value {value}.")
    return _padded(self, pad, _MODES[mode])


def _padded(x: Array, padding: Sequence[int], mode: str) -> Array:
    edges = _edges(x, padding)
    x = x[tuple(slice(max(0, -low), size - max(0, -high)) for (low, high), size in
                zip(edges, x.shape, strict=True))]  # fmt: skip
    return jnp.pad(x, [(max(0, low), max(0, high)) for low, high in edges], mode)  # type: ignore[call-overload, unused-ignore]


def reflection_pad(self: Array, padding: Sequence[int]) -> Array:
    return _padded(self, padding, "reflect")


def replication_pad(self: Array, padding: Sequence[int]) -> Array:
    return _padded(self, padding, "edge")


def circular_pad(self: Array, pad: Sequence[int]) -> Array:
    return _padded(self, pad, "wrap")


TABLE: dict[str, Callable[..., Any]] = {
    **{f"aten.upsample_nearest{n}d.vec": _nearest_vec(n, False) for n in (1, 2, 3)},
    **{f"aten._upsample_nearest_exact{n}d.vec": _nearest_vec(n, True) for n in (1, 2, 3)},
    "aten.upsample_nearest1d.default": _nearest_1d(False),
    "aten._upsample_nearest_exact1d.default": _nearest_1d(True),
    "aten.upsample_nearest2d.default": _nearest_2d(False),
    "aten._upsample_nearest_exact2d.default": _nearest_2d(True),
    "aten.upsample_nearest3d.default": _nearest_3d(False),
    "aten._upsample_nearest_exact3d.default": _nearest_3d(True),
    "aten.upsample_trilinear3d.default": upsample_trilinear3d,
    "aten.upsample_linear1d.vec": _mix_vec(1, _linear),
    "aten.upsample_linear1d.default": upsample_linear1d,
    "aten.upsample_bilinear2d.vec": _mix_vec(2, _linear),
    "aten.upsample_bilinear2d.default": _mix_2d(_linear),
    "aten.upsample_bicubic2d.vec": _mix_vec(2, _cubic),
    "aten.upsample_bicubic2d.default": _mix_2d(_cubic),
    "aten.upsample_trilinear3d.vec": _mix_vec(3, _linear),
    "aten.constant_pad_nd.default": constant_pad,
    "aten.pad.default": pad,
    **{f"aten.reflection_pad{n}d.default": reflection_pad for n in (1, 2, 3)},
    **{f"aten.replication_pad{n}d.default": replication_pad for n in (1, 2, 3)},
    "aten._pad_circular.default": circular_pad,
}
