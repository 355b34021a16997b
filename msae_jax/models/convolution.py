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
with a third of the multiplications; see `_fourier`.

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


def conv(
    x: jax.Array, kernel: jax.Array, *, stride: int = 1, padding: int = 0, dilation: int = 1
) -> jax.Array:
    """Returns the cross-correlation of `x` with `kernel`, as `torch.nn.Conv1d` and `Conv2d`.

    `x` is [B, *S, I] and `kernel` [*K, I, O]; the result is [B, *S', O] with, along each axis,
    S' = (S + 2 padding - dilation (K - 1) - 1) // stride + 1. `padding` adds zeros on both sides.
    Raises InputError if the shapes do not fit each other.
    """
    pads = (padding,) * _spatial(x, kernel)
    return _conv(x, kernel, _Geometry(stride, pads, dilation))


def conv_transpose(
    x: jax.Array, kernel: jax.Array, *, stride: int = 1, padding: int = 0
) -> jax.Array:
    """Returns the transposed convolution of `x` with `kernel`, as `torch.nn.ConvTranspose2d`.

    `x` is [B, *S, I] and `kernel` [*K, I, O], where kernel[a] is PyTorch's weight[:, :, a]:
    y[stride i + a - padding] += x[i] @ kernel[a]. The result is [B, *S', O] with, along each axis,
    S' = (S - 1) stride - 2 padding + K. Raises InputError if the shapes do not fit each other.
    """
    n = _spatial(x, kernel)
    if stride == 1:  # is a convolution with the flipped kernel
        return _conv(
            x, _flip(kernel), _Geometry(1, tuple(k - 1 - padding for k in kernel.shape[:n]))
        )
    return _conv_transpose(x, kernel, _Geometry(stride, (padding,) * n))


_Pair = tuple[jax.Array, jax.Array]
_LAYOUTS = {1: ("NHC", "HIO", "NHC"), 2: ("NHWC", "HWIO", "NHWC")}


class _Geometry(NamedTuple):
    stride: int
    padding: tuple[int, ...]  # zeros on both sides of each axis; negative crops
    dilation: int = 1


def _spatial(x: jax.Array, kernel: jax.Array) -> int:
    """Returns the number of spatial axes."""
    if x.ndim not in (3, 4) or kernel.ndim != x.ndim or kernel.shape[-2] != x.shape[-1]:
        raise InputError(
            f"cannot convolve {x.shape} with a kernel {kernel.shape}: expected [B, L, I] with "
            "[k, I, O], or [B, H, W, I] with [kh, kw, I, O]"
        )
    return x.ndim - 2


# Two differentiable operations. Each chooses by platform inside its value and inside its gradients,
# so that the choice, which lowering resolves to a single branch, is itself never differentiated.


