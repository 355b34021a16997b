"""All that the library knows of a model: one record, beside the model's class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import flax.linen as nn

from msae_jax.config import TrainConfig
from msae_jax.data.dataset import Samples
from msae_jax.models.layout import Layout


@dataclass(frozen=True)
class ModelRecord:
    """A model.

    Attributes:
      factory: the linen module class, or a `functools.partial` of it with other defaults.
      layout: how its PyTorch namesake names and arranges the weights; None where it has none.
      recipe: the configuration that trains it, without its name; None for `TrainConfig`'s defaults.
      reference: of the built linen module, returns the `torch.nn.Module` that it is verified
        against; it imports PyTorch itself. The module takes `[B, C, H, W]` or `[B, D]` and returns
        a `msae_jax.models.torch_reference.Result`.
      label: its name in figures and tables; None for the name that it is registered by.
      colour: its colour in figures: a name of `msae_jax.figures.style.PALETTE`, or one of
        Matplotlib's.
      parameters: how many trainable parameters it is known to have at its default sizes.
      fit: of a model with a closed form: of the built linen module and the training samples
        `[N, ...]`, returns its `params`. Every seed then begins with them, and no step changes
        them: an epoch only measures.
    """

    factory: Callable[..., nn.Module]
    layout: Layout | None = None
    recipe: TrainConfig | None = None
    reference: Callable[[Any], Any] | None = None
    label: str | None = None
    colour: str | None = None
    parameters: int | None = None
    fit: Callable[[Any, Samples], dict[str, Any]] | None = None
