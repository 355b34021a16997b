"""Training of one seed: the first state, and the step.

Randomness is explicit. A seed gives three keys. `init` draws the initial weights. `order`, folded
with the epoch's number, shuffles that epoch. `noise`, folded with the step's number, samples
latents. Folded with a constant, and then with the step's number, it draws what else a step needs
(`state.key_for`): the noise on the inputs of a denoising autoencoder, the samples of the prior that
latents are compared with, and the changes of augmented series and of equivariance. Nothing else is
random, so training can go on from a state alone.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from msae_jax import data, models
from msae_jax.config import Objective, TrainConfig
from msae_jax.data.series.windows import Windows
from msae_jax.errors import InputError
from msae_jax.system import compiling, names
from msae_jax.train import adversarial, losses, regularizers, selection, transforms
from msae_jax.train.gradient import gradient_of
from msae_jax.train.optimizer import make_optimizer, no_optimizer
from msae_jax.train.products import with_products_in
from msae_jax.train.selection import pick
from msae_jax.train.state import (
    ADVERSARY,
    AUGMENTATION,
    CORRUPTION,
    Keys,
    Metrics,
    Task,
    TrainState,
    key_for,
)


def make_task(config: TrainConfig, dataset: data.Dataset) -> Task:
    """Returns the task of a configuration on a data set.

    Raises:
      InputError: the model does not exist or does not fit the data; there is no such likelihood;
        or a file alone names the code of either (`names.check_named`).
    """
    names.check_named({"model": config.model.name})
    losses.find(config.objective.likelihood)
    sample_shape = dataset.train.x.shape[1:]
    if transforms.parse(config.objective.augment) and len(sample_shape) > 2:
        raise InputError(
            f"augment is for series [T] and [T, C], got samples of shape {list(sample_shape)}."
        )
    model = models.build(config.model, sample_shape, series=dataset.series is not None)
    batches = -(-len(dataset.train.x) // config.batch_size)
    objective = config.objective
    if objective.equivariance:
        regularizers.check_equivariance(model, objective)
    if objective.anneal_epochs:
        objective = replace(
            objective, anneal_epochs=0, anneal_steps=objective.anneal_epochs * batches
        )
    masked = isinstance(dataset.train.x, Windows) and dataset.train.x.masked
    task = task_of(config, model, sample_shape, config.epochs * batches)
    return task._replace(objective=objective, masked=masked)


def task_of(
    config: TrainConfig, model: nn.Module, sample_shape: tuple[int, ...], steps: int
) -> Task:
    """Returns the task of a built model in a run of `steps` steps, the objective as it is given.

    Raises:
      InputError: `freeze` or `no_decay` names nothing of the model, or `freeze` all of it; no
        discriminator can be trained beside it; or it has no step to train in another precision.
    """
    if config.precision != "float32" and models.record(config.model.name).fit is not None:
        raise InputError(
            f"{config.model.name} is fitted in closed form and has no step to train: leave out the "
            f"precision {config.precision}."
        )
    frozen = selection.selected(config.freeze, model, sample_shape)
    undecayed = selection.selected(config.optimizer.no_decay, model, sample_shape)
    optimizer = optimizer_of(config, steps, frozen=frozen, undecayed=undecayed)
    return Task(
        model,
        config.objective,
        optimizer,
        accumulate=config.accumulate,
        precision=config.precision,
        ema=config.optimizer.ema,
        frozen=frozen,
        opponent=adversarial.opponent_of(config, model, sample_shape),
    )


def optimizer_of(
    config: TrainConfig, steps: int, **chosen: selection.Selected
) -> optax.GradientTransformation:
    """Returns the optimiser of a run; of a model in closed form, what changes nothing.

    Args:
      chosen: see `make_optimizer`.
    """
    if models.record(config.model.name).fit is not None:
        return no_optimizer()
    return make_optimizer(config.optimizer, steps, **chosen)


def seed_keys(seed: jax.Array | int) -> Keys:
    """Returns the keys of a seed."""
    return Keys(*jax.random.split(jax.random.key(seed), 3))


def init_state(task: Task, seed: jax.Array | int, sample_shape: tuple[int, ...]) -> TrainState:
    """Returns the state before the first step, for samples of `sample_shape`.

    Do not call it inside a JAX transformation, which refuses its compiler options: call
    `state_of_keys` there.
    """
    return _init_program()(task, seed, sample_shape)


@functools.cache  # made when it is first called: to ask for the backend starts it
def _init_program() -> Callable[..., TrainState]:
    def init(task: Task, seed: jax.Array, sample_shape: tuple[int, ...]) -> TrainState:
        return state_of_keys(task, seed_keys(seed), sample_shape)

    return jax.jit(init, static_argnums=(0, 2), compiler_options=compiling.fast_compile_options())


def state_of_keys(task: Task, keys: Keys, sample_shape: tuple[int, ...]) -> TrainState:
    """Returns the state before the first step that `keys` give; to be traced."""
    variables = models.init_variables(task.model, keys.init, sample_shape)
    params, adversary = variables["params"], None
    if task.opponent is not None:
        adversary = adversarial.begin(task.opponent, jax.random.fold_in(keys.init, ADVERSARY))
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        batch_stats=variables.get("batch_stats", {}),
        opt_state=task.optimizer.init(params),
        order_key=keys.order,
        noise_key=keys.noise,
        averaged=params if task.ema else None,
        adversary=adversary,
    )


def to_unit(batch: jax.Array) -> jax.Array:
    """Returns uint8 images scaled to [0, 1]; any other array as it is."""
    return batch.astype(jnp.float32) / 255.0 if batch.dtype == jnp.uint8 else batch


def observed(x: jax.Array, masked: bool) -> tuple[jax.Array, jax.Array | None]:
    """Returns samples with 0 for what is missing (NaN), and the mask of what is not.

    The mask is None where no value is missing.
    """
    if not masked:
        return x, None
    mask = ~jnp.isnan(x)
    return jnp.where(mask, x, 0.0), mask


def gather(x: jax.Array | Windows, indices: jax.Array) -> jax.Array:
    """Returns the samples [B, ...] at `indices` [B] of a set that lives on the device."""
    if isinstance(x, Windows):
        return x.take(indices)
    return jnp.take(x, indices, axis=0, mode="clip")


def train_step(task: Task, state: TrainState, batch: jax.Array) -> tuple[TrainState, Metrics]:
    """One gradient step on a batch `[B, ...]` of uint8 or float32 samples.

    A discriminator steps with the model, both from the gradients at the same weights.
    With `noise_std` the model sees the noisy batch; the loss compares with the clean one. With
    `augment` both are of the changed batch.

    Raises (while tracing):
      InputError: the batch does not fit the model, or the model not the objective.
    """
    x, mask = observed(to_unit(batch), task.masked)
    x = augmented(task.objective, state, x, mask)
    seen = corrupted(task.objective, state, x)
    gradient, stats = with_products_in(task.precision, functools.partial(gradient_of, task))(
        state, x, seen, mask
    )
    updates, opt_state = task.optimizer.update(gradient.of_params, state.opt_state, state.params)
    if state.tuned is not None:
        updates = optax.tree.scale(state.tuned.learning_rate, updates)
    step = state.step + 1
    params = optax.apply_updates(state.params, updates)
    if task.frozen:  # to the bit: adding zero would change -0
        params = pick(task.frozen, "params", _first_if, state.params, params)
        stats = pick(task.frozen, "batch_stats", _first_if, state.batch_stats, stats)
    state = state.replace(
        step=step,
        params=params,
        batch_stats=stats,
        opt_state=opt_state,
        averaged=_averaged(task, state, params),
    )
    if task.opponent is not None and state.adversary is not None:
        judge = adversarial.step(task.opponent, state.adversary, gradient.of_adversary)
        state = state.replace(adversary=judge)
    loss, *of_samples = gradient.metrics
    return state, Metrics(loss, *jax.tree.map(jnp.mean, of_samples))


def _first_if(chosen: bool, first: jax.Array, second: jax.Array) -> jax.Array:
    return first if chosen else second


def _averaged(task: Task, state: TrainState, params: Any) -> Any:
    """Returns the moving average after the step that gave these parameters.

    With d the decay and t the step, from 1 on, a_t = a_{t-1} + w (p_t - a_{t-1}) with
    w = (1 - d) / (1 - d^t) is the mean of p_1 ... p_t with weights d^(t-i): Adam's correction of
    the start (Kingma and Ba, 2015), so that the initial weights have no part in it.
    """
    if state.averaged is None:
        return None
    t = (state.step + 1).astype(jnp.float32)
    weight = (1.0 - task.ema) / -jnp.expm1(t * math.log(task.ema))
    averaged = optax.incremental_update(params, state.averaged, weight)
    return pick(task.frozen, "params", _first_if, params, averaged)


def augmented(
    objective: Objective, state: TrainState, x: jax.Array, mask: jax.Array | None
) -> jax.Array:
    """Returns the series `[B, T]` or `[B, T, C]` of a step changed; what is missing stays 0."""
    steps = transforms.parse(objective.augment)
    if not steps:
        return x
    series = x if x.ndim == 3 else x[..., None]
    changed = transforms.chain(steps)(key_for(state, AUGMENTATION), series, 1.0).reshape(x.shape)
    return changed if mask is None else jnp.where(mask, changed, 0.0)


def corrupted(objective: Objective, state: TrainState, x: jax.Array) -> jax.Array:
    """Returns x + noise_std eps, eps ~ N(0, I), not clipped: the input `[B, ...]` of a step."""
    if not objective.noise_std:
        return x
    noise = jax.random.normal(key_for(state, CORRUPTION), x.shape, x.dtype)
    return x + objective.noise_std * noise
