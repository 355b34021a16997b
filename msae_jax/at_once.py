"""How many seeds to train as one batch on a device, chosen by measuring."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from msae_jax import distributed, train


def choose_at_once(
    task: train.Task,
    make_state: Callable[[], train.TrainState],
    x: np.ndarray,
    *,
    batch_size: int,
    members: int,
) -> int:
    """Returns how many members to train as one batch on a device, by measuring.

    Doubles the number while a step takes less time per member and fits the device's memory. On CPU
    (see `msae_jax.seeds`) and of a single member the answer is 1, without measuring.

    Args:
      make_state: gives one member's, with a leading axis of 1, on this process's first device.
      members: how many a device has.
    """
    device = jax.local_devices()[0]
    if members == 1 or device.platform == "cpu":
        return 1
    best = 1
    if distributed.is_main():
        stats = device.memory_stats() or {}
        limit = 0.8 * (stats.get("bytes_limit", float("inf")) - stats.get("bytes_in_use", 0))
        state = make_state()
        here = jax.device_put(x, next(iter(state.step.devices())))

        def seconds(count: int) -> float | None:
            many = jax.tree.map(lambda a: jnp.repeat(a, count, axis=0), state)
            return _seconds_per_member(task, many, here, batch_size, limit)

        best = _fastest(seconds, members)
    return distributed.from_main(best)  # the same program everywhere


def _fastest(seconds: Callable[[int], float | None], most: int) -> int:
    """Doubles a count from 1 to `most` while it gains 2% or more, and returns the last that did.

    Args:
      seconds: gives those of a count per member, or None where it does not fit; 1 is taken anyway.
    """
    best, best_seconds, count = 1, float("inf"), 1
    while count <= most:
        found = seconds(count)
        if found is None or found > 0.98 * best_seconds:
            break
        best, best_seconds, count = count, found, 2 * count
    return best


def _seconds_per_member(
    task: train.Task, states: train.TrainState, x: jax.Array, batch_size: int, limit: float
) -> float | None:
    """Returns the seconds of a few steps per member, or None where they do not fit the memory."""
    order = jnp.arange(min(len(x), 16 * batch_size))

    @jax.jit
    def steps(states: train.TrainState, x: jax.Array) -> Any:
        return jax.vmap(lambda s: train.epoch(task, s, x, order, batch_size=batch_size))(states)

    try:
        compiled = steps.lower(states, x).compile()
        memory: Any = compiled.memory_analysis()
        if memory is not None:
            used = memory.temp_size_in_bytes + memory.output_size_in_bytes
            if used + memory.argument_size_in_bytes > limit:
                return None
        jax.block_until_ready(compiled(states, x))
        times = []
        for _ in range(3):
            start = time.perf_counter()
            jax.block_until_ready(compiled(states, x))
            times.append(time.perf_counter() - start)
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" in str(error):
            return None
        raise
    return min(times) / len(states.step)