def _differentiable(
    cpu: Callable[..., jax.Array], cpu_grads: Callable[..., _Pair], other: Callable[..., jax.Array]
) -> Callable[[jax.Array, jax.Array, _Geometry], jax.Array]:
    @functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
    def operation(x: jax.Array, w: jax.Array, geometry: _Geometry) -> jax.Array:
        def on(function: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
            return lambda x, w: function(x, w, geometry)

        return lax.platform_dependent(x, w, cpu=on(cpu), default=on(other))

    def forward(x: jax.Array, w: jax.Array, geometry: _Geometry) -> tuple[jax.Array, _Pair]:
        return operation(x, w, geometry), (x, w)

    def backward(geometry: _Geometry, inputs: _Pair, g: jax.Array) -> _Pair:
        def ordinary(x: jax.Array, w: jax.Array, g: jax.Array) -> _Pair:
            return jax.vjp(lambda x, w: other(x, w, geometry), x, w)[1](g)

        def fast(x: jax.Array, w: jax.Array, g: jax.Array) -> _Pair:
            return cpu_grads(x, w, g, geometry)

        return lax.platform_dependent(*inputs, g, cpu=fast, default=ordinary)

    operation.defvjp(forward, backward)
    return operation


def _conv_cpu(x: jax.Array, w: jax.Array, geometry: _Geometry) -> jax.Array:
    pays = _fourier_pays(x.shape, w.shape, geometry)
    return _fourier(x, w, geometry) if pays else _gather(x, w, geometry)


def _conv_cpu_grads(x: jax.Array, w: jax.Array, g: jax.Array, geometry: _Geometry) -> _Pair:
    if _fourier_pays(x.shape, w.shape, geometry):
        return _fourier_grads(x, w, g, geometry)
    dx = _scatter(g, w.swapaxes(-1, -2), geometry, x.shape[1:-1])
    return dx, _correlate(x, g, geometry, w.shape[:-2])


def _conv_lax(x: jax.Array, w: jax.Array, geometry: _Geometry) -> jax.Array:
    stride, padding, dilation = geometry
    n = len(padding)
    return lax.conv_general_dilated(
        x,
        w,
        (stride,) * n,
        [(p, p) for p in padding],
        rhs_dilation=(dilation,) * n,
        dimension_numbers=_LAYOUTS[n],
    )


def _conv_transpose_cpu(x: jax.Array, w: jax.Array, geometry: _Geometry) -> jax.Array:
    return _scatter(x, w, geometry, _scattered(x.shape[1:-1], w.shape[:-2], geometry))


def _conv_transpose_cpu_grads(
    x: jax.Array, w: jax.Array, g: jax.Array, geometry: _Geometry
) -> _Pair:
    dw = _correlate(g, x, geometry, w.shape[:-2])
    return _gather(g, w.swapaxes(-1, -2), geometry), dw.swapaxes(-1, -2)


def _conv_transpose_lax(x: jax.Array, w: jax.Array, geometry: _Geometry) -> jax.Array:
    n = len(geometry.padding)
    return lax.conv_general_dilated(
        x,
        _flip(w),
        (1,) * n,
        [(p, p) for p in _flipped(geometry, w.shape[:-2]).padding],
        lhs_dilation=(geometry.stride,) * n,
        dimension_numbers=_LAYOUTS[n],
    )


_conv = _differentiable(_conv_cpu, _conv_cpu_grads, _conv_lax)
_conv_transpose = _differentiable(
    _conv_transpose_cpu, _conv_transpose_cpu_grads, _conv_transpose_lax
)


# The three maps as matrix products, for the CPU. At stride 1 gather is a scatter with the flipped
# kernel and the other way round; what has many fewer channels is the one to copy once per tap.


def _gather(x: jax.Array, w: jax.Array, geometry: _Geometry) -> jax.Array:
    if geometry.stride == 1 and _narrow(w.shape[-1], w.shape[-2]):
        size = _gathered(x.shape[1:-1], w.shape[:-2], geometry)
        return _scatter(x, _flip(w), _flipped(geometry, w.shape[:-2]), size)
    patches = _patches(x, w.shape[:-2], geometry)
    return lax.dot_general(patches, w.reshape(-1, w.shape[-1]), (((x.ndim - 1,), (0,)), ((), ())))


def _correlate(
    x: jax.Array, g: jax.Array, geometry: _Geometry, kernel: tuple[int, ...]
) -> jax.Array:
    """Returns the [*K, I, O] gradient of the kernel that gathers g [B, *S', O] from x."""
    if geometry.stride == 1 and _narrow(g.shape[-1], x.shape[-1]):
        return _flip(_correlate(g, x, _flipped(geometry, kernel), kernel).swapaxes(-1, -2))
    patches = _patches(x, kernel, geometry)
    batch = tuple(range(x.ndim - 1))
    dw = lax.dot_general(g, patches, ((batch, batch), ((), ())))
    return jnp.moveaxis(dw.reshape(g.shape[-1], *kernel, x.shape[-1]), 0, -1)


def _scatter(x: jax.Array, w: jax.Array, geometry: _Geometry, size: tuple[int, ...]) -> jax.Array:
    """Returns y [B, *size, O]. Outputs s m + r of each phase r are sums of whole shifted rows."""
    stride, padding, dilation = geometry
    *kernel, inputs, outputs = w.shape
    n = len(kernel)
    if stride == 1 and not _narrow(outputs, inputs):
        return _gather(x, _flip(w), _flipped(geometry, tuple(kernel)))
    w = jnp.moveaxis(w, -2, 0).reshape(inputs, -1)
    products = lax.dot_general(x, w, (((x.ndim - 1,), (0,)), ((), ())))
    first = [p // stride for p in padding]
    rows = [-(-(p + h) // stride) - f for p, h, f in zip(padding, size, first, strict=True)]
    phases = dict.fromkeys(
        itertools.product(range(stride), repeat=n),
        jnp.zeros((x.shape[0], *rows, outputs), x.dtype),
    )
    for i, tap in enumerate(itertools.product(*map(range, kernel))):
        shift, phase = zip(*(divmod(dilation * a, stride) for a in tap), strict=True)
        edges = [
            (q - f, m - (q - f) - s, 0)
            for q, f, m, s in zip(shift, first, rows, x.shape[1:-1], strict=True)
        ]
        product = products[..., i * outputs : (i + 1) * outputs]
        phases[phase] += lax.pad(product, jnp.zeros((), x.dtype), [(0, 0, 0), *edges, (0, 0, 0)])
    y = jnp.concatenate(list(phases.values()), -1)
    if stride > 1:
        y = y.reshape(x.shape[0], *rows, *(stride,) * n, outputs)
        interleaved = [axis for i in range(n) for axis in (1 + i, 1 + n + i)]
        y = y.transpose(0, *interleaved, 1 + 2 * n)
        y = y.reshape(x.shape[0], *(stride * m for m in rows), outputs)
    for axis, (p, h) in enumerate(zip(padding, size, strict=True), 1):
        y = lax.slice_in_dim(y, p % stride, p % stride + h, axis=axis)
    return y


def _patches(x: jax.Array, kernel: tuple[int, ...], geometry: _Geometry) -> jax.Array:
    """Returns [B, *S', taps * I], the inputs under the kernel at each output position."""
    stride, padding, dilation = geometry
    outputs = _gathered(x.shape[1:-1], kernel, geometry)
    x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *((p, p, 0) for p in padding), (0, 0, 0)])
    taps = []
    for tap in itertools.product(*map(range, kernel)):
        patch = x
        for axis, (a, s) in enumerate(zip(tap, outputs, strict=True), 1):
            start = dilation * a
            patch = lax.slice_in_dim(patch, start, start + stride * (s - 1) + 1, stride, axis)
        taps.append(patch)
    return jnp.concatenate(taps, -1)


def _gathered(
    size: tuple[int, ...], kernel: tuple[int, ...], geometry: _Geometry
) -> tuple[int, ...]:
    stride, padding, dilation = geometry
    return tuple(
        (s + 2 * p - dilation * (k - 1) - 1) // stride + 1
        for s, p, k in zip(size, padding, kernel, strict=True)
    )


def _scattered(
    size: tuple[int, ...], kernel: tuple[int, ...], geometry: _Geometry
) -> tuple[int, ...]:
    stride, padding, dilation = geometry
    return tuple(
        (s - 1) * stride - 2 * p + dilation * (k - 1) + 1
        for s, p, k in zip(size, padding, kernel, strict=True)
    )


def _narrow(few: int, many: int) -> bool:
    return 4 * few <= many


def _flip(w: jax.Array) -> jax.Array:
    return jnp.flip(w, tuple(range(w.ndim - 2)))


def _flipped(geometry: _Geometry, kernel: tuple[int, ...]) -> _Geometry:
    _, padding, dilation = geometry
    pads = tuple(dilation * (k - 1) - p for k, p in zip(kernel, padding, strict=True))
    return geometry._replace(padding=pads)


# Stride 1 in Fourier space, for the CPU. By the correlation theorem y = A [(G w) * (D x)], where
# D and G are the real and imaginary parts of discrete Fourier transforms over all positions and *
# multiplies [B, I] by [I, O] at each frequency. A circle of S + p positions is enough, the zeros
# before the first position being the ones after the last. Each pair of conjugate frequencies is
# kept once, and the product of (a + ib) and (c - id) takes three real products (Gauss):
# (a + b) c, a (c + d), b (d - c), of which first + third is the real and first - second the
# imaginary part.


class _Transforms(NamedTuple):
    of_x: np.ndarray  # D [F, S]
    of_w: np.ndarray  # G [F, K]
    to_y: np.ndarray  # A [S', F]


@functools.lru_cache
def _transforms(
    size: tuple[int, ...], kernel: tuple[int, ...], padding: tuple[int, ...]
) -> _Transforms:
    circle = [s + p for s, p in zip(size, padding, strict=True)]
    frequencies, selves = [], []
    for f in np.ndindex(*circle):
        conjugate = tuple(-a % c for a, c in zip(f, circle, strict=True))
        if f <= conjugate:
            frequencies.append(f)
            selves.append(f == conjugate)  # a real one
    real, pair = np.array(selves), ~np.array(selves)

    def waves(shape: tuple[int, ...], start: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        positions = np.array(list(np.ndindex(*shape))) + start
        angle = 2 * np.pi * (np.array(frequencies) / circle) @ positions.T
        return np.cos(angle), np.sin(angle)

    zero = (0,) * len(size)
    a, b = waves(size, zero)  # x's transform is a - ib
    c, d = waves(kernel, zero)
    outputs = _gathered(size, kernel, _Geometry(1, padding))
    cos, sin = waves(outputs, tuple(-p for p in padding))
    cos, sin = (np.where(real, 1, 2)[:, None] / math.prod(circle) * wave for wave in (cos, sin))
    return _Transforms(
        np.concatenate([a[real], (a - b)[pair], a[pair], -b[pair]]),
        np.concatenate([c[real], c[pair], (c - d)[pair], (-d - c)[pair]]),
        np.concatenate([cos[real], (cos - sin)[pair], sin[pair], cos[pair]]).T,
    )


def _fourier_pays(x: tuple[int, ...], w: tuple[int, ...], geometry: _Geometry) -> bool:
    """Whether a gather of `x` and `w`, given by shape, takes 1.5 times fewer products this way."""
    stride, padding, dilation = geometry
    (batch, *size, inputs), (*kernel, _, outputs) = x, w
    if stride != 1 or dilation != 1 or min(padding) < 0:
        return False
    s, k = math.prod(size), math.prod(kernel)
    positions = math.prod(_gathered(tuple(size), tuple(kernel), geometry))
    frequencies = 1.5 * math.prod(s + p for s, p in zip(size, padding, strict=True))
    channels = inputs * outputs
    products = batch * (channels + s * inputs + positions * outputs) + k * channels
    return batch * positions * k * channels > 1.5 * frequencies * products


def _fourier(x: jax.Array, w: jax.Array, geometry: _Geometry) -> jax.Array:
    kernel = w.shape[:-2]
    transforms = _transforms(x.shape[1:-1], kernel, geometry.padding)
    xf = _transform(transforms.of_x, _positions_first(x))
    wf = _transform(transforms.of_w, w.reshape(-1, *w.shape[-2:]))
    y = _transform(transforms.to_y, _multiply(xf, wf, 2, 1))
    return _batch_first(y, _gathered(x.shape[1:-1], kernel, geometry))


def _fourier_grads(
    x: jax.Array, w: jax.Array, g: jax.Array, geometry: _Geometry
) -> tuple[jax.Array, jax.Array]:
    """Returns the gradients of x and w; the compiler shares xf and wf with `_fourier`."""
    transforms = _transforms(x.shape[1:-1], w.shape[:-2], geometry.padding)
    xf = _transform(transforms.of_x, _positions_first(x))
    wf = _transform(transforms.of_w, w.reshape(-1, *w.shape[-2:]))
    gf = _transform(transforms.to_y.T, _positions_first(g))
    dx = _transform(transforms.of_x.T, _multiply(gf, wf, 2, 2))
    dw = _transform(transforms.of_w.T, _multiply(xf, gf, 1, 1))
    return _batch_first(dx, x.shape[1:-1]), dw.reshape(w.shape)


def _transform(matrix: np.ndarray, x: jax.Array) -> jax.Array:
    return lax.dot_general(jnp.asarray(matrix, x.dtype), x, (((1,), (0,)), ((), ())))


def _multiply(a: jax.Array, b: jax.Array, of_a: int, of_b: int) -> jax.Array:
    """Returns the matrix product at each frequency, over axis `of_a` of a and `of_b` of b."""
    return lax.dot_general(a, b, (((of_a,), (of_b,)), ((0,), (0,))))


def _positions_first(x: jax.Array) -> jax.Array:
    return jnp.moveaxis(x.reshape(x.shape[0], -1, x.shape[-1]), 1, 0)


def _batch_first(x: jax.Array, size: tuple[int, ...]) -> jax.Array:
    return jnp.moveaxis(x, 0, 1).reshape(x.shape[1], *size, x.shape[-1])
