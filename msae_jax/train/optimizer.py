"""Optax optimisers from their configuration."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from msae_jax.config import OptimizerConfig
from msae_jax.train.selection import Selected, pick


def _schedule(config: OptimizerConfig, steps: int) -> optax.Schedule:
    peak, warmup = config.learning_rate, config.warmup_steps
    rest = max(steps - warmup, 1)
    if config.schedule == "cosine":
        main = optax.cosine_decay_schedule(peak, rest, alpha=config.final_fraction)
    elif config.schedule == "linear":
        main = optax.linear_schedule(peak, peak * config.final_fraction, rest)
    else:
        main = optax.constant_schedule(peak)
    if not warmup:
        return main
    return optax.join_schedules([optax.linear_schedule(0.0, peak, warmup), main], [warmup])


@functools.cache
def no_optimizer() -> optax.GradientTransformation:
    """Returns what leaves all parameters as they are, always the same object."""
    return optax.set_to_zero()


def make_optimizer(
    config: OptimizerConfig,
    steps: int,
    *,
    frozen: Selected = frozenset(),
    undecayed: Selected = frozenset(),
) -> optax.GradientTransformation:
    """Returns the optimiser of a run of `steps` steps.

    Equal arguments give the *same* object, so that programs compiled for it are found again; where
    the learning rate is constant, whatever the number of steps.
    Adam's defaults (betas 0.9 and 0.999, eps 1e-8 outside the root) are PyTorch's.

    Args:
      frozen: the variables that are not trained, for which nothing is kept; their updates have no
        meaning. undecayed: those that weight decay leaves alone.
    """
    constant = config.schedule == "constant" and not config.warmup_steps
    return _made(config, None if constant else steps, frozen, undecayed)


@functools.cache
def _made(
    config: OptimizerConfig, steps: int | None, frozen: Selected, undecayed: Selected
) -> optax.GradientTransformation:
    rate = config.learning_rate if steps is None else _schedule(config, steps)
    decay: dict[str, Any] = {"weight_decay": config.weight_decay}
    if undecayed:
        decay["mask"] = _all_but(undecayed)
    if config.name == "adam":
        rule = optax.chain(_scale_by_adam(), optax.scale_by_learning_rate(rate))
    elif config.name == "adamw":
        rule = optax.adamw(rate, **decay)
    elif config.name == "lion":
        rule = optax.lion(rate, **decay)
    elif config.name == "rmsprop":
        rule = optax.rmsprop(rate, momentum=config.momentum or None)
    else:
        rule = optax.sgd(rate, momentum=config.momentum or None)
    if config.clip_norm is not None:
        rule = optax.chain(optax.clip_by_global_norm(config.clip_norm), rule)
    if frozen:
        rule = optax.masked(rule, _all_but(frozen))
    return _with_standard_promotion(rule)


@functools.cache
def discriminator_optimizer(learning_rate: float) -> optax.GradientTransformation:
    """Returns Adam with a first moment of 0.5 (Radford et al., 2016), always the same object."""
    rule = optax.chain(_scale_by_adam(b1=0.5), optax.scale_by_learning_rate(learning_rate))
    return _with_standard_promotion(rule)


def _all_but(chosen: Selected) -> Callable[[optax.Params], Any]:
    """Returns Optax's mask of the parameters that are not chosen."""
    return lambda params: pick(chosen, "params", lambda is_chosen, _: not is_chosen, params)


def _scale_by_adam(
    b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8
) -> optax.GradientTransformation:
    """`optax.scale_by_adam` in the arithmetic of `torch.optim.Adam`, rounding included.

    Optax subtracts a float32 0.999^t from 1, which makes the first steps 2e-5 too short, and decays
    the first moment by 0.9 m + 0.1 g in float32, whose weights do not add up to 1.
    """
    init = optax.scale_by_adam().init

    def update(
        updates: optax.Updates, state: optax.OptState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, optax.OptState]:
        assert isinstance(state, optax.ScaleByAdamState)
        count = optax.safe_increment(state.count)
        step = count.astype(jnp.float32)
        first, second = (-jnp.expm1(step * math.log(b)) for b in (b1, b2))  # 1 - b^step
        mu = jax.tree.map(lambda m, g: m + (1 - b1) * (g - m), state.mu, updates)
        nu = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, state.nu, updates)
        root = jnp.sqrt(second)
        scaled = jax.tree.map(lambda m, v: m / first / (jnp.sqrt(v) / root + eps), mu, nu)
        return scaled, optax.ScaleByAdamState(count, mu, nu)

    return optax.GradientTransformation(init, update)


def _with_standard_promotion(rule: optax.GradientTransformation) -> optax.GradientTransformation:
    """Returns `rule` with standard promotion: strict promotion refuses Optax's `float ** int32`."""

    def update(
        updates: optax.Updates, state: optax.OptState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, optax.OptState]:
        with jax.numpy_dtype_promotion("standard"):
            return rule.update(updates, state, params)

    return optax.GradientTransformation(rule.init, update)
