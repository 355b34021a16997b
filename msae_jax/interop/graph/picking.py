"""Operators that pick values by their places, and put values there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from msae_jax.errors import InputError

Array = jax.Array
_END = 2**63 - 1


def select(self: Array, dim: int, index: int) -> Array:
    size = self.shape[dim]
    if not -size <= index < size:
        raise InputError(f"index {index} is beyond an axis of size {size}.")
    return jax.lax.index_in_dim(self, index, axis=dim, keepdims=False)


def slice_(
    self: Array, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Array:
    dim %= self.ndim
    if start in (None, 0) and end in (None, _END, self.shape[dim]) and step == 1:
        return self  # whole, also where the size is free
    begin, stop, _ = slice(start, None if end == _END else end).indices(self.shape[dim])
    return jax.lax.slice_in_dim(self, begin, max(begin, stop), step, axis=dim)


def narrow(self: Array, dim: int, start: int, length: int) -> Array:
    return jax.lax.slice_in_dim(self, start, start + length, axis=dim)


def slice_scatter(
    self: Array,
    src: Array,
    dim: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> Array:
    dim %= self.ndim
    begin, stop, _ = slice(start, None if end == _END else end).indices(self.shape[dim])
    return self.at[(slice(None),) * dim + (slice(begin, max(begin, stop), step),)].set(src)


def select_scatter(self: Array, src: Array, dim: int, index: int) -> Array:
    return self.at[(slice(None),) * (dim % self.ndim) + (index,)].set(src)


def index(self: Array, indices: Sequence[Array | None]) -> Array:
    """Returns self[indices]; None stands for a whole axis.

    A mask of truth values would make a result whose shape hangs on the data.
    """
    for part in indices:
        if part is not None and part.dtype == bool:
            raise InputError(
                "values are picked by a mask, so that their number hangs on the data, which a "
                "compiled graph cannot have."
            )
    return self[tuple(slice(None) if part is None else part for part in indices)]


def index_put(
    self: Array, indices: Sequence[Array | None], values: Array, accumulate: bool = False
) -> Array:
    parts = tuple(slice(None) if part is None else part for part in indices)
    if any(not isinstance(part, slice) and part.dtype == bool for part in parts):
        if len(parts) > 1 or values.ndim or accumulate:
            raise InputError("values are put by a mask of which each has its own value.")
        [mask] = parts
        mask = mask.reshape(*mask.shape, *(1,) * (self.ndim - mask.ndim))  # type: ignore[union-attr]
        return jnp.where(mask, values.astype(self.dtype), self)
    at = self.at[parts]
    return at.add(values) if accumulate else at.set(values)


def index_select(self: Array, dim: int, index: Array) -> Array:
    return jnp.take(self, index, axis=dim, mode="fill")


def gather(self: Array, dim: int, index: Array, sparse_grad: bool = False) -> Array:
    del sparse_grad  # how PyTorch keeps the gradient
    cut = tuple(
        slice(None) if axis == dim % self.ndim else slice(n) for axis, n in enumerate(index.shape)
    )
    return jnp.take_along_axis(self[cut], index, axis=dim)


def scatter_value(self: Array, dim: int, index: Array, value: Any) -> Array:
    return self.at[_places(index, dim)].set(jnp.asarray(value, self.dtype))


def scatter_src(self: Array, dim: int, index: Array, src: Array) -> Array:
    return self.at[_places(index, dim)].set(src[tuple(map(slice, index.shape))])


def scatter_add(self: Array, dim: int, index: Array, src: Array) -> Array:
    return self.at[_places(index, dim)].add(src[tuple(map(slice, index.shape))])


_REDUCE = {"sum": "add", "prod": "multiply", "amax": "max", "amin": "min"}


def scatter_reduce(
    self: Array, dim: int, index: Array, src: Array, reduce: str, include_self: bool = True
) -> Array:
    if reduce not in _REDUCE or not include_self:
        raise InputError(f"values are put together by {reduce!r}, include_self={include_self}.")
    at = self.at[_places(index, dim)]
    return getattr(at, _REDUCE[reduce])(src[tuple(map(slice, index.shape))])


def index_add(self: Array, dim: int, index: Array, source: Array, alpha: Any = 1) -> Array:
    at = self.at[(slice(None),) * (dim % self.ndim) + (index,)]
    return at.add(source if alpha == 1 else source * jnp.asarray(alpha, source.dtype))


def index_fill(self: Array, dim: int, index: Array, value: Any) -> Array:
    at = self.at[(slice(None),) * (dim % self.ndim) + (index,)]
    return at.set(jnp.asarray(value, self.dtype))


def take_along_dim(self: Array, indices: Array, dim: int | None = None) -> Array:
    if dim is None:
        return self.ravel()[indices.ravel()]
    return jnp.take_along_axis(self, indices, axis=dim)


def _places(index: Array, dim: int) -> tuple[Array, ...]:
    """Returns where each element of `index` points to, axis by axis."""
    grid: list[Any] = list(jnp.ogrid[tuple(map(slice, index.shape))])
    grid[dim % index.ndim] = index
    return tuple(grid)


TABLE: dict[str, Callable[..., Any]] = {
    "aten.select.int": select, "aten.slice.Tensor": slice_, "aten.narrow.default": narrow,
    "aten.slice_scatter.default": slice_scatter, "aten.select_scatter.default": select_scatter,
    "aten.index.Tensor": index, "aten.index_put.default": index_put,
    "aten.index_select.default": index_select, "aten.gather.default": gather,
    "aten.scatter.value": scatter_value, "aten.scatter.src": scatter_src,
    "aten.scatter_add.default": scatter_add, "aten.scatter_reduce.two": scatter_reduce,
    "aten.index_add.default": index_add, "aten.take_along_dim.default": take_along_dim,
    "aten.index_fill.int_Scalar": index_fill, "aten.index_fill.int_Tensor": index_fill,
}  # fmt: skip
