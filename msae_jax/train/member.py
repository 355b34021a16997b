"""One of many seeds that train together, and what sets it apart."""

from __future__ import annotations

from dataclasses import dataclass, replace

from msae_jax.config import TrainConfig
from msae_jax.errors import unknown_name

SOURCES = ("init", "order", "noise")
"""What a seed decides: the initial weights, the data order, the latent noise."""


@dataclass(frozen=True)
class Member:
    """One of many: a seed, what it decides, and the numbers that may differ between members.

    Attributes:
      vary: `all`, or the one of `SOURCES` that `seed` decides while the others follow the seed of
        the shared configuration.
      learning_rate, beta: instead of the shared configuration's.
    """

    seed: int
    vary: str = "all"
    learning_rate: float | None = None
    beta: float | None = None

    def __post_init__(self) -> None:
        if self.vary not in ("all", *SOURCES):
            raise unknown_name("source of variance", self.vary, ("all", *SOURCES))

    def config(self, settings: TrainConfig) -> TrainConfig:
        """Returns the configuration that trains this member alone, where `vary` is `all`."""
        optimizer, objective = settings.optimizer, settings.objective
        if self.learning_rate is not None:
            optimizer = replace(optimizer, learning_rate=self.learning_rate)
        if self.beta is not None:
            objective = replace(objective, beta=self.beta)
        return replace(settings, seed=self.seed, optimizer=optimizer, objective=objective)
