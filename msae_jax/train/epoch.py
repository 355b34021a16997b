"""An epoch of one seed: as one compiled program, or step by step from a stream, and its summary."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from msae_jax import data
from msae_jax.config import Objective
from msae_jax.system.compiling import jit_training
from msae_jax.train import losses
from msae_jax.train.state import Metrics, Task, TrainState
from msae_jax.train.step import gather, train_step


def epoch_order(state: TrainState, n: int, batch_size: int) -> jax.Array:
    """Returns the order, a permutation `[n]`, of the epoch that `state` is at the start of."""
    epoch = state.step // -(-n // batch_size)
    return jax.random.permutation(jax.random.fold_in(state.order_key, epoch), n)


def epoch(
    task: Task,
    state: TrainState,
    x: jax.Array,
    order: jax.Array | None = None,
    *,
    batch_size: int,
    place: Callable[[jax.Array], jax.Array] = lambda batch: batch,
) -> tuple[TrainState, Metrics]:
    """One epoch over a set `[N, ...]` that lives on the device; traced, see `train_epoch`.

    Args:
      place: applied to each batch before its step, such as to spread it over devices.
    """
    if order is None:
        order = epoch_order(state, len(x), batch_size)
    full = len(order) // batch_size
    batches = order[: full * batch_size].reshape(full, batch_size)

    def step(state: TrainState, indices: jax.Array) -> tuple[TrainState, Metrics]:
        return train_step(task, state, place(gather(x, indices)))

    state, metrics = jax.lax.scan(step, state, batches)
    if len(order) % batch_size:
        state, last = step(state, order[full * batch_size :])
        metrics = jax.tree.map(lambda a, b: jnp.append(a, b[None]), metrics, last)
    return state, metrics


@functools.partial(
    jit_training, static_argnums=0, static_argnames="batch_size", donate_argnames="state"
)
def train_epoch(
    task: Task,
    state: TrainState,
    x: jax.Array,
    order: jax.Array | None = None,
    *,
    batch_size: int,
) -> tuple[TrainState, Metrics]:
    """One epoch as one program, over a set `[N, ...]` that lives on the device.

    Every sample is used once; the last batch is short where `batch_size` does not divide N, as
    PyTorch's `DataLoader` has it. `state` is donated.

    Args:
      order: indices `[n]` into the set; None shuffles all of it by the state's key.

    Returns:
      The state after the epoch, and the metrics of each step, `[steps]`.
    """
    return epoch(task, state, x, order, batch_size=batch_size)


_compiled_step = jit_training(train_step, static_argnums=0, donate_argnums=1)
_compiled_order = jax.jit(epoch_order, static_argnums=(1, 2))


def train_epoch_streaming(
    task: Task,
    state: TrainState,
    source: data.Samples,
    order: np.ndarray | None = None,
    *,
    batch_size: int,
) -> tuple[TrainState, Metrics]:
    """`train_epoch` for a set that does not fit the device: batches are read as they are needed.

    The same order gives the same batches, in a program a step instead of a program an epoch.
    """
    if order is None:
        order = np.asarray(_compiled_order(state, len(source), batch_size))
    steps = []
    for batch in data.batches(source, order, batch_size):
        state, metrics = _compiled_step(task, state, batch)
        steps.append(metrics)
    return state, jax.tree.map(lambda *values: jnp.stack(values), *steps)


def batch_sizes(n: int, batch_size: int) -> np.ndarray:
    """Returns the sizes `[steps]` of the batches of an epoch over n samples."""
    return np.minimum(batch_size, n - np.arange(0, n, batch_size))


def summary(objective: Objective, metrics: Metrics, n: int, batch_size: int) -> dict[str, float]:
    """Returns one epoch's training metrics.

    `loss` is the mean over batches of the batch's objective, as the PyTorch loops print it; under
    the `sum` reduction it is divided by the samples instead: nats per sample. The others are
    means over samples, see `losses.Terms`; `nats` is reconstruction + KL. With a discriminator
    they have `adversarial.Duel`, too.
    """
    sizes = batch_sizes(n, batch_size)

    def means(steps: Any) -> Any:
        return jax.tree.map(
            lambda a: float(np.average(np.asarray(a, np.float64), weights=sizes)), steps
        )

    loss = np.asarray(metrics.loss, np.float64)
    mean = loss.sum() / n if objective.reduction == "sum" else loss.mean()
    duel = {} if metrics.duel is None else means(metrics.duel)._asdict()
    return losses.metrics(float(mean), means(metrics.terms)) | duel


def first_bad_step(metrics: Metrics) -> int | None:
    """Returns the index in the epoch of the first step whose loss is not finite, or None."""
    bad = np.flatnonzero(~np.isfinite(np.asarray(metrics.loss)))
    return int(bad[0]) if bad.size else None
