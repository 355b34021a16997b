"""What the device can do at most, measured: float32 matrix products, and memory traffic."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

SIZE = 2048  # of the square matrices: 16 MiB each
SETS = tuple(2**i for i in (20, 22, 24, 26, 28))
"""Bytes of the arrays that are updated in place: from 1 MiB to 256 MiB, beyond any cache."""
MOVED = 2**28  # bytes that each measurement goes through, so that the call itself does not count
SECONDS = 2.0  # of the products; other work, or a badly placed thread, may halve the speed a while


class Peaks(NamedTuple):
    """Of all cores of the first device.

    Attributes:
      matmul: GFLOP/s of a float32 matrix product.
      memory: by the bytes of an array, GB/s at which it is updated in place, read and written.
    """

    matmul: float
    memory: dict[int, float]

    def bandwidth(self, nbytes: float = float("inf")) -> float:
        """Returns the GB/s of a working set of so many bytes: of the next larger one measured."""
        larger = (size for size in self.memory if size >= nbytes)
        return self.memory[min(larger, default=max(self.memory))]


@functools.cache
def peaks() -> Peaks:
    """Measures both; the best of some seconds, since other work can only slow them.

    Memory is updated in place: a new array would measure how fast the system hands out pages.
    """
    a = jnp.ones((SIZE, SIZE))
    product = jax.jit(lambda a: jnp.dot(a, a, precision=jax.lax.Precision.HIGHEST))
    return Peaks(
        matmul=2 * SIZE**3 / _fastest(lambda: product(a), SECONDS) / 1e9,
        memory={size: _in_place(size) for size in SETS},
    )


def _in_place(nbytes: int) -> float:
    """Returns the GB/s at which a float32 array is read and written where it lies."""
    passes = max(1, MOVED // nbytes)

    @functools.partial(jax.jit, donate_argnums=0)
    def update(x: jax.Array) -> jax.Array:
        return jax.lax.fori_loop(0, passes, lambda _, x: x + 1, x)

    held = [jnp.ones(nbytes // 4)]

    def call() -> jax.Array:
        held[0] = update(held[0])
        return held[0]

    return 2 * nbytes * passes / _fastest(call, SECONDS / len(SETS)) / 1e9


def _fastest(call: Callable[[], Any], seconds: float) -> float:
    jax.block_until_ready(call())
    fastest, end = float("inf"), time.perf_counter() + seconds
    while (start := time.perf_counter()) < end:
        jax.block_until_ready(call())
        fastest = min(fastest, time.perf_counter() - start)
    return fastest
