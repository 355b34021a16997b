"""Convolutions in PyTorch's layout, computed by this library's fast ones where these apply.

`msae_jax.models.convolution` has its channels last, one stride and dilation for all axes, one or
two spatial axes, and no groups; whatever is otherwise goes to XLA's own convolution.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from msae_jax.errors import InputError
from msae_jax.models import convolution

_Sizes = Sequence[int]

MOST_TAPS = 49  # of kernels of one channel that are written out position by position


def _all(value: int | _Sizes, n: int) -> tuple[int, ...]:
    """Returns one number for each of n axes; PyTorch takes one number for all."""
    values = (value,) if isinstance(value, int) else tuple(value)
    return values * n if len(values) == 1 else values


def _in_torch(
    of_last: Callable[..., jax.Array], input: jax.Array, weight: jax.Array, *rest: Any
) -> jax.Array:
    """Returns a convolution in PyTorch's layout, [B, C, *S] or [C, *S] without a batch."""
    if input.ndim == weight.ndim - 1:
        return _in_torch(of_last, input[None], weight, *rest)[0]
    return jnp.moveaxis(of_last(jnp.moveaxis(input, 1, -1), weight, *rest), -1, 1)


def conv(
    input: jax.Array,
    weight: jax.Array,
    bias: jax.Array | None = None,
    stride: int | _Sizes = 1,
    padding: int | _Sizes = 0,
    dilation: int | _Sizes = 1,
    groups: int = 1,
) -> jax.Array:
    """Returns the cross-correlation of input [B, I, *S] with weight [O, I / groups, *K]."""
    return _in_torch(conv_last, input, weight, bias, stride, padding, dilation, groups)


def conv_last(
    input: jax.Array,
    weight: jax.Array,
    bias: jax.Array | None = None,
    stride: int | _Sizes = 1,
    padding: int | _Sizes = 0,
    dilation: int | _Sizes = 1,
    groups: int = 1,
) -> jax.Array:
    """`conv` of [B, *S, I], with the channels last as in all functions of this name's ending."""
    n = weight.ndim - 2
    pads = [(p, p) for p in _all(padding, n)]
    return _conv(input, weight, bias, _all(stride, n), pads, _all(dilation, n), groups)


def conv_padding(
    input: jax.Array,
    weight: jax.Array,
    bias: jax.Array | None = None,
    stride: int | _Sizes = 1,
    padding: str = "valid",
    dilation: int | _Sizes = 1,
    groups: int = 1,
) -> jax.Array:
    """Returns the same with padding `valid`, or `same`: more of it at the end where it is odd."""
    return _in_torch(conv_padding_last, input, weight, bias, stride, padding, dilation, groups)


