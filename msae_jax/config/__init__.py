"""The configuration of a training run: one tree of frozen dataclasses, validated when made.

Every default of the project is visible in `tree`; the published recipes, which differ from it, are
in `msae_jax.recipes`. A configuration goes to JSON and back unchanged (`to_dict`, `from_dict`).
"""

from msae_jax.config.adversarial import Adversarial
from msae_jax.config.metrics import DUEL_METRICS, METRIC_KINDS, METRICS, Metric
from msae_jax.config.tree import (
    LIKELIHOODS,
    EarlyStopping,
    ModelConfig,
    Objective,
    OptimizerConfig,
    TrainConfig,
)
from msae_jax.config.values import (
    differences,
    dotted,
    from_dict,
    override,
    parse_assignment,
    to_dict,
)

__all__ = [
    "DUEL_METRICS",
    "LIKELIHOODS",
    "METRICS",
    "METRIC_KINDS",
    "Adversarial",
    "EarlyStopping",
    "Metric",
    "ModelConfig",
    "Objective",
    "OptimizerConfig",
    "TrainConfig",
    "differences",
    "dotted",
    "from_dict",
    "override",
    "parse_assignment",
    "to_dict",
]
