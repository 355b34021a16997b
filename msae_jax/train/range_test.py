"""The learning-rate range test of one seed: the loss of each step under a rate that grows.

Source: Smith, "Cyclical Learning Rates for Training Neural Networks" (WACV 2017), section 3.3.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from msae_jax.data.series.windows import Windows
from msae_jax.train.epoch import epoch_order
from msae_jax.train.state import Task, TrainState, Tuned
from msae_jax.train.step import gather, train_step


def losses(
    task: Task, state: TrainState, x: jax.Array | Windows, rates: jax.Array, *, batch_size: int
) -> jax.Array:
    """Returns the loss `[n]` of each of n steps under learning rates `[n]`; to be traced.

    The batches are those of the seed's epochs, without the short ones.

    Args:
      task: with a learning rate of 1. state: before the first step, with `tuned`.
      x: the training set `[N, ...]`.
    """
    count, size = len(x), min(batch_size, len(x))
    full = count // size
    first_steps = jnp.arange(-(-len(rates) // full)) * -(-count // size)
    orders = jax.vmap(lambda s: epoch_order(state.replace(step=s), count, size))(first_steps)
    batches = orders[:, : full * size].reshape(-1, size)[: len(rates)]

    def step(state: TrainState, given: tuple[jax.Array, jax.Array]) -> tuple[TrainState, jax.Array]:
        indices, rate = given
        assert state.tuned is not None
        state = state.replace(tuned=Tuned(rate, state.tuned.beta))
        state, metrics = train_step(task, state, gather(x, indices))
        return state, metrics.loss

    return jax.lax.scan(step, state, (batches, rates))[1]


@functools.partial(jax.jit, static_argnums=0, static_argnames="batch_size")
def losses_of_members(
    task: Task, states: TrainState, x: jax.Array | Windows, rates: jax.Array, *, batch_size: int
) -> jax.Array:
    """Returns the losses `[M, n]` of the members whose states are stacked, one after another."""
    one = functools.partial(losses, task, x=x, rates=rates, batch_size=batch_size)
    return jax.lax.map(lambda state: one(state), states)
