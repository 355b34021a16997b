"""The published training recipe of every model: data, epochs, batch size, objective.

Each stands in its model's record, in `msae_jax.models`; all use Adam with learning rate 1e-3.
Sources: the four projects that `docs/reference/models.md` names.
"""

from __future__ import annotations

from dataclasses import replace

from msae_jax import models
from msae_jax.config import TrainConfig


def published() -> list[str]:
    """Returns the names of the models that have a recipe."""
    return [name for name in models.names() if models.record(name).recipe is not None]


def recipe(model: str) -> TrainConfig:
    """Returns the recipe of a model; `TrainConfig`'s defaults where it has none.

    Raises:
      InputError: there is no such model.
    """
    settings = models.record(model).recipe or TrainConfig()
    return replace(settings, model=replace(settings.model, name=model))
