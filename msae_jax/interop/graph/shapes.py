"""Operators that move values and change none."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from msae_jax.interop.graph.dtypes import promoted, result_dtype
from msae_jax.interop.graph.picking import select

Array = jax.Array
Sizes = Sequence[int]


def view(self: Array, size: Sizes) -> Array:
    return self.reshape(size)


def reshape(self: Array, shape: Sizes) -> Array:
    return self.reshape(shape)


def flatten(self: Array, start_dim: int = 0, end_dim: int = -1) -> Array:
    if not self.ndim:
        return self.reshape(1)
    start, end = start_dim % self.ndim, end_dim % self.ndim
    joined = math.prod(self.shape[start : end + 1])
    return self.reshape(*self.shape[:start], joined, *self.shape[end + 1 :])


def unflatten(self: Array, dim: int, sizes: Sizes) -> Array:
    dim %= self.ndim
    known = -math.prod(sizes)
    full = [self.shape[dim] // known if n == -1 else n for n in sizes]
    return self.reshape(*self.shape[:dim], *full, *self.shape[dim + 1 :])


def transpose(self: Array, dim0: int, dim1: int) -> Array:
    return jnp.swapaxes(self, dim0, dim1) if self.ndim else self


def swap_last(self: Array) -> Array:
    return jnp.swapaxes(self, -1, -2)


def t(self: Array) -> Array:
    return self.T


def permute(self: Array, dims: Sizes) -> Array:
    return jnp.transpose(self, dims)


def movedim(self: Array, source: int | Sizes, destination: int | Sizes) -> Array:
    return jnp.moveaxis(self, source, destination)


def unsqueeze(self: Array, dim: int) -> Array:
    return jnp.expand_dims(self, dim)


def squeeze(self: Array, dim: int | Sizes | None = None) -> Array:
    """Returns the array without axes of size 1: all, or those of `dim` that have it."""
    if dim is None:
        return self.squeeze()
    axes = [d % self.ndim for d in ((dim,) if isinstance(dim, int) else dim)]
    return self.squeeze(tuple(axis for axis in axes if self.shape[axis] == 1))


def expand(self: Array, size: Sizes, implicit: bool = False) -> Array:
    del implicit  # whether PyTorch itself asked for it
    added = len(size) - self.ndim
    have = (1,) * added + self.shape
    return jnp.broadcast_to(self, [h if n == -1 else n for n, h in zip(size, have, strict=True)])


def expand_as(self: Array, other: Array) -> Array:
    return jnp.broadcast_to(self, other.shape)


def broadcast_tensors(tensors: Sequence[Array]) -> tuple[Array, ...]:
    shape = np.broadcast_shapes(*(x.shape for x in tensors))
    return tuple(jnp.broadcast_to(x, shape) for x in tensors)


def repeat(self: Array, repeats: Sizes) -> Array:
    return jnp.tile(self, tuple(repeats))


def tile(self: Array, dims: Sizes) -> Array:
    return jnp.tile(self, tuple(dims))


def repeat_interleave(
    self: Array, repeats: int, dim: int | None = None, output_size: int | None = None
) -> Array:
    del output_size  # what the size comes to anyway
    return jnp.repeat(self, repeats, axis=dim)


def cat(tensors: Sequence[Array], dim: int = 0) -> Array:
    dtype = result_dtype(*tensors)
    kept = [x for x in tensors if x.shape != (0,)] or list(tensors)  # PyTorch skips empty ones
    return jnp.concatenate([x.astype(dtype) for x in kept], axis=dim)


def stack(tensors: Sequence[Array], dim: int = 0) -> Array:
    dtype = result_dtype(*tensors)
    return jnp.stack([x.astype(dtype) for x in tensors], axis=dim)


def hstack(tensors: Sequence[Array]) -> Array:
    return cat(tensors, 0 if tensors[0].ndim < 2 else 1)


def vstack(tensors: Sequence[Array]) -> Array:
    return cat([jnp.atleast_2d(x) for x in tensors], 0)


def split(self: Array, split_size: int, dim: int = 0) -> tuple[Array, ...]:
    size = self.shape[dim]
    sizes = [min(split_size, size - start) for start in range(0, size, split_size)]
    return split_with_sizes(self, sizes or [0], dim)


def split_with_sizes(self: Array, split_sizes: Sizes, dim: int = 0) -> tuple[Array, ...]:
    ends = np.cumsum(split_sizes).tolist()
    return tuple(
        jax.lax.slice_in_dim(self, end - size, end, axis=dim)
        for end, size in zip(ends, split_sizes, strict=True)
    )


def chunk(self: Array, chunks: int, dim: int = 0) -> tuple[Array, ...]:
    return split(self, max(1, -(-self.shape[dim] // chunks)), dim)


def tensor_split(self: Array, sections: int, dim: int = 0) -> tuple[Array, ...]:
    """Returns as many parts; where they cannot be alike, the first ones are one longer."""
    each, more = divmod(self.shape[dim], sections)
    return split_with_sizes(self, [each + (i < more) for i in range(sections)], dim)


def tensor_split_at(self: Array, indices: Sizes, dim: int = 0) -> tuple[Array, ...]:
    return tuple(jnp.split(self, list(indices), axis=dim))


def unbind(self: Array, dim: int = 0) -> tuple[Array, ...]:
    return tuple(select(self, dim, i) for i in range(self.shape[dim]))


def flip(self: Array, dims: Sizes) -> Array:
    return jnp.flip(self, tuple(dims))


def rot90(self: Array, k: int = 1, dims: Sizes = (0, 1)) -> Array:
    return jnp.rot90(self, k, (dims[0], dims[1]))


def roll(self: Array, shifts: Sizes, dims: Sizes = ()) -> Array:
    if not dims:
        return jnp.roll(self.ravel(), shifts[0]).reshape(self.shape)
    return jnp.roll(self, tuple(shifts), tuple(dims))


def tril(self: Array, diagonal: int = 0) -> Array:
    return jnp.tril(self, diagonal)


def triu(self: Array, diagonal: int = 0) -> Array:
    return jnp.triu(self, diagonal)


def diagonal(self: Array, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Array:
    return jnp.diagonal(self, offset, dim1, dim2)


def diff(
    self: Array,
    n: int = 1,
    dim: int = -1,
    prepend: Array | None = None,
    append: Array | None = None,
) -> Array:
    ends = {"prepend": prepend, "append": append}
    return jnp.diff(self, n, dim, **{key: end for key, end in ends.items() if end is not None})


def unfold(self: Array, dimension: int, size: int, step: int) -> Array:
    """Returns windows of an axis, as a new last axis."""
    axis = dimension % self.ndim
    starts = np.arange(0, self.shape[axis] - size + 1, step)
    places = jnp.asarray(starts[:, None] + np.arange(size))
    return jnp.moveaxis(jnp.take(self, places, axis=axis), axis + 1, -1)


def pixel_shuffle(self: Array, upscale_factor: int) -> Array:
    r = upscale_factor
    *batch, c, h, w = self.shape
    x = self.reshape(*batch, c // r**2, r, r, h, w)
    n = len(batch)
    x = x.transpose(*range(n), n, n + 3, n + 1, n + 4, n + 2)
    return x.reshape(*batch, c // r**2, h * r, w * r)


def pixel_unshuffle(self: Array, downscale_factor: int) -> Array:
    r = downscale_factor
    *batch, c, h, w = self.shape
    n = len(batch)
    x = self.reshape(*batch, c, h // r, r, w // r, r)
    x = x.transpose(*range(n), n, n + 2, n + 4, n + 1, n + 3)
    return x.reshape(*batch, c * r**2, h // r, w // r)


def channel_shuffle(self: Array, groups: int) -> Array:
    batch, c, *spatial = self.shape
    x = self.reshape(batch, groups, c // groups, *spatial)
    return jnp.swapaxes(x, 1, 2).reshape(self.shape)


def meshgrid(tensors: Sequence[Array], indexing: str = "ij") -> tuple[Array, ...]:
    return tuple(jnp.meshgrid(*tensors, indexing=indexing))


def copy(self: Array, src: Any, non_blocking: bool = False) -> Array:
    del non_blocking
    return jnp.broadcast_to(promoted(src)[0].astype(self.dtype), self.shape)


TABLE: dict[str, Callable[..., Any]] = {
    "aten.view.default": view, "aten._unsafe_view.default": view, "aten.reshape.default": reshape,
    "aten.view_copy.default": view,
    "aten.flatten.using_ints": flatten, "aten.unflatten.int": unflatten,
    "aten.transpose.int": transpose, "aten.swapaxes.default": lambda self, axis0, axis1: (
        transpose(self, axis0, axis1)
    ),
    "aten.t.default": t, "aten.numpy_T.default": t, "aten.mT.default": swap_last,
    "aten.adjoint.default": swap_last,
    "aten.swapdims.default": transpose, "aten.ravel.default": lambda self: self.reshape(-1),
    "aten.permute.default": permute, "aten.permute_copy.default": permute,
    "aten.movedim.int": movedim, "aten.movedim.intlist": movedim,
    "aten.unsqueeze.default": unsqueeze, "aten.squeeze.default": squeeze,
    "aten.squeeze.dim": squeeze, "aten.squeeze.dims": squeeze,
    "aten.expand.default": expand, "aten.expand_copy.default": expand,
    "aten.expand_as.default": expand_as, "aten.view_as.default": lambda self, other: (
        self.reshape(other.shape)
    ),
    "aten.reshape_as.default": lambda self, other: self.reshape(other.shape),
    "aten.broadcast_to.default": expand, "aten.broadcast_tensors.default": broadcast_tensors,
    "aten.repeat.default": repeat, "aten.tile.default": tile,
    "aten.repeat_interleave.self_int": repeat_interleave,
    "aten.cat.default": cat, "aten.concat.default": cat, "aten.concatenate.default": cat,
    "aten.stack.default": stack, "aten.hstack.default": hstack, "aten.vstack.default": vstack,
    "aten.split.Tensor": split, "aten.split_with_sizes.default": split_with_sizes,
    "aten.split.sizes": lambda self, split_size, dim=0: split_with_sizes(self, split_size, dim),
    "aten.unsafe_split.Tensor": split, "aten.unsafe_chunk.default": chunk,
    "aten.tensor_split.sections": tensor_split, "aten.tensor_split.indices": tensor_split_at,
    "aten.chunk.default": chunk, "aten.unbind.int": unbind,
    "aten.flip.default": flip, "aten.roll.default": roll,
    "aten.rot90.default": rot90, "aten.diff.default": diff,
    "aten.fliplr.default": lambda self: flip(self, (1,)),
    "aten.flipud.default": lambda self: flip(self, (0,)),
    "aten.tril.default": tril, "aten.triu.default": triu, "aten.diagonal.default": diagonal,
    "aten.unfold.default": unfold, "aten.pixel_shuffle.default": pixel_shuffle,
    "aten.pixel_unshuffle.default": pixel_unshuffle,
    "aten.channel_shuffle.default": channel_shuffle,
    "aten.meshgrid.default": meshgrid, "aten.meshgrid.indexing": meshgrid,
    "aten.copy.default": copy,
}  # fmt: skip
