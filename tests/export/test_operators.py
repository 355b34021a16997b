"""Each primitive of the tables against onnxruntime, on arrays of a free batch size."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from msae_jax.export import elementwise, graph, products, shapes

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from msae_jax.export.onnx_format import encoded, opened  # after the skip

N = 3
KERNEL = np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)
STEPS = np.arange(3, dtype=np.float32)


def conv(kernel: tuple[int, ...], **how: Any) -> Callable[[jax.Array], jax.Array]:
    """A convolution, channels last; the kernel is [*K, I / groups, O]."""
    w = np.random.default_rng(2).normal(size=kernel).astype(np.float32)
    layout = ("NHWC", "HWIO", "NHWC") if len(kernel) == 4 else ("NHC", "HIO", "NHC")
    given = {"window_strides": (1,) * (len(kernel) - 2), "padding": "VALID"} | how
    return lambda x: lax.conv_general_dilated(x, w, dimension_numbers=layout, **given)


def bool_(x: jax.Array) -> jax.Array:
    return x > 0


def number(x: jax.Array) -> jax.Array:
    return x.astype(jnp.float32)


UNARY: dict[str, Callable[..., Any]] = {
    "abs": jnp.abs,
    "acos": lambda x: jnp.arccos(x / 3),
    "acosh": lambda x: jnp.arccosh(jnp.abs(x) + 1),
    "asin": lambda x: jnp.arcsin(x / 3),
    "asinh": jnp.arcsinh,
    "atan": jnp.arctan,
    "atanh": lambda x: jnp.arctanh(x / 3),
    "ceil": jnp.ceil,
    "copy": jnp.copy,
    "cos": jnp.cos,
    "cosh": jnp.cosh,
    "erf": jax.scipy.special.erf,
    "erfc": lax.erfc,
    "exp": jnp.exp,
    "exp2": jnp.exp2,
    "expm1": lambda x: jnp.concatenate([jnp.expm1(x), 1e4 * jnp.expm1(x * 1e-4)], axis=1),
    "floor": jnp.floor,
    "is_finite": lambda x: number(jnp.isfinite(1 / jnp.maximum(x, 0))),
    "log": lambda x: jnp.log(jnp.abs(x)),
    "log1p": lambda x: jnp.concatenate(
        [jnp.log1p(jnp.abs(x)), 1e4 * jnp.log1p(x * 1e-4), jnp.log1p(-jnp.abs(x) / 3)], axis=1
    ),
    "logistic": jax.nn.sigmoid,
    "neg": jnp.negative,
    "not": lambda x: number(~bool_(x)),
    "reduce_precision": lambda x: lax.reduce_precision(x, 8, 23),
    "round": lambda x: lax.round(x * 2, lax.RoundingMethod.TO_NEAREST_EVEN) + lax.round(x),
    "rsqrt": lambda x: lax.rsqrt(jnp.abs(x)),
    "sign": jnp.sign,
    "sin": jnp.sin,
    "sinh": jnp.sinh,
    "sqrt": lambda x: jnp.sqrt(jnp.abs(x)),
    "square": jnp.square,
    "stop_gradient": lax.stop_gradient,
    "tan": lambda x: jnp.tan(x / 3),
    "tanh": jnp.tanh,
}
SEVERAL: dict[str, Callable[..., Any]] = {
    "add": lambda x: x + x[:, :1],
    "and": lambda x: number(bool_(x) & (x < 1)),
    "clamp": lambda x: lax.clamp(np.float32(-1), x, np.float32(0.5)),
    "convert_element_type": lambda x: number((x * 10).astype(jnp.int32) // 3),
    "div": lambda x: x / (jnp.abs(x[:, ::-1]) + 1) + 1 / (jnp.abs(x) + 1),
    "eq": lambda x: number(jnp.round(x) == 1),
    "ge": lambda x: number(x >= x[:, :1]),
    "gt": lambda x: number(x > 0),
    "integer_pow": lambda x: x**2 + x**3 + (jnp.abs(x) + 1) ** -1 + (jnp.abs(x) + 1) ** -2,
    "le": lambda x: number(x <= x[:, :1]),
    "lt": lambda x: number(x < 0),
    "max": lambda x: jnp.maximum(x, 0),
    "min": lambda x: jnp.minimum(x, x[:, :1]),
    "mul": lambda x: 3 * x * x[:, :1],
    "ne": lambda x: number(jnp.round(x) != 1),
    "or": lambda x: number(bool_(x) | (x < -1)),
    "pow": lambda x: (jnp.abs(x) + 0.1) ** (x / 2),
    "rem": lambda x: lax.rem(x, jnp.full_like(x, 0.7)),
    "select_n": lambda x: jnp.where(x > 0, x, 2.0) + jnp.where(x[:, :1] > 0, x, -x),
    "sub": lambda x: 1 - x - x[:, :1],
    "xor": lambda x: number(bool_(x) ^ (x < 1)),
}
MOVING: dict[str, Callable[..., Any]] = {
    "broadcast_in_dim": lambda x: jnp.broadcast_to(x[:, None, :, None], (*x.shape[:1], 2, 5, 4)),
    "concatenate": lambda x: jnp.concatenate([x, jnp.zeros_like(x), x], axis=1),
    "dynamic_slice": lambda x: lax.dynamic_slice(x, (0, 2), (x.shape[0], 2)),
    "dynamic_update_slice": lambda x: lax.dynamic_update_slice(x, x[:, :2] * 2, (0, 1)),
    "gather": lambda x: jnp.concatenate(
        [x[:, np.array([4, 0, 2])], x[:, None, 1], jnp.take(x.T, jnp.array([1, 1]), axis=0).T],
        axis=1,
    ),
    "gather_of_input": lambda x: jnp.take(
        KERNEL, jnp.clip(jnp.round(jnp.abs(x)).astype(jnp.int32), 0, 4), axis=0, mode="clip"
    ),
    "iota": lambda x: x + lax.broadcasted_iota(jnp.float32, x.shape, 1),
    "pad": lambda x: lax.pad(x, np.float32(7), [(0, 0, 0), (-2, 3, 0)]),
    "reshape": lambda x: (jnp.tile(x, (1, 4)).reshape(-1, 5, 2, 2) * 2).reshape(x.shape[0], -1),
    "rev": lambda x: lax.rev(x, (1,)) + 2 * lax.rev(x[:, None], (2,))[:, 0],
    "slice": lambda x: x[:, 1:5:2],
    "split": lambda x: jnp.concatenate(jnp.split(x, [2, 3], axis=1)[::-1], axis=1),
    "squeeze": lambda x: x[:, :, None, None].squeeze((2, 3)),
    "tile": lambda x: jnp.tile(x[:, None], (1, 2, 3)),
    "transpose": lambda x: (x[:, :, None] * jnp.arange(2.0)).transpose(2, 0, 1),
}
REDUCING: dict[str, Callable[..., Any]] = {
    "argmax": lambda x: number(jnp.argmax(x, axis=1)),
    "argmin": lambda x: number(jnp.argmin(x, axis=1)),
    "cumsum": lambda x: jnp.cumsum(x, axis=1) + lax.cumsum(x, axis=1, reverse=True),
    "dot_general": lambda x: x @ KERNEL,
    "dot_general_batched": lambda x: jnp.einsum(
        "bij,bkj->bik", x[:, :, None] * KERNEL, x[:, None, 1:]
    ),
    "dot_general_left": lambda x: jnp.einsum("sl,blc->bsc", KERNEL.T, x[:, :, None] * KERNEL),
    "dot_general_several": lambda x: jnp.einsum("bij,ijk->bk", x[:, :, None] * KERNEL, _CUBE),
    "dot_general_vector": lambda x: x @ KERNEL[:, 0],
    "reduce_and": lambda x: number(jnp.all(x < 1, axis=1)),
    "reduce_max": lambda x: jnp.max(x, axis=1, keepdims=True) + x,
    "reduce_min": lambda x: jnp.min(x, axis=1),
    "reduce_or": lambda x: number(jnp.any(x > 1, axis=1)),
    "reduce_prod": lambda x: jnp.prod(x, axis=1),
    "reduce_sum": lambda x: jnp.sum(x, axis=1) + jnp.mean(x[:, :, None] * KERNEL, axis=(1, 2)),
}
_CUBE = np.random.default_rng(3).normal(size=(5, 4, 2)).astype(np.float32)
IMAGES: dict[str, Callable[..., Any]] = {
    "conv": conv((3, 2, 2, 3), padding=[(1, 0), (2, 1)], window_strides=(2, 1)),
    "conv_cropped": conv((3, 3, 2, 3), padding=[(-1, 0), (1, -1)]),
    "conv_dilated": conv((2, 3, 2, 3), rhs_dilation=(2, 1)),
    "conv_grouped": conv((3, 3, 1, 4), feature_group_count=2),
    "conv_transposed": conv((4, 3, 2, 3), padding=[(2, 3), (1, 0)], lhs_dilation=(2, 3)),
    "conv_transposed_wide": conv((2, 2, 2, 3), padding=[(3, 2), (0, 4)], lhs_dilation=(2, 2)),
    "conv_transposed_grouped": conv(
        (3, 3, 1, 4), lhs_dilation=(2, 2), padding=[(0, 0), (1, 1)], feature_group_count=2
    ),
    "sum_pool": lambda x: lax.reduce_window(
        x, np.float32(0), lax.add, (1, 2, 3, 1), (1, 2, 1, 1), [(0, 0), (1, 0), (0, 1), (0, 0)]
    ),
    "max_pool": lambda x: nn.max_pool(x, (2, 2), (1, 2), [(0, 0), (1, 1)]),
    "min_pool": lambda x: lax.reduce_window(
        x, np.float32(np.inf), lax.min, (1, 2, 2, 1), (1, 1, 1, 1), "VALID"
    ),
}
MORE: dict[str, Callable[..., Any]] = {
    "activations": lambda x: jax.nn.gelu(x, approximate=False) + jax.nn.elu(x) + jax.nn.silu(x),
    "normalised": lambda x: nn.LayerNorm(use_bias=False, use_scale=False).apply({}, x),
    "scan": lambda x: lax.scan(lambda c, w: (jnp.tanh(c + w * x), c), x, STEPS)[1].sum(axis=0),
    "scan_backwards": lambda x: lax.scan(
        lambda c, e: (0.5 * c + e, c - e), jnp.zeros(x.shape[:1]), x.T, reverse=True
    )[0],
    "size": lambda x: x - x.mean(axis=0),
    "softmax": lambda x: jax.nn.softmax(x) + jax.nn.softplus(x),
}


def flat_cases() -> Iterator[Any]:
    for name, function in {**UNARY, **SEVERAL, **MOVING, **REDUCING, **MORE}.items():
        yield pytest.param(function, (5,), id=name)
    for name, function in IMAGES.items():
        yield pytest.param(function, (6, 5, 2), id=name)


def samples(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(N, *shape)).astype(np.float32)


@pytest.mark.parametrize(("function", "shape"), list(flat_cases()))
@pytest.mark.parametrize("batch", [None, N])
def test_onnxruntime_computes_what_jax_does(function, shape, batch) -> None:
    x = samples(shape)
    made = graph.trace(function, [jax.ShapeDtypeStruct(x.shape, x.dtype)], batch=batch)
    got, expected = opened(encoded(made, {}))(x), np.asarray(function(jnp.asarray(x)))
    assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=2e-6)


def test_every_primitive_of_the_tables_is_tried() -> None:
    tried: set[str] = set()

    def collect(jaxpr: Any) -> None:
        for equation in jaxpr.eqns:
            tried.add(equation.primitive.name)
            for value in equation.params.values():
                if hasattr(value, "jaxpr"):
                    collect(value.jaxpr)

    for case in flat_cases():
        function, shape = case.values
        collect(jax.make_jaxpr(function)(samples(shape)).jaxpr)
    table = {*elementwise.RULES, *shapes.RULES, *products.RULES}
    # These are of gradients, of newer JAX, of another name, or of a batch size that is free.
    elsewhere = {"add_any", "copy_p", "dim_as_value", "optimization_barrier", "tile"}
    assert table - tried - elsewhere == set()
