"""Diagonals, inverses and determinants of matrices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

Array = jax.Array


def diag(self: Array, diagonal: int = 0) -> Array:
    return jnp.diag(self, diagonal)


def diag_embed(self: Array, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Array:
    """Returns matrices, on the axes `dim1` and `dim2`, that have the last axis on a diagonal."""
    n = self.shape[-1] + abs(offset)
    rows = jnp.arange(self.shape[-1]) + max(0, -offset)
    columns = jnp.arange(self.shape[-1]) + max(0, offset)
    made = jnp.zeros((*self.shape[:-1], n, n), self.dtype).at[..., rows, columns].set(self)
    return jnp.moveaxis(made, (-2, -1), (dim1, dim2))


def trace(self: Array) -> Array:
    return jnp.trace(self)


def tensordot(
    self: Array, other: Array, dims_self: Sequence[int], dims_other: Sequence[int]
) -> Array:
    return jnp.tensordot(self, other, (tuple(dims_self), tuple(dims_other)))


def inverse(self: Array) -> Array:
    return jnp.linalg.inv(self)


def linalg_inv(A: Array) -> Array:
    return jnp.linalg.inv(A)


def linalg_inv_ex(A: Array, check_errors: bool = False) -> tuple[Array, Array]:
    """Returns the inverse, and 0 for no error: where there is no inverse, values are not finite."""
    del check_errors
    return jnp.linalg.inv(A), jnp.zeros(A.shape[:-2], jnp.int32)


def det(self: Array) -> Array:
    return jnp.linalg.det(self)


def linalg_det(A: Array) -> Array:
    return jnp.linalg.det(A)


def det_kernel(A: Array) -> tuple[Array, None, None]:
    return jnp.linalg.det(A), None, None


def logdet(self: Array) -> Array:
    sign, size = jnp.linalg.slogdet(self)
    return jnp.where(sign > 0, size, jnp.where(sign < 0, jnp.nan, size))


def slogdet(self: Array) -> tuple[Array, Array]:
    sign, size = jnp.linalg.slogdet(self)
    return sign, size


def linalg_slogdet(A: Array) -> tuple[Array, Array]:
    return slogdet(A)


def slogdet_kernel(A: Array) -> tuple[Array, Array, None, None]:
    return (*slogdet(A), None, None)


TABLE: dict[str, Callable[..., Any]] = {
    "aten.diag.default": diag, "aten.diag_embed.default": diag_embed,
    "aten.trace.default": trace, "aten.tensordot.default": tensordot,
    "aten.inverse.default": inverse, "aten.linalg_inv.default": linalg_inv,
    "aten.linalg_inv_ex.default": linalg_inv_ex,
    "aten.det.default": det, "aten.linalg_det.default": linalg_det,
    "aten._linalg_det.default": det_kernel, "aten.logdet.default": logdet,
    "aten.slogdet.default": slogdet, "aten.linalg_slogdet.default": linalg_slogdet,
    "aten._linalg_slogdet.default": slogdet_kernel,
}  # fmt: skip
