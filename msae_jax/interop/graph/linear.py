"""Matrix products, and embeddings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from msae_jax.errors import InputError


def linear(input: jax.Array, weight: jax.Array, bias: jax.Array | None = None) -> jax.Array:
    y = input @ weight.T
    return y if bias is None else y + bias


def bilinear(
    input1: jax.Array, input2: jax.Array, weight: jax.Array, bias: jax.Array | None = None
) -> jax.Array:
    y = jnp.einsum("...i,oij,...j->...o", input1, weight, input2)
    return y if bias is None else y + bias


def trilinear(
    i1: jax.Array,
    i2: jax.Array,
    i3: jax.Array,
    expand1: Sequence[int],
    expand2: Sequence[int],
    expand3: Sequence[int],
    sumdim: Sequence[int],
    unroll_dim: int = 1,
) -> jax.Array:
    """Returns the product of three arrays, each with more axes of size 1, summed over some."""
    del unroll_dim  # over which PyTorch loops
    pairs = ((i1, expand1), (i2, expand2), (i3, expand3))
    a, b, c = (jnp.expand_dims(x, tuple(axes)) for x, axes in pairs)
    return (a * b * c).sum(tuple(sumdim))


def addmm(
    self: jax.Array, mat1: jax.Array, mat2: jax.Array, beta: Any = 1, alpha: Any = 1
) -> jax.Array:
    return _scaled(self, beta) + _scaled(mat1 @ mat2, alpha)


def baddbmm(
    self: jax.Array, batch1: jax.Array, batch2: jax.Array, beta: Any = 1, alpha: Any = 1
) -> jax.Array:
    return _scaled(self, beta) + _scaled(batch1 @ batch2, alpha)


def addmv(
    self: jax.Array, mat: jax.Array, vec: jax.Array, beta: Any = 1, alpha: Any = 1
) -> jax.Array:
    return _scaled(self, beta) + _scaled(mat @ vec, alpha)


def _scaled(x: jax.Array, factor: Any) -> jax.Array:
    return x if factor == 1 else x * jnp.asarray(factor, x.dtype)


def mm(self: jax.Array, mat2: jax.Array) -> jax.Array:
    return self @ mat2


def matmul(self: jax.Array, other: jax.Array) -> jax.Array:
    return self @ other


def mv(self: jax.Array, vec: jax.Array) -> jax.Array:
    return self @ vec


def dot(self: jax.Array, tensor: jax.Array) -> jax.Array:
    return self @ tensor


def outer(self: jax.Array, vec2: jax.Array) -> jax.Array:
    return jnp.outer(self, vec2)


def vdot(self: jax.Array, other: jax.Array) -> jax.Array:
    return jnp.vdot(self, other)


def einsum(equation: str, tensors: Sequence[jax.Array], path: None = None) -> jax.Array:
    del path  # the order of the products, which the values do not depend on
    return jnp.einsum(equation, *tensors)


def embedding(
    weight: jax.Array,
    indices: jax.Array,
    padding_idx: int = -1,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> jax.Array:
    """Returns rows of the weight; the row `padding_idx` gets no gradient from them.

    An index beyond the weight, for which PyTorch raises, gives NaN.
    """
    if scale_grad_by_freq:
        raise InputError("an embedding scales gradients by frequency, which is not supported.")
    del sparse  # how PyTorch keeps the gradient
    rows = jnp.take(weight, indices, axis=0, mode="fill")
    if padding_idx < 0:
        return rows
    padded = (indices == padding_idx)[..., None]
    return jnp.where(padded, jax.lax.stop_gradient(rows), rows)


def weight_norm(v: jax.Array, g: jax.Array, dim: int = 0) -> jax.Array:
    """Returns g v / |v|, the norm over every axis but `dim`, or over all where that is -1."""
    axes = tuple(axis for axis in range(v.ndim) if axis != dim)
    return v * (g / jnp.sqrt(jnp.square(v).sum(axes, keepdims=True)))


TABLE: dict[str, Callable[..., Any]] = {
    "aten.linear.default": linear, "aten.bilinear.default": bilinear,
    "aten._trilinear.default": trilinear,
    "aten.addmm.default": addmm, "aten.baddbmm.default": baddbmm, "aten.addmv.default": addmv,
    "aten.mm.default": mm, "aten.bmm.default": mm, "aten.matmul.default": matmul,
    "aten.mv.default": mv, "aten.dot.default": dot, "aten.vdot.default": vdot,
    "aten.outer.default": outer,
    "aten.einsum.default": einsum, "aten.embedding.default": embedding,
    "aten._weight_norm.default": weight_norm,
}  # fmt: skip
