"""What the device can do at most, measured: float32 matrix products, and memory traffic."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

SIZE = 2048  # of the square matrices: 16 MiB each
VALUES = 2**26  # of the array that is copied: 256 MiB, beyond any cache
SECONDS = 2.0  # of each: other work, or a badly placed thread, may halve the speed for a while


class Peaks(NamedTuple):
    """Of all cores of the first device: GFLOP/s of a float32 matrix product, GB/s of a copy."""

    matmul: float
    bandwidth: float


@functools.cache
def peaks() -> Peaks:
    """Measures both; the best of some seconds, since other work can only slow them."""
    a = jnp.ones((SIZE, SIZE))
    product = jax.jit(lambda a: jnp.dot(a, a, precision=jax.lax.Precision.HIGHEST))
    flat = jnp.ones(VALUES)
    copy = jax.jit(lambda x: x + 1)
    return Peaks(
        matmul=2 * SIZE**3 / _fastest(product, a) / 1e9,
        bandwidth=2 * flat.nbytes / _fastest(copy, flat) / 1e9,  # read and written
    )


def _fastest(fn: Callable[[jax.Array], Any], x: jax.Array) -> float:
    jax.block_until_ready(fn(x))
    fastest, end = float("inf"), time.perf_counter() + SECONDS
    while (start := time.perf_counter()) < end:
        jax.block_until_ready(fn(x))
        fastest = min(fastest, time.perf_counter() - start)
    return fastest
