"""Autoencoders in JAX/Flax: the models of four published projects, trained, compared, converted.

The public names load on first use, so that `import msae_jax` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from msae_jax.config import EarlyStopping as EarlyStopping
    from msae_jax.config import ModelConfig as ModelConfig
    from msae_jax.config import Objective as Objective
    from msae_jax.config import OptimizerConfig as OptimizerConfig
    from msae_jax.config import TrainConfig as TrainConfig
    from msae_jax.data import Dataset as Dataset
    from msae_jax.data import Split as Split
    from msae_jax.ensemble import fit as fit
    from msae_jax.estimator import AutoencoderEstimator as AutoencoderEstimator
    from msae_jax.inference import embed as embed
    from msae_jax.inference import evaluate as evaluate
    from msae_jax.inference import reconstruct as reconstruct
    from msae_jax.models import build as build
    from msae_jax.models import register as register
    from msae_jax.models.output import Output as Output
    from msae_jax.recipes import recipe as recipe
    from msae_jax.weights import load_weights as load_weights

_HOME = {
    "msae_jax.config": (
        "EarlyStopping",
        "ModelConfig",
        "Objective",
        "OptimizerConfig",
        "TrainConfig",
    ),
    "msae_jax.data": ("Dataset", "Split"),
    "msae_jax.estimator": ("AutoencoderEstimator",),
    "msae_jax.inference": ("embed", "evaluate", "reconstruct"),
    "msae_jax.models": ("build", "register"),
    "msae_jax.models.output": ("Output",),
    "msae_jax.recipes": ("recipe",),
    "msae_jax.ensemble": ("fit",),
    "msae_jax.weights": ("load_weights",),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}
_SUBMODULES = (
    "analysis",
    "checkpoint",
    "compare",
    "config",
    "data",
    "figures",
    "interop",
    "models",
    "recipes",
    "seeds",
    "sweep",
    "train",
)

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULE_OF[name]), name)