def conv_padding_last(
    input: jax.Array,
    weight: jax.Array,
    bias: jax.Array | None = None,
    stride: int | _Sizes = 1,
    padding: str = "valid",
    dilation: int | _Sizes = 1,
    groups: int = 1,
) -> jax.Array:
    n = weight.ndim - 2
    if padding not in ("valid", "same"):
        raise InputError(f"a convolution pads {padding!r}, expected valid or same.")
    spread = _all(dilation, n)
    total = [d * (k - 1) for d, k in zip(spread, weight.shape[2:], strict=True)]
    pads = [(t // 2, t - t // 2) if padding == "same" else (0, 0) for t in total]
    return _conv(input, weight, bias, _all(stride, n), pads, spread, groups)


def _conv(
    x: jax.Array,
    weight: jax.Array,
    bias: jax.Array | None,
    stride: _Sizes,
    pads: Sequence[tuple[int, int]],
    dilation: _Sizes,
    groups: int,
) -> jax.Array:
    n = weight.ndim - 2
    kernel = jnp.moveaxis(weight, (0, 1), (-1, -2))
    if n <= 2 and groups == 1 and len({*stride}) == 1 and len({*dilation}) == 1:
        padding = pads[0][0] if len({p for pair in pads for p in pair}) == 1 else 0
        if not padding:
            x = jnp.pad(x, [(0, 0), *pads, (0, 0)])
        y = convolution.conv(x, kernel, stride=stride[0], padding=padding, dilation=dilation[0])
    elif groups == x.shape[-1] and math.prod(kernel.shape[:n]) <= MOST_TAPS:
        y = _depthwise(x, kernel, stride, pads, dilation)
    else:
        spatial = "DHW"[-n:]
        y = lax.conv_general_dilated(
            x,
            kernel,
            stride,
            list(pads),
            rhs_dilation=dilation,
            dimension_numbers=(f"N{spatial}C", f"{spatial}IO", f"N{spatial}C"),
            feature_group_count=groups,
        )
    return y if bias is None else y + bias


def _depthwise(
    x: jax.Array,
    kernel: jax.Array,
    stride: _Sizes,
    pads: Sequence[tuple[int, int]],
    dilation: _Sizes,
) -> jax.Array:
    """Returns the convolution of each channel of x [B, *S, I] with its own kernels [*K, 1, O].

    XLA's own is many times slower on CPUs; a product with each position of the kernel is one loop.
    """
    *taps, _, outputs = kernel.shape
    of_each = kernel.reshape(*taps, x.shape[-1], -1)
    x = jnp.pad(x, [(0, 0), *pads, (0, 0)])
    axes = list(zip(taps, stride, dilation, x.shape[1:], strict=False))
    counts = [(size - d * (k - 1) - 1) // s + 1 for k, s, d, size in axes]
    cuts = {
        tap: tuple(
            slice(d * a, d * a + s * (m - 1) + 1, s)
            for a, (_, s, d, _), m in zip(tap, axes, counts, strict=True)
        )
        for tap in itertools.product(*map(range, taps))
    }
    # An output of each channel at a time: the gradient of all at once adds up over an axis of few.
    each = [
        sum(x[(slice(None), *cut)] * of_each[tap][:, m] for tap, cut in cuts.items())
        for m in range(of_each.shape[-1])
    ]
    y = jnp.stack(each, axis=-1)
    return y.reshape(*y.shape[:-2], outputs)


def conv_transpose(
    input: jax.Array,
    weight: jax.Array,
    bias: jax.Array | None = None,
    stride: int | _Sizes = 1,
    padding: int | _Sizes = 0,
    output_padding: int | _Sizes = 0,
    groups: int = 1,
    dilation: int | _Sizes = 1,
) -> jax.Array:
    """Returns the transposed convolution of input [B, I, *S] with weight [I, O / groups, *K].

    y[stride i + dilation a - padding] += x[i] w[a], and `output_padding` more positions at the end.
    """
    rest = (stride, padding, output_padding, groups, dilation)
    return _in_torch(conv_transpose_last, input, weight, bias, *rest)


def conv_transpose_last(
    input: jax.Array,
    weight: jax.Array,
    bias: jax.Array | None = None,
    stride: int | _Sizes = 1,
    padding: int | _Sizes = 0,
    output_padding: int | _Sizes = 0,
    groups: int = 1,
    dilation: int | _Sizes = 1,
) -> jax.Array:
    n = weight.ndim - 2
    kernel = jnp.moveaxis(weight, (0, 1), (-2, -1))  # [*K, I, O / groups]
    spread = [(0, 0, d - 1) for d in _all(dilation, n)]
    zero = jnp.zeros((), kernel.dtype)
    kernel = lax.pad(kernel, zero, [*spread, (0, 0, 0), (0, 0, 0)])  # a wider one without dilation
    steps, cut, more = _all(stride, n), _all(padding, n), _all(output_padding, n)
    parts = zip(jnp.split(input, groups, -1), jnp.split(kernel, groups, -2), strict=True)
    scattered = [_scatter(part, one, steps, cut, more) for part, one in parts]
    y = scattered[0] if groups == 1 else jnp.concatenate(scattered, -1)
    return y if bias is None else y + bias


def _scatter(
    x: jax.Array, kernel: jax.Array, stride: _Sizes, padding: _Sizes, more: _Sizes
) -> jax.Array:
    """Returns the transposed convolution of x [B, *S, I] with a kernel [*K, I, O]."""
    n = kernel.ndim - 2
    if n <= 2 and len({*stride}) == 1 and len({*padding}) == 1 and not any(more):
        return convolution.conv_transpose(x, kernel, stride=stride[0], padding=padding[0])
    if n <= 2 and len({*stride}) == 1:
        y = convolution.conv_transpose(x, kernel, stride=stride[0])
        edges = [(-p, m - p, 0) for p, m in zip(padding, more, strict=True)]
        return lax.pad(y, jnp.zeros((), y.dtype), [(0, 0, 0), *edges, (0, 0, 0)])
    spatial = "DHW"[-n:]
    sizes = zip(kernel.shape, padding, more, strict=False)
    return lax.conv_general_dilated(
        x,
        jnp.flip(kernel, tuple(range(n))),
        (1,) * n,
        [(k - 1 - p, k - 1 - p + m) for k, p, m in sizes],
        lhs_dilation=stride,
        dimension_numbers=(f"N{spatial}C", f"{spatial}IO", f"N{spatial}C"),
    )


def convolution_kernel(
    input: jax.Array,
    weight: jax.Array,
    bias: jax.Array | None,
    stride: _Sizes,
    padding: _Sizes,
    dilation: _Sizes,
    transposed: bool,
    output_padding: _Sizes,
    groups: int,
) -> jax.Array:
    """Returns either convolution, as the core operators have it."""
    rest = (stride, padding, dilation, transposed, output_padding, groups)
    return _in_torch(convolution_kernel_last, input, weight, bias, *rest)


def convolution_kernel_last(
    input: jax.Array,
    weight: jax.Array,
    bias: jax.Array | None,
    stride: _Sizes,
    padding: _Sizes,
    dilation: _Sizes,
    transposed: bool,
    output_padding: _Sizes,
    groups: int,
) -> jax.Array:
    if transposed:
        rest = (stride, padding, output_padding, groups, dilation)
        return conv_transpose_last(input, weight, bias, *rest)
    if any(output_padding):
        raise InputError("a convolution has output padding, which only a transposed one can have.")
    return conv_last(input, weight, bias, stride, padding, dilation, groups)


TABLE: dict[str, Callable[..., Any]] = {
    **{f"aten.conv{n}d.default": conv for n in (1, 2, 3)},
    **{f"aten.conv{n}d.padding": conv_padding for n in (1, 2, 3)},
    "aten.conv_transpose1d.default": conv_transpose,
    "aten.conv_transpose2d.input": conv_transpose,
    "aten.conv_transpose3d.input": conv_transpose,
    "aten.convolution.default": convolution_kernel,
}
