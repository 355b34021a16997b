"""Convolutions as products with a matrix of patches (im2col), for CPUs; channels last.

A patch holds the inputs under the kernel at one output position. Where all patches would be more
than caches hold, they are made and used in blocks of samples.

Shapes: B batch, *S spatial (one or two axes), I input and O output channels, *K kernel.
"""

from __future__ import annotations

import functools
import itertools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

Sizes = tuple[int, ...]

WHOLE, BLOCK = 2**23, 2**21
"""Bytes: patches that have no more are made at once, others in blocks that have no more."""

SHORT = 9
"""Taps of a kernel up to which the gather from one channel of a series is a sum."""


class Geometry(NamedTuple):
    """How a kernel moves, the same along each axis but for the padding."""

    stride: int
    padding: Sizes  # zeros on both sides of each axis; negative ones crop
    dilation: int

    def gathered(self, size: Sizes, kernel: Sizes) -> Sizes:
        """The spatial size of what is gathered from a `size`."""
        s, _, d = self
        axes = zip(size, self.padding, kernel, strict=False)
        return tuple((h + 2 * p - d * (k - 1) - 1) // s + 1 for h, p, k in axes)

    def flipped(self, kernel: Sizes) -> Geometry:
        """Returns the geometry with which, at stride 1, a gather by the flipped kernel scatters."""
        pads = [self.dilation * (k - 1) - p for k, p in zip(kernel, self.padding, strict=False)]
        return self._replace(padding=tuple(pads))


def gather(x: jax.Array, w: jax.Array, geometry: Geometry) -> jax.Array:
    """Returns y [B, *S', O], where y[i] = sum_a x[s i + d a - p] w[a]."""

    def product(x: jax.Array) -> jax.Array:
        return jnp.tensordot(_patches(x, w.shape[:-2], geometry), w.reshape(-1, w.shape[-1]), 1)

    blocks = _blocks(x, w.shape[:-2], geometry)
    if blocks == 1:
        return product(x)
    y = lax.map(product, x.reshape(blocks, -1, *x.shape[1:]))
    return y.reshape(len(x), *y.shape[2:])


def correlate(x: jax.Array, g: jax.Array, geometry: Geometry, kernel: Sizes) -> jax.Array:
    """Returns w [*K, I, O], where w[a] = sum_i x[s i + d a - p]^T g[i]."""
    blocks = _blocks(x, kernel, geometry)
    if blocks == 1:
        return _correlated(x, g, geometry, kernel)

    def add(w: jax.Array, block: list[jax.Array]) -> tuple[jax.Array, None]:
        x, g = block
        return w + _correlated(x, g, geometry, kernel), None

    zeros = jnp.zeros((*kernel, x.shape[-1], g.shape[-1]), x.dtype)
    return lax.scan(add, zeros, [a.reshape(blocks, -1, *a.shape[1:]) for a in (x, g)])[0]


def sum_pays(x: jax.Array, w: jax.Array) -> bool:
    """Whether `gather_as_sum` is faster: products with matrices of so few columns are slow."""
    return x.ndim == 3 and x.shape[-1] == 1 and len(w) <= SHORT


def gather_as_sum(x: jax.Array, w: jax.Array, geometry: Geometry) -> jax.Array:
    """Returns `gather` of series [B, L, 1] as a sum over taps, which is one loop for XLA."""
    [padding], (stride, _, dilation) = geometry.padding, geometry
    [outputs] = geometry.gathered(x.shape[1:-1], w.shape)
    x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), (padding, padding, 0), (0, 0, 0)])
    reach = stride * (outputs - 1) + 1
    starts = [dilation * a for a in range(len(w))]
    taps = [lax.slice_in_dim(x, i, i + reach, stride, 1) for i in starts]
    return functools.reduce(jnp.add, [tap * w[a][None] for a, tap in enumerate(taps)])


def _correlated(x: jax.Array, g: jax.Array, geometry: Geometry, kernel: Sizes) -> jax.Array:
    """Returns `correlate` with all patches at once."""
    patches = _patches(x, kernel, geometry)
    positions = tuple(range(x.ndim - 1))
    if patches.shape[-1] < g.shape[-1]:  # the first factor gets transposed: let it be the smaller
        dw = jnp.tensordot(patches, g, (positions, positions))
        return dw.reshape(*kernel, x.shape[-1], g.shape[-1])
    dw = jnp.tensordot(g, patches, (positions, positions))
    return jnp.moveaxis(dw.reshape(g.shape[-1], *kernel, x.shape[-1]), 0, -1)


def _patches(x: jax.Array, kernel: Sizes, geometry: Geometry) -> jax.Array:
    """Returns [B, *S', taps * I], the inputs under the kernel at each output position."""
    stride, padding, dilation = geometry
    batch, *size, channels = x.shape
    outputs = geometry.gathered(tuple(size), kernel)
    x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *((p, p, 0) for p in padding), (0, 0, 0)])
    taps = []
    for tap in itertools.product(*map(range, kernel)):
        starts = [dilation * a for a in tap]
        stops = [i + stride * (m - 1) + 1 for i, m in zip(starts, outputs, strict=True)]
        steps = (1, *(stride for _ in tap), 1)
        taps.append(lax.slice(x, (0, *starts, 0), (batch, *stops, channels), steps))
    return jnp.concatenate(taps, -1)


def _blocks(x: jax.Array, kernel: Sizes, geometry: Geometry) -> int:
    """Returns into how many equal parts a batch is divided, of which each has patches that stay in
    a core's cache from the copy that makes them to the product that reads them; 1 where the batch
    size is not a number yet (`jax.export`)."""
    if not isinstance(x.shape[0], int):
        return 1
    outputs = geometry.gathered(x.shape[1:-1], kernel)
    each = x.dtype.itemsize * math.prod((*outputs, *kernel, x.shape[-1]))
    if each * len(x) <= WHOLE:
        return 1
    most = max(1, BLOCK // each)
    samples = next(n for n in range(min(most, len(x)), 0, -1) if len(x) % n == 0)
    return len(x) // samples if 4 * samples >= most else 1
