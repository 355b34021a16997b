"""Latents of series as features: forecasts of ETTh1, and classes of four sets of the UCR archive.

Two numbers check the protocols, as no training enters them: the eight digits of "repeat the last
value" on ETTh1, and the accuracy of an SVM on 16 principal components. Beside all latents stand raw
values and principal components of as many dimensions.

Forecasts are those of a ridge regression, of all seven channels alike, each minus its last value.
The autoencoders are trained on the windows of 336 hours that begin at every 8th hour of the
training part; the regressions see all of its windows.

Figures: accuracy by features, error of forecasts by features; a point a seed.
"""

from __future__ import annotations

from pathlib import Path

from msae_jax.experiments import series_features_classes as classes
from msae_jax.experiments import series_features_forecasts as forecasts
from msae_jax.experiments.study import Setup
from msae_jax.fitting.ensemble import Ensemble
from msae_jax.results.claims import Claim

Part = tuple[list[Claim], dict[str, Ensemble]]


def run(setup: Setup, folder: Path) -> Part:
    """Trains on and measures both tasks, and draws a figure of each."""
    stated: list[Claim] = []
    trained: dict[str, Ensemble] = {}
    for task in (forecasts, classes):
        claims, runs = task.run(setup, folder)
        stated += claims
        trained |= runs
    return stated, trained
