"""Operators that sum up over axes, order, or count."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from msae_jax.errors import InputError
from msae_jax.interop.files.pt2_values import Setting
from msae_jax.interop.graph.dtypes import named, summed

Array = jax.Array
Dims = int | Sequence[int] | None


def _axes(x: Array, dim: Dims) -> tuple[int, ...]:
    """Returns the axes that `dim` names; none named are all."""
    if isinstance(dim, int):
        dim = (dim,)
    return tuple(d % x.ndim for d in dim) if dim and x.ndim else tuple(range(x.ndim))


def sum_(
    self: Array, dim: Dims = None, keepdim: bool = False, dtype: Setting | None = None
) -> Array:
    return summed(self, dtype).sum(_axes(self, dim), keepdims=keepdim)


def mean(
    self: Array, dim: Dims = None, keepdim: bool = False, dtype: Setting | None = None
) -> Array:
    x = self if dtype is None else self.astype(named(dtype))
    return x.mean(_axes(self, dim), keepdims=keepdim)


def prod(self: Array, dtype: Setting | None = None) -> Array:
    return summed(self, dtype).prod()


def prod_dim(self: Array, dim: int, keepdim: bool = False, dtype: Setting | None = None) -> Array:
    return summed(self, dtype).prod(dim, keepdims=keepdim)


def _variance(x: Array, axes: tuple[int, ...], correction: float, keepdim: bool) -> Array:
    count = math.prod(x.shape[axis] for axis in axes)
    apart = jnp.square(x - x.mean(axes, keepdims=True)).sum(axes, keepdims=keepdim)
    left = count - correction
    return apart / left if left > 0 else jnp.full_like(apart, jnp.nan)


def _root(x: Array) -> Array:
    """Returns the square root; at 0 its gradient is 0, as that of PyTorch's `std` and norms."""
    positive = x > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1)), x * 0)


def var(self: Array, unbiased: bool = True) -> Array:
    return _variance(self, _axes(self, None), unbiased, False)


def std(self: Array, unbiased: bool = True) -> Array:
    return _root(var(self, unbiased))


def var_dim(self: Array, dim: Dims, unbiased: bool = True, keepdim: bool = False) -> Array:
    return _variance(self, _axes(self, dim), unbiased, keepdim)


def std_dim(self: Array, dim: Dims, unbiased: bool = True, keepdim: bool = False) -> Array:
    return _root(var_dim(self, dim, unbiased, keepdim))


def var_correction(
    self: Array, dim: Dims = None, correction: float | None = None, keepdim: bool = False
) -> Array:
    return _variance(self, _axes(self, dim), 1 if correction is None else correction, keepdim)


def std_correction(
    self: Array, dim: Dims = None, correction: float | None = None, keepdim: bool = False
) -> Array:
    return _root(var_correction(self, dim, correction, keepdim))


def var_mean(
    self: Array, dim: Dims = None, correction: float | None = None, keepdim: bool = False
) -> tuple[Array, Array]:
    variance = var_correction(self, dim, correction, keepdim)
    return variance, self.mean(_axes(self, dim), keepdims=keepdim)


def var_mean_dim(
    self: Array, dim: Dims, unbiased: bool = True, keepdim: bool = False
) -> tuple[Array, Array]:
    return var_mean(self, dim, unbiased, keepdim)


def std_mean(
    self: Array, dim: Dims = None, correction: float | None = None, keepdim: bool = False
) -> tuple[Array, Array]:
    variance, center = var_mean(self, dim, correction, keepdim)
    return _root(variance), center


def std_mean_dim(
    self: Array, dim: Dims, unbiased: bool = True, keepdim: bool = False
) -> tuple[Array, Array]:
    return std_mean(self, dim, unbiased, keepdim)


def amax(self: Array, dim: Dims = (), keepdim: bool = False) -> Array:
    return self.max(_axes(self, dim), keepdims=keepdim)


def amin(self: Array, dim: Dims = (), keepdim: bool = False) -> Array:
    return self.min(_axes(self, dim), keepdims=keepdim)


def max_(self: Array) -> Array:
    return self.max()


def min_(self: Array) -> Array:
    return self.min()


def _picked(self: Array, dim: int, keepdim: bool, largest: bool) -> tuple[Array, Array]:
    at = (jnp.argmax if largest else jnp.argmin)(self, axis=dim, keepdims=True)
    value = jnp.take_along_axis(self, at, axis=dim)
    at = at.astype(named(None, "int64"))
    return (value, at) if keepdim else (value.squeeze(dim), at.squeeze(dim))


def max_dim(self: Array, dim: int, keepdim: bool = False) -> tuple[Array, Array]:
    return _picked(self, dim, keepdim, True)


def min_dim(self: Array, dim: int, keepdim: bool = False) -> tuple[Array, Array]:
    return _picked(self, dim, keepdim, False)


def aminmax(self: Array, dim: int | None = None, keepdim: bool = False) -> tuple[Array, Array]:
    return self.min(dim, keepdims=keepdim), self.max(dim, keepdims=keepdim)


def median_dim(self: Array, dim: int, keepdim: bool = False) -> tuple[Array, Array]:
    """Returns the lower median and where it is; NaN, if there is one, counts as the median."""
    dim %= self.ndim
    order = jnp.argsort(self, axis=dim, stable=True)  # NaN comes last
    low, last = (self.shape[dim] - 1) // 2, self.shape[dim] - 1
    missing = jnp.isnan(self).sum(dim, keepdims=True)
    middle = jax.lax.slice_in_dim(order, low, low + 1, axis=dim)
    first = jnp.take_along_axis(order, jnp.clip(last + 1 - missing, 0, last), axis=dim)
    at = jnp.where(missing > 0, first, middle).astype(named(None, "int64"))
    value = jnp.take_along_axis(self, at, axis=dim)
    return (value, at) if keepdim else (value.squeeze(dim), at.squeeze(dim))


