"""Convolutions that are fast on every platform, inside loops included; channels last, no bias.

Accelerators get `lax.conv_general_dilated` and its ordinary gradients. XLA's CPU backend runs the
gradients of that operation some thirty times too slowly inside a loop (jax issue 12868), and its
matrix products at full speed everywhere, so the CPU gets matrix products. Only where channels are
few does it get the operation itself (`_direct`), in the one form that is fast in loops, too.

With stride s, padding p, dilation d and taps a (all per axis), there are three bilinear maps,

    gather      y[i]             = sum_a x[s i + d a - p] w[a]
    scatter     y[s i + d a - p] = sum_a x[i] w[a]
    correlate   w[a]             = sum_i x[s i + d a - p]^T g[i]

which are each other's derivatives: `conv` gathers, and its gradients scatter (for x) and correlate
(for w); `conv_transpose` scatters, and its gradients gather and correlate. Gather and correlate
multiply a matrix of patches (im2col); scatter multiplies first, then adds shifted products up
(col2im). On small images a stride-1 gather and its gradients are done in Fourier space instead
(`msae_jax.models.fourier`).

Shapes: B batch, *S spatial (one or two axes), I input and O output channels, *K kernel.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import sequential_vmap

from msae_jax.errors import InputError
from msae_jax.models import fourier, patches
from msae_jax.models.patches import Geometry
from msae_jax.system import precision

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
    return _conv(x, kernel, Geometry(stride, (padding,) * (x.ndim - 2), dilation))


def conv_transpose(
    x: jax.Array, kernel: jax.Array, *, stride: int = 1, padding: int = 0
) -> jax.Array:
    """Returns the transposed convolution of `x` with `kernel`, as `torch.nn.ConvTranspose2d`.

    `x` is [B, *S, I] and `kernel` [*K, I, O], where kernel[a] is PyTorch's weight[:, :, a]:
    y[stride i + a - padding] += x[i] @ kernel[a]. The result is [B, *S', O] with, along each axis,
    S' = (S - 1) stride - 2 padding + K. Raises InputError if the shapes do not fit each other.
    """
    _check(x, kernel)
    geometry = Geometry(stride, (padding,) * (x.ndim - 2), 1)
    if stride == 1:
        return _conv(x, _flip(kernel), geometry.flipped(kernel.shape))
    return _conv_transpose(x, kernel, geometry)


def _check(x: jax.Array, kernel: jax.Array) -> None:
    if x.ndim not in (3, 4) or kernel.ndim != x.ndim or kernel.shape[-2] != x.shape[-1]:
        raise InputError(
            f"cannot convolve {x.shape} with a kernel {kernel.shape}: expected [B, L, I] with "
            "[k, I, O], or [B, H, W, I] with [kh, kw, I, O]"
        )


def _flip(w: jax.Array) -> jax.Array:
    return lax.rev(w, tuple(range(w.ndim - 2)))  # nested `jnp.flip` fails in exports of newer JAX


# Two differentiable operations. Each chooses between CPU and other platforms twice: for its value
# and for its gradients. So JAX never has to differentiate the choice; lowering keeps one branch.


def _operation(
    cpu: Callable[..., jax.Array], cpu_grads: Callable[..., _Pair], other: Callable[..., jax.Array]
) -> Callable[[jax.Array, jax.Array, Geometry], jax.Array]:
    @functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
    def operation(x: jax.Array, w: jax.Array, geometry: Geometry) -> jax.Array:
        cpu_value, value = (functools.partial(f, geometry=geometry) for f in (cpu, other))
        return lax.platform_dependent(x, w, cpu=cpu_value, default=value)

    def backward(geometry: Geometry, inputs: _Pair, g: jax.Array) -> _Pair:
        def grads(x: jax.Array, w: jax.Array, g: jax.Array) -> _Pair:
            return jax.vjp(functools.partial(other, geometry=geometry), x, w)[1](g)

        cpu = functools.partial(cpu_grads, geometry=geometry)
        return lax.platform_dependent(*inputs, g, cpu=cpu, default=grads)

    operation.defvjp(lambda x, w, geometry: (operation(x, w, geometry), (x, w)), backward)
    return operation


def _conv_cpu(x: jax.Array, w: jax.Array, geometry: Geometry) -> jax.Array:
    if _fourier_pays(x, w, geometry):
        return fourier.conv(x, w, geometry.padding)
    return _gather(x, w, geometry)


def _fourier_pays(x: jax.Array, w: jax.Array, geometry: Geometry) -> bool:
    plain = geometry.stride == 1 and geometry.dilation == 1 and min(geometry.padding) >= 0
    if precision.asked_for():  # a sum over frequencies magnifies what rounding them does
        return False
    return plain and fourier.pays(x.shape, w.shape, geometry.padding)


def _conv_cpu_grads(x: jax.Array, w: jax.Array, g: jax.Array, geometry: Geometry) -> _Pair:
    if _fourier_pays(x, w, geometry):
        return fourier.grads(x, w, g, geometry.padding)
    dx = _scatter(g, w.mT, geometry, x.shape[1:-1])
    return dx, _correlate(x, g, geometry, w.shape[:-2])


def _transpose_cpu(x: jax.Array, w: jax.Array, geometry: Geometry) -> jax.Array:
    axes = zip(x.shape[1:], geometry.padding, w.shape, strict=False)
    size = tuple((h - 1) * geometry.stride - 2 * p + k for h, p, k in axes)
    return _scatter(x, w, geometry, size)


def _transpose_cpu_grads(x: jax.Array, w: jax.Array, g: jax.Array, geometry: Geometry) -> _Pair:
    return _gather(g, w.mT, geometry), _correlate(g, x, geometry, w.shape[:-2]).mT


def _lax(x: jax.Array, w: jax.Array, geometry: Geometry, *, transposed: bool) -> jax.Array:
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


# XLA's kernel for CPUs is fast for float32, channels last, a kernel as it lies in memory, and no
# dilation. Gradients of that form are written out below; those that JAX derives reverse the kernel.


def _direct_pays(x: jax.Array, w: jax.Array, geometry: Geometry) -> bool:
    """Whether this is faster than im2col, whose copies cost most where the products are small.

    Measured on an Intel Xeon (two cores, AVX-512), on images of 14x14 to 32x32: up to three times
    as fast for 16 to 48 channels, slower for fewer inputs, more outputs, or dilated kernels.
    """
    plain = geometry.dilation == 1 and min(geometry.padding) >= 0 and x.dtype == jnp.float32
    plain = plain and not precision.asked_for()
    return plain and x.shape[-1] >= 16 and 16 <= w.shape[-1] <= 48


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _direct(x: jax.Array, w: jax.Array, geometry: Geometry) -> jax.Array:
    """Gathers by XLA's own kernel; what is mapped over is computed in turn, as groups are slow."""
    return sequential_vmap(functools.partial(_lax, geometry=geometry, transposed=False))(x, w)


def _direct_grads(geometry: Geometry, inputs: _Pair, g: jax.Array) -> _Pair:
    return _conv_cpu_grads(*inputs, g, geometry)


_direct.defvjp(lambda x, w, geometry: (_direct(x, w, geometry), (x, w)), _direct_grads)


NARROW = 16
"""Where inputs are twice the outputs or more, XLA's kernel pays for so many outputs at most: from
48 to 16 channels of 32x32 pixels it takes two thirds of the time, from 64 to 32 of 8x8 half more.
"""


# The three maps as matrix products. At stride 1 each can copy either its output or its input once
# per tap: it copies the output if that has at most half of the input's channels, else the input.


def _gather(x: jax.Array, w: jax.Array, geometry: Geometry) -> jax.Array:
    narrows = geometry.stride == 1 and 2 * w.shape[-1] <= x.shape[-1]
    if _direct_pays(x, w, geometry) and not (narrows and w.shape[-1] > NARROW):
        return _direct(x, w, geometry)
    if narrows:
        size = geometry.gathered(x.shape[1:-1], w.shape)
        return _scatter(x, _flip(w), geometry.flipped(w.shape), size)
    if patches.sum_pays(x, w) and not precision.asked_for():
        return patches.gather_as_sum(x, w, geometry)
    return patches.gather(x, w, geometry)


def _scatter(x: jax.Array, w: jax.Array, geometry: Geometry, size: _Sizes) -> jax.Array:
    """Returns y [B, *size, O], where y[s i + d a - p] adds up x[i] w[a].

    Position j of y, counted from the start of the padding, is j + p = s m + r: row m of phase r.
    Each tap adds to one phase only, shifted by some rows. At the end the phases are interleaved.
    """
    stride, padding, dilation = geometry
    *kernel, inputs, outputs = w.shape
    flipped = geometry.flipped(w.shape)
    direct = outputs <= NARROW and _direct_pays(x, w, flipped)
    if stride == 1 and (2 * outputs > inputs or direct):
        return _gather(x, _flip(w), flipped)
    products = jnp.tensordot(x, jnp.moveaxis(w, -2, 0).reshape(inputs, -1), 1)
    products = products.reshape(*x.shape[:-1], -1, outputs)  # of each tap, in order
    first = [p // stride for p in padding]  # rows before it are padding alone
    rows = [-(-(p + h) // stride) - f for p, h, f in zip(padding, size, first, strict=True)]
    phases: dict[_Sizes, jax.Array] = dict.fromkeys(
        itertools.product(range(stride), repeat=len(kernel)),
        jnp.zeros((x.shape[0], *rows, outputs), x.dtype),
    )
    for i, tap in enumerate(itertools.product(*map(range, kernel))):
        moved, phase = zip(*(divmod(dilation * a, stride) for a in tap), strict=True)
        by = [m - f for m, f in zip(moved, first, strict=True)]
        phases[phase] += _moved(products[..., i, :], by, rows)
    y = _interleaved(list(phases.values()), stride)
    starts = [p % stride for p in padding]
    stops = [start + h for start, h in zip(starts, size, strict=True)]
    return lax.slice(y, (0, *starts, 0), (x.shape[0], *stops, outputs))


def _moved(x: jax.Array, by: Sequence[int], rows: Sequence[int]) -> jax.Array:
    """Returns x [B, *S, O] moved along each axis in zeros [B, *rows, O]; the rest is cut off."""
    edges = [(b, m - h - b, 0) for b, m, h in zip(by, rows, x.shape[1:-1], strict=True)]
    return lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *edges, (0, 0, 0)])


def _interleaved(phases: Sequence[jax.Array], stride: int) -> jax.Array:
    """Returns y [B, *(s rows), O] with y[s m + r] = phases[r][m]; the phases are [B, *rows, O]."""
    batch, *rows, outputs = phases[0].shape
    n = len(rows)
    y = jnp.concatenate(phases, -1).reshape(batch, *rows, *(stride,) * n, outputs)
    y = y.transpose(0, *(axis for i in range(n) for axis in (1 + i, 1 + n + i)), 1 + 2 * n)
    return y.reshape(batch, *(stride * m for m in rows), outputs)


def _correlate(x: jax.Array, g: jax.Array, geometry: Geometry, kernel: _Sizes) -> jax.Array:
    """Returns the [*K, I, O] gradient of the kernel, where x is [B, *S, I] and g [B, *S', O].

    At stride 1 it is a convolution itself, of images [I, *S, B] with a kernel [*S', B, O].
    """
    if geometry.stride == 1 and _direct_pays(x, g, geometry):
        dw = _direct(jnp.swapaxes(x, 0, -1), jnp.moveaxis(g, 0, -2), geometry)
        return jnp.moveaxis(dw, 0, -2)
    if geometry.stride == 1 and 2 * g.shape[-1] <= x.shape[-1]:
        return _flip(_correlate(g, x, geometry.flipped(kernel), kernel).mT)
    return patches.correlate(x, g, geometry, kernel)
