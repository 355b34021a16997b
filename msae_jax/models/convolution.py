"""Convolutions that are fast on every platform, inside loops included; channels last, no bias.

Accelerators get `lax.conv_general_dilated` and its ordinary gradients. XLA's CPU backend runs the
gradients of that operation some thirty times too slowly inside a loop (jax issue 12868), and its
matrix products at full speed everywhere, so the CPU gets nothing but matrix products.

With stride s, padding p, dilation d and taps a (all per axis), there are three bilinear maps,

    gather      y[i]             = sum_a x[s i + d a - p] w[a]
    scatter     y[s i + d a - p] = sum_a x[i] w[a]
    correlate   w[a]             = sum_i x[s i + d a - p]^T g[i]

which are each other's derivatives: `conv` gathers, and its gradients scatter (for x) and correlate
(for w); `conv_transpose` scatters, and its gradients gather and correlate. Gather and correlate
multiply a matrix of patches (im2col); scatter multiplies first, then adds shifted products up
(col2im). On small images a stride-1 gather and its gradients are done in Fourier space instead,
with a third of the multiplications.

Shapes: B batch, *S spatial (one or two axes), I input and O output channels, *K kernel.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from msae_jax.errors import InputError

_Sizes = tuple[int, ...]
_Pair = tuple[jax.Array, jax.Array]


def conv(
    x: jax.Array, kernel: jax.Array, *, stride: int = 1, padding: int = 0, dilation: int = 1
) -> jax.Array:
    """Returns the cross-correlation of `x` with `kernel`, as `torch.nn.Conv1d` and `Conv2d`.

    `x` is [B, *S, I] and `kernel` [*K, I, O]; the result is [B, *S', O] with, along each axis,
    S' = (S + 2 padding - dilation (K - 1) - 1) // stride + 1. `padding` adds zeros on both sides.
    Raises InputError if the shapes do not fit each other.
    """
    _check(x, kernel)
    return _conv(x, kernel, _Geometry(stride, (padding,) * (x.ndim - 2), dilation))


def conv_transpose(
    x: jax.Array, kernel: jax.Array, *, stride: int = 1, padding: int = 0
) -> jax.Array:
    """Returns the transposed convolution of `x` with `kernel`, as `torch.nn.ConvTranspose2d`.

    `x` is [B, *S, I] and `kernel` [*K, I, O], where kernel[a] is PyTorch's weight[:, :, a]:
    y[stride i + a - padding] += x[i] @ kernel[a]. The result is [B, *S', O] with, along each axis,
    S' = (S - 1) stride - 2 padding + K. Raises InputError if the shapes do not fit each other.
    """
    _check(x, kernel)
    geometry = _Geometry(stride, (padding,) * (x.ndim - 2), 1)
    if stride == 1:
        return _conv(x, _flip(kernel), geometry.flipped(kernel.shape))
    return _conv_transpose(x, kernel, geometry)


def _check(x: jax.Array, kernel: jax.Array) -> None:
    if x.ndim not in (3, 4) or kernel.ndim != x.ndim or kernel.shape[-2] != x.shape[-1]:
        raise InputError(
            f"cannot convolve {x.shape} with a kernel {kernel.shape}: expected [B, L, I] with "
            "[k, I, O], or [B, H, W, I] with [kh, kw, I, O]"
        )


class _Geometry(NamedTuple):
    stride: int
    padding: _Sizes  # zeros on both sides of each axis; negative ones crop
    dilation: int

    def gathered(self, size: _Sizes, kernel: _Sizes) -> _Sizes:
        """The spatial size of what is gathered from a `size`."""
        s, _, d = self
        axes = zip(size, self.padding, kernel, strict=False)
        return tuple((h + 2 * p - d * (k - 1) - 1) // s + 1 for h, p, k in axes)

    def flipped(self, kernel: _Sizes) -> _Geometry:
        """At stride 1, a gather with this is a scatter with the flipped kernel and the result."""
        pads = [self.dilation * (k - 1) - p for k, p in zip(kernel, self.padding, strict=False)]
        return self._replace(padding=tuple(pads))


def _flip(w: jax.Array) -> jax.Array:
    return jnp.flip(w, tuple(range(w.ndim - 2)))


# Two differentiable operations. Each chooses by platform inside its value and inside its gradients,
# so that the choice, which lowering resolves to a single branch, is itself never differentiated.


def _operation(
    cpu: Callable[..., jax.Array], cpu_grads: Callable[..., _Pair], other: Callable[..., jax.Array]
) -> Callable[[jax.Array, jax.Array, _Geometry], jax.Array]:
    @functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
    def operation(x: jax.Array, w: jax.Array, geometry: _Geometry) -> jax.Array:
        cpu_value, value = (functools.partial(f, geometry=geometry) for f in (cpu, other))
        return lax.platform_dependent(x, w, cpu=cpu_value, default=value)

    def backward(geometry: _Geometry, inputs: _Pair, g: jax.Array) -> _Pair:
        def grads(x: jax.Array, w: jax.Array, g: jax.Array) -> _Pair:
            return jax.vjp(functools.partial(other, geometry=geometry), x, w)[1](g)

        cpu = functools.partial(cpu_grads, geometry=geometry)
        return lax.platform_dependent(*inputs, g, cpu=cpu, default=grads)

    operation.defvjp(lambda x, w, geometry: (operation(x, w, geometry), (x, w)), backward)
    return operation


def _conv_cpu(x: jax.Array, w: jax.Array, geometry: _Geometry) -> jax.Array:
    by = _fourier if _fourier_pays(x.shape, w.shape, geometry) else _gather
    return by(x, w, geometry)


def _conv_cpu_grads(x: jax.Array, w: jax.Array, g: jax.Array, geometry: _Geometry) -> _Pair:
    if _fourier_pays(x.shape, w.shape, geometry):
        return _fourier_grads(x, w, g, geometry)
    dx = _scatter(g, w.mT, geometry, x.shape[1:-1])
    return dx, _correlate(x, g, geometry, w.shape[:-2])


def _transpose_cpu(x: jax.Array, w: jax.Array, geometry: _Geometry) -> jax.Array:
    axes = zip(x.shape[1:], geometry.padding, w.shape, strict=False)
    size = tuple((h - 1) * geometry.stride - 2 * p + k for h, p, k in axes)
    return _scatter(x, w, geometry, size)


def _transpose_cpu_grads(x: jax.Array, w: jax.Array, g: jax.Array, geometry: _Geometry) -> _Pair:
    return _gather(g, w.mT, geometry), _correlate(g, x, geometry, w.shape[:-2]).mT


def _lax(x: jax.Array, w: jax.Array, geometry: _Geometry, *, transposed: bool) -> jax.Array:
    n = len(geometry.padding)
    strides = (geometry.stride,) * n
    if transposed:
        w, geometry = _flip(w), geometry.flipped(w.shape)
    return lax.conv_general_dilated(
        x,
        w,
        (1,) * n if transposed else strides,
        [(p, p) for p in geometry.padding],
        lhs_dilation=strides if transposed else None,
        rhs_dilation=(geometry.dilation,) * n,
        dimension_numbers=("NHWC", "HWIO", "NHWC") if n == 2 else ("NHC", "HIO", "NHC"),
    )


_conv = _operation(_conv_cpu, _conv_cpu_grads, functools.partial(_lax, transposed=False))
_conv_transpose = _operation(
    _transpose_cpu, _transpose_cpu_grads, functools.partial(_lax, transposed=True)
)


# The three maps as matrix products. At stride 1 each can be done either way round: the side with
# half the channels or fewer is the one to copy once per tap.


def _gather(x: jax.Array, w: jax.Array, geometry: _Geometry) -> jax.Array:
    if geometry.stride == 1 and 2 * w.shape[-1] <= x.shape[-1]:
        size = geometry.gathered(x.shape[1:-1], w.shape)
        return _scatter(x, _flip(w), geometry.flipped(w.shape), size)
    return jnp.tensordot(_patches(x, w.shape[:-2], geometry), w.reshape(-1, w.shape[-1]), 1)


def _scatter(x: jax.Array, w: jax.Array, geometry: _Geometry, size: _Sizes) -> jax.Array:
    """Returns y [B, *size, O]; each of the s phases of y, y[s m + r], adds up shifted products."""
    stride, padding, dilation = geometry
    *kernel, inputs, outputs = w.shape
    if stride == 1 and 2 * outputs > inputs:
        return _gather(x, _flip(w), geometry.flipped(w.shape))
    n, batch, zero = len(kernel), x.shape[0], jnp.zeros((), x.dtype)
    products = jnp.tensordot(x, jnp.moveaxis(w, -2, 0).reshape(inputs, -1), 1)
    products = products.reshape(*x.shape[:-1], -1, outputs)
    first = [p // stride for p in padding]  # positions s m + r - p, of which m >= first are in y
    rows = [-(-(p + h) // stride) - f for p, h, f in zip(padding, size, first, strict=True)]
    phases: dict[tuple[int, ...], jax.Array] = dict.fromkeys(
        itertools.product(range(stride), repeat=n), jnp.zeros((batch, *rows, outputs), x.dtype)
    )
    for i, tap in enumerate(itertools.product(*map(range, kernel))):
        shift, phase = zip(*(divmod(dilation * a, stride) for a in tap), strict=True)
        axes = zip(shift, first, rows, x.shape[1:], strict=False)
        edges = [(q - f, m - h - (q - f), 0) for q, f, m, h in axes]
        phases[phase] += lax.pad(products[..., i, :], zero, [(0, 0, 0), *edges, (0, 0, 0)])
    y = jnp.concatenate(list(phases.values()), -1).reshape(batch, *rows, *(stride,) * n, outputs)
    y = y.transpose(0, *(axis for i in range(n) for axis in (1 + i, 1 + n + i)), 1 + 2 * n)
    y = y.reshape(batch, *(stride * m for m in rows), outputs)
    starts = [p % stride for p in padding]
    stops = [start + h for start, h in zip(starts, size, strict=True)]
    return lax.slice(y, (0, *starts, 0), (batch, *stops, outputs))


def _correlate(x: jax.Array, g: jax.Array, geometry: _Geometry, kernel: _Sizes) -> jax.Array:
    """Returns the [*K, I, O] gradient of the kernel, where x is [B, *S, I] and g [B, *S', O]."""
    if geometry.stride == 1 and 2 * g.shape[-1] <= x.shape[-1]:
        return _flip(_correlate(g, x, geometry.flipped(kernel), kernel).mT)
    patches = _patches(x, kernel, geometry)
    positions = tuple(range(x.ndim - 1))
    if patches.shape[-1] < g.shape[-1]:  # the first factor gets transposed: let it be the smaller
        dw = jnp.tensordot(patches, g, (positions, positions))
        return dw.reshape(*kernel, x.shape[-1], g.shape[-1])
    dw = jnp.tensordot(g, patches, (positions, positions))
    return jnp.moveaxis(dw.reshape(g.shape[-1], *kernel, x.shape[-1]), 0, -1)


def _patches(x: jax.Array, kernel: _Sizes, geometry: _Geometry) -> jax.Array:
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


# Stride 1 in Fourier space. By the correlation theorem y = A [(G w) * (D x)], where * multiplies
# [B, I] by [I, O] at each frequency. A circle of S + p positions is enough, as the zeros before the
# first position are also those after the last. Of conjugate frequencies one is kept, and a product
# (a + ib) (c - id) takes three real ones (Gauss): (a + b) c, a (c + d) and b (d - c), whose first
# and third add up to the real part, and whose first less the second is the imaginary part.


@functools.lru_cache
def _transforms(
    size: _Sizes, kernel: _Sizes, padding: _Sizes, dtype: np.dtype
) -> tuple[np.ndarray, ...]:
    """Returns D [F, S], G [F, K] and A [S', F], spatial axes flattened."""
    circle = np.add(size, padding)
    every = np.stack(list(np.ndindex(*circle)))
    order = np.ravel_multi_index(tuple(every.T), circle)
    conjugate = np.ravel_multi_index(tuple((-every % circle).T), circle)
    frequencies, real = every[order <= conjugate], (order == conjugate)[order <= conjugate]

    def waves(shape: _Sizes, start: np.ndarray | int = 0) -> tuple[np.ndarray, np.ndarray]:
        positions = np.stack(list(np.ndindex(*shape))) + start
        angle = 2 * np.pi * (frequencies / circle) @ positions.T
        return np.cos(angle), np.sin(angle)

    def rows(of_real: np.ndarray, *of_pairs: np.ndarray) -> np.ndarray:
        return np.concatenate([of_real[real], *(part[~real] for part in of_pairs)])

    outputs = _Geometry(1, padding, 1).gathered(size, kernel)
    (a, b), (c, d), (cos, sin) = waves(size), waves(kernel), waves(outputs, -np.array(padding))
    twice = np.where(real, 1, 2)[:, None] / len(every)
    of_x, of_w = rows(a, a - b, a, -b), rows(c, c, c - d, -d - c)
    to_y = rows(*(twice * part for part in (cos, cos - sin, sin, cos))).T
    return of_x.astype(dtype), of_w.astype(dtype), to_y.astype(dtype)


def _fourier_pays(x: _Sizes, w: _Sizes, geometry: _Geometry) -> bool:
    """Whether it takes 1.5 times fewer multiplications, given the shapes of x and w."""
    if geometry.stride != 1 or geometry.dilation != 1 or min(geometry.padding) < 0:
        return False
    size, kernel, channels = math.prod(x[1:-1]), math.prod(w[:-2]), w[-2] * w[-1]
    outputs = math.prod(geometry.gathered(x[1:-1], w))
    frequencies = 1.5 * math.prod(np.add(x[1:-1], geometry.padding).tolist())
    per_image = channels + size * w[-2] + outputs * w[-1] + kernel * channels / max(x[0], 1)
    return outputs * kernel * channels > 1.5 * frequencies * per_image


def _fourier(x: jax.Array, w: jax.Array, geometry: _Geometry) -> jax.Array:
    of_x, of_w, to_y = _transforms(x.shape[1:-1], w.shape[:-2], geometry.padding, x.dtype)
    xf = jnp.tensordot(of_x, _positions_first(x), 1)
    wf = jnp.tensordot(of_w, w.reshape(-1, *w.shape[-2:]), 1)
    y = jnp.tensordot(to_y, jnp.einsum("fbi,fio->fbo", xf, wf), 1)
    return _batch_first(y, geometry.gathered(x.shape[1:-1], w.shape))


def _fourier_grads(x: jax.Array, w: jax.Array, g: jax.Array, geometry: _Geometry) -> _Pair:
    of_x, of_w, to_y = _transforms(x.shape[1:-1], w.shape[:-2], geometry.padding, x.dtype)
    xf = jnp.tensordot(of_x, _positions_first(x), 1)
    wf = jnp.tensordot(of_w, w.reshape(-1, *w.shape[-2:]), 1)
    gf = jnp.tensordot(to_y.T, _positions_first(g), 1)
    dx = jnp.tensordot(of_x.T, jnp.einsum("fbo,fio->fbi", gf, wf), 1)
    dw = jnp.tensordot(of_w.T, jnp.einsum("fbi,fbo->fio", xf, gf), 1)
    return _batch_first(dx, x.shape[1:-1]), dw.reshape(w.shape)


def _positions_first(x: jax.Array) -> jax.Array:
    return jnp.moveaxis(x.reshape(x.shape[0], -1, x.shape[-1]), 1, 0)


def _batch_first(x: jax.Array, size: _Sizes) -> jax.Array:
    return jnp.moveaxis(x, 0, 1).reshape(x.shape[1], *size, x.shape[-1])
