"""Images by places: sampled at the points of a grid, cut into patches, put together from these.

Source: aten/src/ATen/native/GridSamplerUtils.h of PyTorch 2.13.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from msae_jax.errors import InputError

Array = jax.Array
_BILINEAR, _NEAREST = 0, 1
_ZEROS, _BORDER, _REFLECTION = 0, 1, 2


def affine_grid_generator(theta: Array, size: Sequence[int], align_corners: bool) -> Array:
    """Returns the grid [B, *S, n] of affine maps [B, n, n + 1] for images of a size [B, C, *S].

    The last axis is x, y and, of volumes, z; each is from -1 to 1.
    """
    spatial = list(size[2:])
    axes = []
    for n in spatial:
        at = jnp.linspace(-1, 1, n, dtype=theta.dtype) if n > 1 else jnp.zeros(1, theta.dtype)
        axes.append(at if align_corners else at * ((n - 1) / n))
    places = jnp.meshgrid(*axes, indexing="ij")[::-1]
    base = jnp.stack([*places, jnp.ones(spatial, theta.dtype)], axis=-1)
    return jnp.einsum("...k,bnk->b...n", base, theta)


def grid_sampler(
    input: Array, grid: Array, interpolation_mode: int, padding_mode: int, align_corners: bool
) -> Array:
    """Returns images [B, C, *S] at the points of a grid [B, *T, n]: [B, C, *T]."""
    if interpolation_mode not in (_BILINEAR, _NEAREST):
        raise InputError("a grid is sampled bicubically, which is not supported.")
    if padding_mode not in (_ZEROS, _BORDER, _REFLECTION):
        raise InputError(f"a grid is sampled with the padding mode {padding_mode}.")
    sizes = input.shape[2:]
    at = [
        _position(grid[..., -1 - axis], size, padding_mode, align_corners)
        for axis, size in enumerate(sizes)
    ]
    if interpolation_mode == _NEAREST:
        return _picked(input, [jnp.round(x) for x in at])
    low = [jnp.floor(x) for x in at]
    total = jnp.zeros((), input.dtype)
    for corner in itertools.product((0, 1), repeat=len(sizes)):
        shares = [x - y if c else 1 - (x - y) for x, y, c in zip(at, low, corner, strict=True)]
        share = math.prod(shares[1:], start=shares[0])[:, None]
        places = [y + c for y, c in zip(low, corner, strict=True)]
        total = total + share * _picked(input, places)
    return total


def _position(x: Array, size: int, padding: int, corners: bool) -> Array:
    """Returns coordinates from -1 to 1 as positions of pixels."""
    at = (x + 1) / 2 * (size - 1) if corners else ((x + 1) * size - 1) / 2
    if padding == _ZEROS:
        return at
    if padding == _REFLECTION:
        low, span = (0.0, size - 1.0) if corners else (-0.5, float(size))
        if not span:
            return jnp.zeros_like(at)
        away = jnp.abs(at - low)
        rest, turns = jnp.fmod(away, span), jnp.floor(away / span)
        at = jnp.where(turns % 2 == 0, rest, span - rest) + low
    return jnp.clip(at, 0, size - 1)


def _picked(x: Array, places: Sequence[Array]) -> Array:
    """Returns x [B, C, *S] at whole places [B, *T] of each axis; outside it is 0."""
    sizes = x.shape[2:]
    checks = [(at >= 0) & (at < size) for at, size in zip(places, sizes, strict=True)]
    inside = math.prod(checks[1:], start=checks[0])
    whole = [jnp.clip(at, 0, size - 1).astype(int) for at, size in zip(places, sizes, strict=True)]
    batch = jnp.arange(x.shape[0]).reshape(-1, *(1,) * (whole[0].ndim - 1))
    values = jnp.moveaxis(x, 1, -1)[(batch, *whole)]
    return jnp.moveaxis(jnp.where(inside[..., None], values, 0), -1, 1)


def _taps(
    size: Sequence[int],
    kernel: Sequence[int],
    dilation: Sequence[int],
    padding: Sequence[int],
    stride: Sequence[int],
) -> tuple[list[int], list[tuple[slice, ...]]]:
    """Returns how many patches there are along each axis, and where each value of a patch is."""
    counts = [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, d, p, s in zip(size, kernel, dilation, padding, stride, strict=True)
    ]
    taps = [
        tuple(
            slice(d * a, d * a + s * (m - 1) + 1, s)
            for a, d, s, m in zip(tap, dilation, stride, counts, strict=True)
        )
        for tap in itertools.product(*map(range, kernel))
    ]
    return counts, taps


def im2col(
    self: Array,
    kernel_size: Sequence[int],
    dilation: Sequence[int],
    padding: Sequence[int],
    stride: Sequence[int],
) -> Array:
    """Returns the patches [B, C K, L] of images [B, C, H, W], as `torch.nn.Unfold`."""
    if self.ndim == 3:
        return im2col(self[None], kernel_size, dilation, padding, stride)[0]
    batch, channels, *size = self.shape
    _, taps = _taps(size, kernel_size, dilation, padding, stride)
    x = jnp.pad(self, [(0, 0), (0, 0), *((p, p) for p in padding)])
    return jnp.stack([x[(..., *tap)] for tap in taps], 2).reshape(batch, channels * len(taps), -1)


def col2im(
    self: Array,
    output_size: Sequence[int],
    kernel_size: Sequence[int],
    dilation: Sequence[int],
    padding: Sequence[int],
    stride: Sequence[int],
) -> Array:
    """Returns images [B, C, H, W] as sums of patches [B, C K, L], as `torch.nn.Fold`."""
    if self.ndim == 2:
        return col2im(self[None], output_size, kernel_size, dilation, padding, stride)[0]
    counts, taps = _taps(output_size, kernel_size, dilation, padding, stride)
    parts = self.reshape(self.shape[0], -1, len(taps), *counts)
    wide = [n + 2 * p for n, p in zip(output_size, padding, strict=True)]
    image = jnp.zeros((*parts.shape[:2], *wide), self.dtype)
    for number, tap in enumerate(taps):
        image = image.at[(..., *tap)].add(parts[:, :, number])
    inner = tuple(slice(p, p + n) for n, p in zip(output_size, padding, strict=True))
    return image[(..., *inner)]


TABLE: dict[str, Callable[..., Any]] = {
    "aten.affine_grid_generator.default": affine_grid_generator,
    "aten.grid_sampler.default": grid_sampler, "aten.grid_sampler_2d.default": grid_sampler,
    "aten.grid_sampler_3d.default": grid_sampler,
    "aten.im2col.default": im2col, "aten.col2im.default": col2im,
}  # fmt: skip
