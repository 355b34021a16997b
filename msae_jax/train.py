"""Training of one seed: the state, the step, the epoch as one compiled program.

Randomness is explicit. A seed gives three keys: one for the initial weights; one for the data
order, whose fold with the epoch's number shuffles that epoch; one for noise, whose fold with the
step's number samples latents, and with `CORRUPTION` and then the step's number draws the noise on
the inputs of a denoising autoencoder. Nothing else is random, so that a state alone says how to go
on.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax

from msae_jax import compiling, data, losses, models
from msae_jax.config import Objective, TrainConfig
from msae_jax.errors import InputError
from msae_jax.optimizer import make_optimizer

CORRUPTION = 2**32 - 2
"""Folded into a run's noise key for the noise on its inputs; no training step has this number."""


class Task(NamedTuple):
    """What a compiled training program is specialised on; hashable."""

    model: nn.Module
    objective: Objective
    optimizer: optax.GradientTransformation


class Keys(NamedTuple):
    """The typed PRNG keys of one seed: of the initial weights, the data order, latent noise."""

    init: jax.Array
    order: jax.Array
    noise: jax.Array


class Tuned(NamedTuple):
    """Numbers of a configuration as arrays, so that one program serves all their values."""

    learning_rate: jax.Array
    beta: jax.Array


class TrainState(flax.struct.PyTreeNode):
    """Everything that training changes, and the keys it draws from.

    Attributes:
      step: steps done, int32.
      params, batch_stats: the model's variables; `batch_stats` is empty without batch norm.
      order_key, noise_key: typed PRNG keys, the same throughout a run.
      tuned: replaces the task's beta and multiplies its learning rate; None leaves both as they
        are.
    """

    step: jax.Array
    params: chex.ArrayTree
    batch_stats: chex.ArrayTree
    opt_state: optax.OptState
    order_key: jax.Array
    noise_key: jax.Array
    tuned: Tuned | None = None

    @property
    def variables(self) -> dict[str, Any]:
        """The Flax variables: `params`, and `batch_stats` where the model has any."""
        stats = {"batch_stats": self.batch_stats} if self.batch_stats else {}
        return {"params": self.params, **stats}


class Metrics(NamedTuple):
    """Of one step or, with a leading axis, of each step of an epoch.

    Attributes:
      loss: the objective of the batch.
      terms: means over the batch of the nats per sample and of the squared error per pixel.
    """

    loss: jax.Array
    terms: losses.Terms


def make_task(config: TrainConfig, dataset: data.Dataset) -> Task:
    """Returns the task of a configuration on a data set.

    Raises:
      InputError: the model does not exist or does not fit the data.
    """
    sample_shape = dataset.train.x.shape[1:]
    model = models.build(config.model, sample_shape)
    steps = config.epochs * -(-len(dataset.train.x) // config.batch_size)
    return Task(model, config.objective, make_optimizer(config.optimizer, steps))


def seed_keys(seed: jax.Array | int) -> Keys:
    """Returns the keys of a seed."""
    return Keys(*jax.random.split(jax.random.key(seed), 3))


def init_state(task: Task, seed: jax.Array | int, sample_shape: tuple[int, ...]) -> TrainState:
    """Returns the state before the first step, for samples of `sample_shape`.

    Not to be called in a transformation, where its compiler options are refused: use
    `state_of_keys` there.
    """
    return _init_program()(task, seed, sample_shape)


@functools.cache  # made when it is first called: to ask for the backend starts it
def _init_program() -> Callable[..., TrainState]:
    def init(task: Task, seed: jax.Array, sample_shape: tuple[int, ...]) -> TrainState:
        return state_of_keys(task, seed_keys(seed), sample_shape)

    return jax.jit(init, static_argnums=(0, 2), compiler_options=compiling.quickly())


def state_of_keys(task: Task, keys: Keys, sample_shape: tuple[int, ...]) -> TrainState:
    """Returns the state before the first step that `keys` give; to be traced."""
    variables = models.init_variables(task.model, keys.init, sample_shape)
    params = variables["params"]
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        batch_stats=variables.get("batch_stats", {}),
        opt_state=task.optimizer.init(params),
        order_key=keys.order,
        noise_key=keys.noise,
    )


