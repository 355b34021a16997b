"""The gradient of the loss of a batch, as a whole or added up over parts of it."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from msae_jax.config import Objective
from msae_jax.errors import InputError
from msae_jax.system.precision import exact
from msae_jax.train import adversarial, losses, regularizers
from msae_jax.train.accumulation import Keyed, add_up
from msae_jax.train.selection import as_in_evaluation, pick
from msae_jax.train.state import (
    ADVERSARY,
    EQUIVARIANCE,
    PRIOR,
    Metrics,
    Task,
    TrainState,
    key_for,
    metrics_of,
)


class Gradient(NamedTuple):
    """What a batch gives a step.

    Attributes:
      metrics: terms and duel are of each sample `[B]`; of a sum over parts, their means over
        samples.
      of_params: of the loss, as the parameters are. of_adversary: of the discriminator's own, or
        None.
    """

    metrics: Metrics
    of_params: Any
    of_adversary: Any


def gradient_of(
    task: Task, state: TrainState, x: jax.Array, seen: jax.Array, mask: jax.Array | None
) -> tuple[Gradient, Any]:
    """Returns the gradient of a batch, and the batch statistics after it; to be traced.

    Args:
      x: what is reconstructed, `[B, ...]`. seen: what the model is given. mask: of known values.
    """
    pixels = x.size // x.shape[0]
    noise = jax.random.fold_in(state.noise_key, state.step)
    beta = _beta(task, state)

    def of_part(
        part: tuple[jax.Array, jax.Array, jax.Array | None], stats: Any, keyed: Keyed
    ) -> tuple[Gradient, Any]:
        x, seen, mask = part

        def loss_fn(params: Any, judge: Any) -> tuple[jax.Array, tuple[Metrics, Any]]:
            variables = {"params": _trained(task, params), "batch_stats": stats}
            with as_in_evaluation(task.frozen):
                out, mutated = task.model.apply(
                    variables, seen, key=keyed(noise), train=True, mutable=["batch_stats"]
                )
            if out.target is not None:
                _check_reduction(task.objective, out.target, pixels)
            with exact(task.precision):
                terms = losses.terms(task.objective, out, x, mask)
            counted = regularizers.counted(task.objective, terms, out)
            apply = functools.partial(task.model.apply, variables)
            weight, played = beta, None
            if task.opponent is not None:
                decode = functools.partial(apply, method="decode")
                own = keyed(key_for(state, ADVERSARY))
                played = adversarial.play(task.opponent, judge, out, x, counted, beta, decode, own)
                weight, counted = 1.0, played.terms
            loss = losses.scalar(task.objective, counted, pixels, weight)

            keys = keyed(key_for(state, PRIOR)), keyed(key_for(state, EQUIVARIANCE))
            loss = regularizers.penalised(
                task.objective, loss, task.model, apply, out.z, seen, *keys
            )
            if played is None:
                return loss, (Metrics(loss, terms), mutated)
            return loss + played.loss, (Metrics(loss, terms, played.duel), mutated)

        gradient = jax.value_and_grad(loss_fn, argnums=(0, 1), has_aux=True)
        (_, (metrics, mutated)), grads = gradient(*_players(state))
        return Gradient(metrics, *grads), mutated.get("batch_stats", {})

    batch = x, seen, mask
    if task.accumulate == 1:
        return of_part(batch, state.batch_stats, lambda key: key)
    return add_up(
        of_part,
        functools.partial(_weighed, task.objective),
        batch,
        state.batch_stats,
        _nothing(task, state),
        task.accumulate,
    )


def _players(state: TrainState) -> tuple[Any, Any]:
    """Returns the parameters of the model, and of the discriminator or None."""
    return state.params, None if state.adversary is None else state.adversary.params


def _nothing(task: Task, state: TrainState) -> Gradient:
    """Returns the sum of no parts."""
    zeros = jax.tree.map(jnp.zeros_like, _players(state))
    return Gradient(metrics_of(task, jnp.zeros((), jnp.float32)), *zeros)


def _beta(task: Task, state: TrainState) -> jax.Array | float:
    """Returns the weight of the KL term in a step."""
    beta = task.objective.beta if state.tuned is None else state.tuned.beta
    return regularizers.annealed(task.objective, beta, state.step)


def _weighed(objective: Objective, part: Gradient, share: float) -> Gradient:
    """Returns what a part with this share of the samples adds to the gradient of its batch."""
    own = 1.0 if objective.reduction == "sum" else share
    loss, of_params = optax.tree.scale(own, (part.metrics.loss, part.of_params))
    means = jax.tree.map(jnp.mean, (part.metrics.terms, part.metrics.duel))
    (terms, duel), of_adversary = optax.tree.scale(share, (means, part.of_adversary))
    return Gradient(Metrics(loss, terms, duel), of_params, of_adversary)


def _trained(task: Task, params: Any) -> Any:
    """Returns the parameters with nothing to differentiate in those that are frozen."""
    if not task.frozen:
        return params

    def stopped(is_frozen: bool, leaf: jax.Array) -> jax.Array:
        return jax.lax.stop_gradient(leaf) if is_frozen else leaf

    return pick(task.frozen, "params", stopped, params)


def _check_reduction(objective: Objective, target: jax.Array, pixels: int) -> None:
    got = target.size // target.shape[0]
    if objective.reduction == "mean" and got != pixels:
        raise InputError(
            f"the reduction 'mean' divides by the {pixels} values of a sample, of which this model "
            f"reconstructs only {got}: use 'batchmean' or 'sum'."
        )
