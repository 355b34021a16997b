"""What training changes and what it is specialised on."""

from __future__ import annotations

from typing import Any, NamedTuple

import chex
import flax.linen as nn
import flax.struct
import jax
import optax

from msae_jax.config import Objective
from msae_jax.data.series.windows import Windows
from msae_jax.train import losses
from msae_jax.train.adversarial import Adversary, Duel, Opponent
from msae_jax.train.selection import Selected

jax.tree_util.register_dataclass(
    Windows,
    data_fields=["values", "starts"],
    meta_fields=["length", "masked", "standardize"],
)


ADVERSARY, EQUIVARIANCE, AUGMENTATION, PRIOR, CORRUPTION = (2**32 - i for i in (6, 5, 4, 3, 2))
"""Folded into a run's noise key, each for its own draws (`key_for`); no training step has these
numbers. The first is folded into the key of the initial weights, too, for a discriminator's."""


class Task(NamedTuple):
    """What a training program is compiled for; hashable.

    Attributes:
      masked: whether values of the samples are missing, as NaN.
      accumulate: into how many parts a batch is divided.
      precision: of the products of a step, `float32` or `bfloat16`.
      ema: the decay of the moving average of the parameters; 0 keeps none.
      frozen: the names of the variables that keep their values.
      opponent: the discriminator that the model is trained against, or None.
    """

    model: nn.Module
    objective: Objective
    optimizer: optax.GradientTransformation
    masked: bool = False
    accumulate: int = 1
    precision: str = "float32"
    ema: float = 0.0
    frozen: Selected = frozenset()
    opponent: Opponent | None = None


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
      averaged: the moving average of the parameters; None where none is kept.
      adversary: the discriminator; None where there is none.
    """

    step: jax.Array
    params: chex.ArrayTree
    batch_stats: chex.ArrayTree
    opt_state: optax.OptState
    order_key: jax.Array
    noise_key: jax.Array
    tuned: Tuned | None = None
    averaged: chex.ArrayTree | None = None
    adversary: Adversary | None = None

    @property
    def trained(self) -> tuple[Any, Any, Any]:
        """All that a step trains; what is not finite here has diverged."""
        return self.params, self.batch_stats, self.adversary and self.adversary.params

    @property
    def variables(self) -> dict[str, Any]:
        """The Flax variables to use: `params`, and `batch_stats` where the model has any.

        The parameters are the moving average, where one is kept.
        """
        stats = {"batch_stats": self.batch_stats} if self.batch_stats else {}
        return {"params": self.params if self.averaged is None else self.averaged, **stats}


def key_for(state: TrainState, purpose: int) -> jax.Array:
    """Returns the key of a step for one of the constants above."""
    return jax.random.fold_in(jax.random.fold_in(state.noise_key, purpose), state.step)


class Metrics(NamedTuple):
    """Of one step or, with a leading axis, of each step of an epoch.

    Attributes:
      loss: the objective of the batch.
      terms: means over the batch of the nats per sample and of the squared error per pixel.
      duel: means of what model and discriminator lose to each other; None without one.
    """

    loss: jax.Array
    terms: losses.Terms
    duel: Duel | None = None


def metrics_of(task: Task, value: jax.Array) -> Metrics:
    """Returns the metrics of a task with one value for each: what a sum or a gap begins with."""
    duel = None if task.opponent is None else Duel(value, value)
    return Metrics(value, losses.Terms(*[value] * len(losses.Terms._fields)), duel)