def argmax(self: Array, dim: int | None = None, keepdim: bool = False) -> Array:
    return jnp.argmax(self, axis=dim, keepdims=keepdim).astype(named(None, "int64"))


def argmin(self: Array, dim: int | None = None, keepdim: bool = False) -> Array:
    return jnp.argmin(self, axis=dim, keepdims=keepdim).astype(named(None, "int64"))


def any_(self: Array, dim: Dims = None, keepdim: bool = False) -> Array:
    return self.astype(bool).any(_axes(self, dim), keepdims=keepdim)


def all_(self: Array, dim: Dims = None, keepdim: bool = False) -> Array:
    return self.astype(bool).all(_axes(self, dim), keepdims=keepdim)


def logsumexp(self: Array, dim: Dims, keepdim: bool = False) -> Array:
    return jax.nn.logsumexp(self, axis=_axes(self, dim), keepdims=keepdim)


def cumsum(self: Array, dim: int, dtype: Setting | None = None) -> Array:
    return jnp.cumsum(summed(self, dtype), axis=dim)


def cumprod(self: Array, dim: int, dtype: Setting | None = None) -> Array:
    return jnp.cumprod(summed(self, dtype), axis=dim)


def norm_of(x: Array, order: Any, axes: tuple[int, ...], keepdim: bool) -> Array:
    """Returns the norm of an order; at 0 its gradient is 0."""
    size = jnp.abs(x)
    if order in (math.inf, -math.inf):
        return (size.max if order > 0 else size.min)(axes, keepdims=keepdim)
    if order == 2:
        return _root(jnp.square(x).sum(axes, keepdims=keepdim))
    if order == 1:
        return size.sum(axes, keepdims=keepdim)
    if order <= 0:
        raise InputError(f"a norm has the order {order}, which is not supported.")
    total = jnp.power(size, order).sum(axes, keepdims=keepdim)
    positive = total > 0
    return jnp.where(positive, jnp.power(jnp.where(positive, total, 1), 1 / order), 0)


def vector_norm(
    self: Array, ord: Any = 2, dim: Dims = None, keepdim: bool = False, dtype: Setting | None = None
) -> Array:
    x = self if dtype is None else self.astype(named(dtype))
    return norm_of(x, ord, _axes(self, dim), keepdim)


def norm(self: Array, p: Any = 2) -> Array:
    return norm_of(self, p, _axes(self, None), False)


def norm_dim(self: Array, p: Any, dim: Dims, keepdim: bool = False) -> Array:
    return norm_of(self, 2 if p is None else p, _axes(self, dim), keepdim)


def topk(
    self: Array, k: int, dim: int = -1, largest: bool = True, sorted: bool = True
) -> tuple[Array, Array]:
    del sorted  # sorted values are a right answer to both
    order = jnp.argsort(self, axis=dim, stable=True, descending=largest)
    order = jax.lax.slice_in_dim(order, 0, k, axis=dim)
    return jnp.take_along_axis(self, order, axis=dim), order.astype(named(None, "int64"))


def sort(self: Array, dim: int = -1, descending: bool = False) -> tuple[Array, Array]:
    order = argsort(self, dim, descending)
    return jnp.take_along_axis(self, order, axis=dim), order


def sort_stable(
    self: Array, stable: bool | None, dim: int = -1, descending: bool = False
) -> tuple[Array, Array]:
    del stable  # every order here is
    return sort(self, dim, descending)


def argsort_stable(self: Array, stable: bool, dim: int = -1, descending: bool = False) -> Array:
    del stable
    return argsort(self, dim, descending)


def argsort(self: Array, dim: int = -1, descending: bool = False) -> Array:
    order = jnp.argsort(self, axis=dim, stable=True, descending=descending)
    return order.astype(named(None, "int64"))


def numel(self: Array) -> int:
    return int(np.prod(self.shape))


TABLE: dict[str, Callable[..., Any]] = {
    "aten.sum.default": sum_, "aten.sum.dim_IntList": sum_,
    "aten.mean.default": mean, "aten.mean.dim": mean,
    "aten.prod.default": prod, "aten.prod.dim_int": prod_dim,
    "aten.var.default": var, "aten.std.default": std,
    "aten.var.dim": var_dim, "aten.std.dim": std_dim,
    "aten.var.correction": var_correction, "aten.std.correction": std_correction,
    "aten.var_mean.correction": var_mean, "aten.var_mean.dim": var_mean_dim,
    "aten.std_mean.correction": std_mean, "aten.std_mean.dim": std_mean_dim,
    "aten.amax.default": amax, "aten.amin.default": amin,
    "aten.max.default": max_, "aten.min.default": min_,
    "aten.max.dim": max_dim, "aten.min.dim": min_dim,
    "aten.aminmax.default": aminmax, "aten.median.dim": median_dim,
    "aten.argmax.default": argmax, "aten.argmin.default": argmin,
    "aten.any.default": any_, "aten.any.dim": any_, "aten.any.dims": any_,
    "aten.all.default": all_, "aten.all.dim": all_, "aten.all.dims": all_,
    "aten.logsumexp.default": logsumexp,
    "aten.cumsum.default": cumsum, "aten.cumprod.default": cumprod,
    "aten.linalg_vector_norm.default": vector_norm,
    "aten.norm.Scalar": norm, "aten.norm.ScalarOpt_dim": norm_dim,
    "aten.topk.default": topk, "aten.sort.default": sort, "aten.argsort.default": argsort,
    "aten.sort.stable": sort_stable, "aten.argsort.stable": argsort_stable,
    "aten.sym_numel.default": numel,
}  # fmt: skip
