"""Controls that make a comparison fair: one model resized to another's latent or parameters."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import flax.linen as nn

from msae_jax import models
from msae_jax.config import ModelConfig
from msae_jax.errors import InputError, unknown_name

_WIDTHS = ("hidden", "small_hidden", "large_hidden", "channels", "decoder_channels")
"""The fields that hold widths, in every model that has them."""


def match(
    model: ModelConfig, target: ModelConfig, what: str, sample_shape: tuple[int, ...]
) -> ModelConfig:
    """Returns `model` resized to `target`.

    Args:
      what: `latent` gives it the same `latent_dim`; `params` scales all its widths by one factor,
        rounded to whole numbers, so that its parameters come as close as they can.

    Raises:
      InputError: the model has no such field, or `what` is neither.
    """
    built, wanted = (models.build(c, sample_shape) for c in (model, target))
    if what == "latent":
        if not all(hasattr(m, "latent_dim") for m in (built, wanted)):
            raise InputError(f"{model.name} and {target.name} do not both have a latent_dim.")
        return _with(model, {"latent_dim": wanted.latent_dim})
    if what != "params":
        raise unknown_name("match", what, ("params", "latent"))
    widths = _widths(built)
    if not widths:
        raise InputError(f"{model.name} has no field of widths to scale: {', '.join(_WIDTHS)}.")
    goal = models.parameter_count(wanted, sample_shape)

    def scaled(factor: float) -> ModelConfig:
        return _with(model, {name: _scale(value, factor) for name, value in widths.items()})

    counts: dict[str, int] = {}

    def count(factor: float) -> int:
        resized = scaled(factor)
        key = repr(resized)  # many factors round to the same widths
        if key not in counts:
            built = models.build(resized, sample_shape)
            counts[key] = models.parameter_count(built, sample_shape)
        return counts[key]

    low, high = 1e-3, 1.0
    while count(high) < goal:
        high *= 2
    while high - low > 1e-4 * high:
        middle = math.sqrt(low * high)
        low, high = (middle, high) if count(middle) < goal else (low, middle)
    return scaled(min((low, high), key=lambda factor: abs(count(factor) - goal)))


def _widths(model: nn.Module) -> dict[str, Any]:
    fields = [f.name for f in dataclasses.fields(model) if f.name in _WIDTHS]
    return {name: getattr(model, name) for name in fields}


def _scale(value: Any, factor: float) -> Any:
    if isinstance(value, tuple):
        return [_scale(v, factor) for v in value]
    return max(1, round(value * factor))


def _with(model: ModelConfig, options: dict[str, Any]) -> ModelConfig:
    return dataclasses.replace(model, options={**model.options, **options})
