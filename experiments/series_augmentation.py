"""Augmented series (L-GTA, arXiv 2507.23615): directly, and through the latents of five models.

First the published column of direct transforms of the monthly Tourism series, which no training
enters: it checks the protocol. Then the same transforms in latents. Published strengths are not
matched between methods, and an exact copy would win by every published measure; here every method
moves the series as far as the direct transform of the published strength does, beside an exact
copy, reconstructions without any change, and principal components.

The models see windows of 10 months, each series scaled by its first 160 months, from which training
windows begin every 5 months; the 68 months after them test the predictors. The models have 8
latents a window, as the reconstruction from fewer is already farther from the data than the direct
transforms; `lgta` has 4 a month, 40 a window, as published.

Figures: augmented beside original series, effect against strength, and the PCA-2 ratio by method.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from msae_jax import models
from msae_jax.analysis import augmentation as aug
from msae_jax.config import ModelConfig, TrainConfig
from msae_jax.experiments import series_augmentation_figures as drawings
from msae_jax.experiments import series_augmentation_published as published
from msae_jax.experiments import series_augmentation_tourism as tourism
from msae_jax.experiments.cache import cached, per_seed
from msae_jax.experiments.series_augmentation_measures import Found, Protocol
from msae_jax.experiments.study import Setup
from msae_jax.fitting.ensemble import Ensemble
from msae_jax.recipes import recipe
from msae_jax.results.claims import Claim

MODELS: dict[str, dict[str, Any]] = {
    "pca": {"latent_dim": 8},
    "baseline": {"latent_dim": 8, "hidden": [128]},
    "msae": {"latent_dim": 8},
    "pyramid": {"latent_dim": 8, "pools": [5, 2, 1]},
    "lgta": {"step_dim": 4},
}
PLAIN = "lgta without equivariance"
QUICK_MODELS = ("pca", "pyramid")
TRAINED_EPOCHS = 15
EPOCHS = {"pca": 1, "lgta": 40}  # the KL term of lgta rises over 30
DIRECT_SEEDS = 10

Part = tuple[list[Claim], dict[str, Ensemble]]
BySeed = list[dict[str, Found]]
"""Of each seed, by transform, what was measured; `reconstruction` has strength 0."""


def run(setup: Setup, folder: Path) -> Part:
    """Measures the direct transforms, trains the models, and compares all methods."""
    x = tourism.read(folder)
    stated = _direct_column(setup, x)
    protocol = _protocol(setup, x)
    dataset = tourism.dataset(x)
    trained = {
        name: setup.train(
            f"series-tourism-{name.replace(' ', '-')}",
            settings,
            dataset,
            brief=name not in ("lgta", PLAIN),  # these take minutes: they keep their checkpoints
        )
        for name, settings in _settings(setup).items()
    }
    found = _controls(setup, protocol)
    for name, done in trained.items():
        found[name] = _through_latents(setup, name, done, protocol)
    stated += published.of_lgta(found.get("lgta"), found.get(PLAIN), found["direct"])
    stated += published.of_methods(found, protocol.targets)
    drawings.draw(setup, protocol, found, trained)
    runs = {f"series-tourism-{name.replace(' ', '-')}": done for name, done in trained.items()}
    return stated, runs


def _direct_column(setup: Setup, x: np.ndarray) -> list[Claim]:
    """Returns the claims of the direct transforms of all 228 months, in the published strength."""
    count = min(setup.seeds, DIRECT_SEEDS) if setup.quick else DIRECT_SEEDS
    stated = []
    for name in tourism.STRENGTHS:
        changed, rows = jax.jit(tourism.direct(name)), []
        for seed in range(count):
            moved = np.asarray(changed(jax.random.key(seed), x, 1.0))
            spread = aug.spread(aug.wasserstein(x, moved))
            rows.append((*spread, aug.pca_ratio(tourism.by_month(x), tourism.by_month(moved))))
        stated += published.of_direct(name, np.array(rows))
    return stated


def _protocol(setup: Setup, x: np.ndarray) -> Protocol:
    """Returns the protocol whose distances are those of the direct transforms, mean over seeds."""
    train, test = np.split(x, [tourism.TRAIN_MONTHS], axis=1)
    names = list(tourism.STRENGTHS)[: 1 if setup.quick else None]
    targets = {}
    for name in names:
        changed = jax.jit(tourism.direct(name))
        moved = [np.asarray(changed(jax.random.key(s), train, 1.0)) for s in range(setup.seeds)]
        medians = [aug.spread(aug.wasserstein(train, made)).median for made in moved]
        targets[name] = float(np.mean(medians))
    return Protocol(train, test, targets)


def _settings(setup: Setup) -> dict[str, TrainConfig]:
    """Returns the configurations of the models that the library has."""
    chosen = {}
    for name, options in MODELS.items():
        if name in models.names() and (name in QUICK_MODELS or not setup.quick):
            settings = replace(
                recipe(name),
                model=ModelConfig(name, options),
                data="tourism",
                epochs=EPOCHS.get(name, TRAINED_EPOCHS),
                batch_size=64,
            )
            chosen[name] = settings
            if name == "lgta":
                objective = replace(settings.objective, equivariance=0.0)
                chosen[PLAIN] = replace(settings, objective=objective)
    return chosen


def _controls(setup: Setup, protocol: Protocol) -> dict[str, BySeed]:
    """Returns what an exact copy and the direct transforms do."""
    settings = _described(protocol)
    copy = cached(setup, "series-tourism-copy", lambda: protocol.compare(protocol.x, 0), settings)
    direct = [
        cached(
            setup,
            f"series-tourism-direct/seed-{seed}",
            lambda seed=seed: {
                name: protocol.measure(tourism.direct(name), name, seed)
                for name in protocol.targets
            },
            settings,
        )
        for seed in range(setup.seeds)
    ]
    return {"copy": [{"reconstruction": copy}], "direct": direct}


def _through_latents(setup: Setup, name: str, done: Ensemble, protocol: Protocol) -> BySeed:
    windows = tourism.windows_of(protocol.x, protocol.scale)

    def measure(model: nn.Module, variables: Mapping[str, Any], seed: int) -> dict[str, Any]:
        codec = aug.model_codec(model, variables, windows)
        kept = tourism.through(codec, protocol.scale, "identity")
        unchanged = np.asarray(aug.compiled(kept)(jax.random.key(seed), protocol.x, 0.0))
        found = {"reconstruction": protocol.compare(unchanged, seed)}
        for transform in protocol.targets:
            through = tourism.through(codec, protocol.scale, transform)
            found[transform] = protocol.measure(through, transform, seed)
        return found

    run_name = f"series-tourism-{name.replace(' ', '-')}"
    return list(per_seed(setup, run_name, done, measure, _described(protocol)).values())


def _described(protocol: Protocol) -> str:
    return json.dumps({name: round(value, 9) for name, value in protocol.targets.items()})
