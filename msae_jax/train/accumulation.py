"""A gradient that is added up over parts of a batch: that of the whole batch, in less memory.

With n_j of the n samples in part j and g_j its gradient, the batch has sum_j (n_j / n) g_j where
the loss is a mean over samples, and sum_j g_j where it is a sum. Random numbers are those that the
whole batch would draw (`of_rows`), so that the two differ by rounding alone. Batch norm is the
exception: it normalises each part by itself, and its running statistics move with each part.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.random import define_prng_impl

Sum = TypeVar("Sum")
Keyed = Callable[[jax.Array], jax.Array]
"""Of a key of the whole batch, returns the key that a part of it draws from."""


def add_up(
    of_part: Callable[[Any, Any, Keyed], tuple[Sum, Any]],
    weigh: Callable[[Sum, float], Sum],
    batch: Any,
    stats: Any,
    nothing: Sum,
    parts: int,
) -> tuple[Sum, Any]:
    """Returns what the parts of a batch add up to, and the batch statistics after it; to be traced.

    All parts have as many samples as the first one, but for the last one, which may have fewer.

    Args:
      of_part: of samples, statistics and a `Keyed`, returns a tree of arrays, such as metrics and
        gradients, and the statistics after it.
      weigh: of such a tree and the share of the samples it is of, returns what it adds to the sum.
      batch: arrays `[B, ...]`, in a tree. stats: the batch statistics before it.
      nothing: the sum of no parts.
      parts: how many, at most.
    """
    count = len(jax.tree.leaves(batch)[0])
    size = -(-count // parts)
    full = count // size

    def interleaved(a: jax.Array) -> jax.Array:
        # Sample i full + j is the i-th of part j: devices that share a batch share each part.
        return jnp.moveaxis(a[: full * size].reshape(size, full, *a.shape[1:]), 1, 0)

    def one(carry: tuple[Sum, Any], part: Any, keyed: Keyed, share: float) -> tuple[Sum, Any]:
        total, stats = carry
        found, stats = of_part(part, stats, keyed)
        return jax.tree.map(jnp.add, total, weigh(found, share)), stats

    def step(carry: tuple[Sum, Any], some: tuple[Any, jax.Array]) -> tuple[Any, None]:
        part, begin = some
        keyed = functools.partial(of_rows, begin=begin, stride=full, size=size, count=count)
        return one(carry, part, keyed, size / count), None

    begins = jnp.arange(full, dtype=jnp.uint32)
    carry, _ = lax.scan(step, (nothing, stats), (jax.tree.map(interleaved, batch), begins))
    if count % size:
        begin = jnp.uint32(full * size)
        rest = jax.tree.map(lambda a: a[full * size :], batch)
        size = count % size
        keyed = functools.partial(of_rows, begin=begin, stride=1, size=size, count=count)
        carry = one(carry, rest, keyed, size / count)
    return carry


def of_rows(key: jax.Array, *, begin: jax.Array, stride: int, size: int, count: int) -> jax.Array:
    """Returns a key that draws for some rows of a batch what `key` draws for them in the batch.

    A draw of a shape `[size, ...]` is rows begin, begin + stride, ... of the draw of a shape
    `[count, ...]`, whatever function of `jax.random` makes it; one of another shape is that of
    `key`. Keys that are folded or split from it do the same.
    """
    data = jax.random.key_data(key)
    impl = _impl(jax.random.key_impl(key), data.size, stride, size, count)
    return jax.random.wrap_key_data(jnp.append(data, begin), impl=impl)


@functools.cache
def _impl(base: Hashable, words: int, stride: int, size: int, count: int) -> Hashable:
    """Returns a generator whose keys are those of `base`, of so many words, and the first row."""

    def own(data: jax.Array) -> jax.Array:
        return jax.random.wrap_key_data(data[:words], impl=base)

    def with_row(key: jax.Array, data: jax.Array) -> jax.Array:
        return jnp.append(jax.random.key_data(key), data[words])

    def random_bits(data: jax.Array, width: int, shape: tuple[int, ...]) -> jax.Array:
        dtype = jnp.dtype(f"uint{width}")
        if shape[:1] != (size,):
            return jax.random.bits(own(data), shape, dtype)
        whole = jax.random.bits(own(data), (count, *shape[1:]), dtype)
        rows = data[words] + stride * jnp.arange(size, dtype=jnp.uint32)
        return jnp.take(whole, rows, axis=0, mode="clip")

    def split(data: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        keys = jax.random.key_data(jax.random.split(own(data), shape))
        rows = jnp.broadcast_to(data[words], (*shape, 1))
        return jnp.concatenate([keys, rows], axis=-1)

    def seed(number: jax.Array) -> jax.Array:
        raise NotImplementedError("a key of rows is made of another key")

    return define_prng_impl(
        key_shape=(words + 1,),
        seed=seed,
        split=split,
        random_bits=random_bits,
        fold_in=lambda data, number: with_row(jax.random.fold_in(own(data), number), data),
        name=f"rows_{stride}_{size}_of_{count}",
        tag="rows",
    )
