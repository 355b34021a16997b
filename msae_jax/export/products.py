"""Matrix products, convolutions, reductions and pools, as ONNX operators."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from msae_jax.export.builder import (
    Builder,
    Tensor,
    Unsupported,
    constant,
    is_static,
    product,
)
from msae_jax.export.elementwise import Rule
from msae_jax.export.shapes import padded


def _dot(g: Builder, inputs: list[Tensor], out: Any, params: dict[str, Any]) -> Tensor:
    """A `MatMul` of axes in the order (batch, free, contracted) and (batch, contracted, free)."""
    (over_l, over_r), (batch_l, batch_r) = params["dimension_numbers"]
    left, right = (g.full(tensor) for tensor in inputs)
    free_l = [i for i in range(len(left.shape)) if i not in (*over_l, *batch_l)]
    free_r = [i for i in range(len(right.shape)) if i not in (*over_r, *batch_r)]
    batch, rows, inner, columns = (
        [of.shape[i] for i in axes]
        for of, axes in ((left, batch_l), (left, free_l), (left, over_l), (right, free_r))
    )
    left = g.transpose(left, [*batch_l, *free_l, *over_l])
    right = g.transpose(right, [*batch_r, *over_r, *free_r])
    plain = len(inner) == 1 and len(columns) <= 1 and not batch
    if not plain and not (len(rows) == len(inner) == len(columns) == 1):
        left = g.reshape(left, [*batch, product(rows), product(inner)])
        right = g.reshape(right, [*batch, product(inner), product(columns)])
        sizes = [*batch, product(rows), product(columns)]
    else:
        sizes = [*batch, *rows, *columns]
    made = g.node("MatMul", [left, right], sizes, left.dtype)
    return g.cast(g.reshape(made, out.shape), out.dtype)


def _conv(g: Builder, inputs: list[Tensor], out: Any, params: dict[str, Any]) -> Tensor:
    numbers, n = params["dimension_numbers"], len(params["window_strides"])
    if params["batch_group_count"] != 1:
        raise Unsupported("in groups of the batch")
    x = g.full(g.transpose(inputs[0], numbers.lhs_spec))
    w = g.full(g.transpose(inputs[1], numbers.rhs_spec))
    if not is_static(x.shape[2:]) or not is_static(w.shape):
        raise Unsupported("of sizes that are free")
    dilations, groups = list(params["rhs_dilation"]), params["feature_group_count"]
    shape = [out.shape[i] for i in numbers.out_spec]
    geometry = {"kernel_shape": list(w.shape[2:]), "dilations": dilations, "group": groups}
    if any(step != 1 for step in params["lhs_dilation"]):
        if any(step != 1 for step in params["window_strides"]):
            raise Unsupported("with strides of both the input and the output")
        y = _transposed(g, x, w, params, geometry, shape)
    else:
        edges, zero = params["padding"], constant(np.zeros((), x.dtype))
        if min(side for edge in edges for side in edge) < 0:
            inside = [a + b + c for a, (b, c) in zip(x.shape[2:], edges, strict=True)]
            config = [(0, 0, 0), (0, 0, 0), *((*edge, 0) for edge in edges)]
            x = padded(g, x, zero, config, (*x.shape[:2], *inside))
            edges = [(0, 0)] * n
        pads = [edge[side] for side in (0, 1) for edge in edges]
        strides = list(params["window_strides"])
        y = g.node("Conv", [x, w], shape, x.dtype, strides=strides, pads=pads, **geometry)
    return g.transpose(y, np.argsort(numbers.out_spec).tolist())


def _transposed(
    g: Builder,
    x: Tensor,
    w: Tensor,
    params: dict[str, Any],
    geometry: dict[str, Any],
    shape: list[Any],
) -> Tensor:
    """A `ConvTranspose` of x [B, I, *S]: its kernel [I, O, *K] is that of JAX [O, I, *K], flipped.

    JAX puts d (k - 1) zeros around x where ONNX takes none off the output.
    """
    if w.array is None:
        raise Unsupported("with a stride of the input and a kernel that hangs on the input")
    groups, (outputs, inputs, *kernel) = geometry["group"], w.shape
    flipped = np.flip(w.array, tuple(range(2, w.array.ndim)))
    flipped = flipped.reshape(groups, outputs // groups, inputs, *kernel).swapaxes(1, 2)
    flipped = flipped.reshape(groups * inputs, outputs // groups, *kernel)
    around = [d * (k - 1) for d, k in zip(geometry["dilations"], kernel, strict=True)]
    off = [(a - low, a - high) for a, (low, high) in zip(around, params["padding"], strict=True)]
    pads = [max(edge[side], 0) for side in (0, 1) for edge in off]
    more = [(max(-low, 0), max(-high, 0), 0) for low, high in off]
    sizes = [*shape[:2], *(n - a - b for n, (a, b, _) in zip(shape[2:], more, strict=True))]
    strides = list(params["lhs_dilation"])
    y = g.node(
        "ConvTranspose",
        [x, constant(flipped)],
        sizes,
        x.dtype,
        strides=strides,
        pads=pads,
        **geometry,
    )
    zero = constant(np.zeros((), x.dtype))
    return padded(g, y, zero, [(0, 0, 0), (0, 0, 0), *more], tuple(shape))


def _reduction(operator: str) -> Rule:
    def rule(g: Builder, inputs: list[Tensor], out: Any, params: dict[str, Any]) -> Tensor:
        tensor, axes = g.full(inputs[0]), g.ints(list(params["axes"]))
        truth = tensor.dtype == np.bool_
        tensor = g.cast(tensor, np.int32) if truth else tensor
        made = g.node(operator, [tensor, axes], out.shape, tensor.dtype, keepdims=0)
        return g.cast(made, out.dtype)

    return rule


def _place(operator: str) -> Rule:
    """The first place of the largest or smallest value along one axis."""

    def rule(g: Builder, inputs: list[Tensor], out: Any, params: dict[str, Any]) -> Tensor:
        (axis,) = params["axes"]
        made = g.node(operator, [g.full(inputs[0])], out.shape, np.int64, axis=axis, keepdims=0)
        return g.cast(made, out.dtype)

    return rule


def _cumsum(g: Builder, inputs: list[Tensor], out: Any, params: dict[str, Any]) -> Tensor:
    axis, backwards = g.ints(params["axis"]), int(params["reverse"])
    return g.node("CumSum", [g.full(inputs[0]), axis], out.shape, out.dtype, reverse=backwards)


def _pool(operator: str) -> Rule:
    """A pool over one to three axes of which the others are moved before it, as two."""

    def rule(g: Builder, inputs: list[Tensor], out: Any, params: dict[str, Any]) -> Tensor:
        window, strides = params["window_dimensions"], params["window_strides"]
        edges, dilations = params["padding"], params["window_dilation"]
        if any(step != 1 for step in params["base_dilation"]):
            raise Unsupported("with steps between the values")
        if operator == "AveragePool" and any(step != 1 for step in dilations):
            raise Unsupported("with steps inside a window")
        over = [i for i, k in enumerate(window) if k != 1 or strides[i] != 1 or any(edges[i])]
        rest = [i for i in range(len(window)) if i not in over]
        if not 1 <= len(over) <= 3 or not is_static([inputs[0].shape[i] for i in over]):
            raise Unsupported(f"over {len(over)} axes, or axes of a free size")
        order = [*rest, *over]
        x = g.full(g.transpose(inputs[0], order))
        before = (1, *x.shape[: len(rest)])
        pair = (before[0], before[1]) if len(rest) == 1 else (product(before[:-1]), before[-1])
        x = g.reshape(x, [*pair, *x.shape[len(rest) :]])
        given: dict[str, Any] = {
            "kernel_shape": [window[i] for i in over],
            "strides": [strides[i] for i in over],
            "pads": [edges[i][side] for side in (0, 1) for i in over],
        }
        if operator == "MaxPool":
            given["dilations"] = [dilations[i] for i in over]
        else:
            given["count_include_pad"] = 1
        made = [out.shape[i] for i in order]
        y = g.node(operator, [x], [*pair, *made[len(rest) :]], x.dtype, **given)
        if operator == "AveragePool":  # the sum is what JAX takes
            count = constant(np.array(math.prod(given["kernel_shape"]), x.dtype))
            y = g.node("Mul", [y, count], y.shape, y.dtype)
        return g.transpose(g.reshape(y, made), np.argsort(order).tolist())

    return rule


def _least(g: Builder, inputs: list[Tensor], out: Any, params: dict[str, Any]) -> Tensor:
    """A pool of the smallest values is one of the largest, of the negative values."""
    x = inputs[0]
    negative = g.node("Neg", [x], x.sizes, x.dtype, shape=x.shape)
    y = _pool("MaxPool")(g, [negative], out, params)
    return g.node("Neg", [y], y.sizes, y.dtype)


RULES: dict[str, Rule] = {
    "argmax": _place("ArgMax"),
    "argmin": _place("ArgMin"),
    "conv_general_dilated": _conv,
    "cumsum": _cumsum,
    "dot_general": _dot,
    "reduce_and": _reduction("ReduceMin"),
    "reduce_max": _reduction("ReduceMax"),
    "reduce_min": _reduction("ReduceMin"),
    "reduce_or": _reduction("ReduceMax"),
    "reduce_prod": _reduction("ReduceProd"),
    "reduce_sum": _reduction("ReduceSum"),
    "reduce_window_max": _pool("MaxPool"),
    "reduce_window_min": _least,
    "reduce_window_sum": _pool("AveragePool"),
}