def to_unit(batch: jax.Array) -> jax.Array:
    """Returns uint8 images scaled to [0, 1]; any other array as it is."""
    return batch.astype(jnp.float32) / 255.0 if batch.dtype == jnp.uint8 else batch


def train_step(task: Task, state: TrainState, batch: jax.Array) -> tuple[TrainState, Metrics]:
    """One gradient step on a batch `[B, ...]` of uint8 or float32 samples.

    Under `noise_std` the model sees the batch with noise; the loss compares with it without.

    Raises (while tracing):
      InputError: the batch does not fit the model, or the model not the objective.
    """
    x = to_unit(batch)
    seen = corrupted(task.objective, state, x)
    pixels = x.size // x.shape[0]
    noise = jax.random.fold_in(state.noise_key, state.step)
    beta = task.objective.beta if state.tuned is None else state.tuned.beta

    def loss_fn(params: Any) -> tuple[jax.Array, tuple[losses.Terms, Any]]:
        variables = {"params": params, "batch_stats": state.batch_stats}
        out, mutated = task.model.apply(
            variables, seen, key=noise, train=True, mutable=["batch_stats"]
        )
        if out.target is not None:
            _check_reduction(task.objective, out.target, pixels)
        terms = losses.terms(task.objective, out, x)
        return losses.scalar(task.objective, terms, pixels, beta), (terms, mutated)

    gradient = jax.value_and_grad(loss_fn, has_aux=True)
    (loss, (terms, mutated)), grads = gradient(state.params)
    updates, opt_state = task.optimizer.update(grads, state.opt_state, state.params)
    if state.tuned is not None:
        updates = optax.tree.scale(state.tuned.learning_rate, updates)
    state = state.replace(
        step=state.step + 1,
        params=optax.apply_updates(state.params, updates),
        batch_stats=mutated.get("batch_stats", {}),
        opt_state=opt_state,
    )
    return state, Metrics(loss, jax.tree.map(jnp.mean, terms))


def corrupted(objective: Objective, state: TrainState, x: jax.Array) -> jax.Array:
    """Returns x + noise_std eps, eps ~ N(0, I), not clipped: the input `[B, ...]` of a step."""
    if not objective.noise_std:
        return x
    key = jax.random.fold_in(jax.random.fold_in(state.noise_key, CORRUPTION), state.step)
    return x + objective.noise_std * jax.random.normal(key, x.shape, x.dtype)


def _check_reduction(objective: Objective, target: jax.Array, pixels: int) -> None:
    got = target.size // target.shape[0]
    if objective.reduction == "mean" and got != pixels:
        raise InputError(
            f"the reduction 'mean' divides by the {pixels} values of a sample, of which this model "
            f"reconstructs only {got}: use 'batchmean' or 'sum'."
        )


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
        return train_step(task, state, place(jnp.take(x, indices, axis=0, mode="clip")))

    state, metrics = jax.lax.scan(step, state, batches)
    if len(order) % batch_size:
        state, last = step(state, order[full * batch_size :])
        metrics = jax.tree.map(lambda a, b: jnp.append(a, b[None]), metrics, last)
    return state, metrics


@functools.partial(jax.jit, static_argnums=0, static_argnames="batch_size", donate_argnames="state")
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


_compiled_step = jax.jit(train_step, static_argnums=0, donate_argnums=1)
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
    means over samples: `nats` (reconstruction + KL), `recon_nats`, `kl_nats`, and `mse` per pixel.
    """
    sizes = batch_sizes(n, batch_size)
    terms = jax.tree.map(
        lambda a: float(np.average(np.asarray(a, np.float64), weights=sizes)), metrics.terms
    )
    loss = np.asarray(metrics.loss, np.float64)
    return {
        "loss": float(loss.sum() / n if objective.reduction == "sum" else loss.mean()),
        "nats": terms.recon_nats + terms.kl_nats,
        "recon_nats": terms.recon_nats,
        "kl_nats": terms.kl_nats,
        "mse": terms.mse,
    }


def first_bad_step(metrics: Metrics) -> int | None:
    """Returns the index in the epoch of the first step whose loss is not finite, or None."""
    bad = np.flatnonzero(~np.isfinite(np.asarray(metrics.loss)))
    return int(bad[0]) if bad.size else None
