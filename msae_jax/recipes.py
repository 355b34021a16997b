"""The published training recipe of every model: data, epochs, batch size, objective.

Sources: the four projects that `README.md` names. All use Adam with learning rate 1e-3.
"""

from __future__ import annotations

from dataclasses import replace

from msae_jax.config import ModelConfig, Objective, TrainConfig

_SIGNALS = TrainConfig(data="sines", epochs=20, batch_size=64)
_DIGITS_MLP = TrainConfig(data="mnist", epochs=20, batch_size=64)
_ARCHITECTURES = TrainConfig(data="mnist", epochs=5, batch_size=128)
_FASHION = TrainConfig(
    data="fashion_mnist", epochs=15, batch_size=64, objective=Objective("bernoulli", "sum")
)

RECIPES = {
    "msae": _SIGNALS,
    "baseline": _SIGNALS,
    "msae-mlp": _DIGITS_MLP,
    "baseline-mlp": _DIGITS_MLP,
    "superres": _ARCHITECTURES,
    "conv": _ARCHITECTURES,
    "stacked": _ARCHITECTURES,
    "vae3": _FASHION,
    "vae5": _FASHION,
    "ae5": _FASHION,
}


def recipe(model: str) -> TrainConfig:
    """Returns the published configuration of `model`; `TrainConfig`'s defaults for any other."""
    return replace(RECIPES.get(model, TrainConfig()), model=ModelConfig(model))
