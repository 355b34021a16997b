"""Autoencoders in JAX/Flax: the models of four published projects, trained, compared, converted.

The public names load on first use, so that `import msae_jax` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str
    from msae_jax.config import EarlyStopping as EarlyStopping
    from msae_jax.config import ModelConfig as ModelConfig
    from msae_jax.config import Objective as Objective
    from msae_jax.config import OptimizerConfig as OptimizerConfig
    from msae_jax.config import TrainConfig as TrainConfig
    from msae_jax.data import Dataset as Dataset
    from msae_jax.data import Split as Split
    from msae_jax.detector import AnomalyDetector as AnomalyDetector
    from msae_jax.estimator import AutoencoderEstimator as AutoencoderEstimator
    from msae_jax.fitting.callbacks import Callback as Callback
    from msae_jax.fitting.loop import fit as fit
    from msae_jax.fitting.range_test import range_test as range_test
    from msae_jax.models import build as build
    from msae_jax.models import register as register
    from msae_jax.models.output import Output as Output
    from msae_jax.recipes import recipe as recipe
    from msae_jax.train.evaluation import embed as embed
    from msae_jax.train.evaluation import evaluate as evaluate
    from msae_jax.train.evaluation import reconstruct as reconstruct
    from msae_jax.weights import load_weights as load_weights

_HOME = {  # public name: the module that it comes from, and its name there; None: the module
    "AnomalyDetector": ("detector", "AnomalyDetector"),
    "AutoencoderEstimator": ("estimator", "AutoencoderEstimator"),
    "Callback": ("fitting.callbacks", "Callback"),
    "Dataset": ("data", "Dataset"),
    "EarlyStopping": ("config", "EarlyStopping"),
    "ModelConfig": ("config", "ModelConfig"),
    "Objective": ("config", "Objective"),
    "OptimizerConfig": ("config", "OptimizerConfig"),
    "Output": ("models.output", "Output"),
    "Split": ("data", "Split"),
    "TrainConfig": ("config", "TrainConfig"),
    "analysis": ("analysis", None),
    "build": ("models", "build"),
    "checkpoint": ("runs.checkpoint", None),
    "compare": ("results.compare", None),
    "config": ("config", None),
    "data": ("data", None),
    "embed": ("train.evaluation", "embed"),
    "evaluate": ("train.evaluation", "evaluate"),
    "export": ("export", None),
    "figures": ("figures", None),
    "fit": ("fitting.loop", "fit"),
    "generation": ("generation", None),
    "interop": ("interop", None),
    "load_weights": ("weights", "load_weights"),
    "models": ("models", None),
    "range_test": ("fitting.range_test", "range_test"),
    "recipe": ("recipes", "recipe"),
    "recipes": ("recipes", None),
    "reconstruct": ("train.evaluation", "reconstruct"),
    "register": ("models", "register"),
    "seeds": ("train.seeds", None),
    "sweep": ("fitting.sweep", None),
    "trackers": ("trackers", None),
    "train": ("train", None),
    "tuning": ("fitting.tuning", None),
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib import metadata

        return metadata.version("msae-jax")
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _HOME[name]
    found = importlib.import_module(f"{__name__}.{module}")
    return found if attribute is None else getattr(found, attribute)


def __dir__() -> list[str]:
    return [*__all__, "__version__", *(name for name in globals() if name.startswith("__"))]
