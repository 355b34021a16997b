"""Classes of ECG5000, GunPoint, ItalyPowerDemand and ArrowHead from latents of their series."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import flax.linen as nn
import numpy as np

from msae_jax import analysis, figures
from msae_jax.config import ModelConfig, TrainConfig
from msae_jax.data import Dataset, Split
from msae_jax.data import series as series_data
from msae_jax.data.options import Options
from msae_jax.experiments.cache import per_seed
from msae_jax.experiments.study import Arrays, Setup, ours_alone
from msae_jax.fitting.ensemble import Ensemble
from msae_jax.recipes import recipe
from msae_jax.results.claims import Claim
from msae_jax.train.evaluation import embed

LATENTS = 16
TS2VEC = {"ECG5000": 0.934, "GunPoint": 0.987, "ItalyPowerDemand": 0.960, "ArrowHead": 0.817}
COMPONENTS = {"ECG5000": 0.936, "GunPoint": 0.960, "ItalyPowerDemand": 0.957, "ArrowHead": 0.834}
"""Of an SVM on 16 principal components, measured before with scikit-learn."""

QUICK_SETS = ("ItalyPowerDemand",)
QUICK_MODELS = ("pca", "pyramid")
MODELS: dict[str, dict[str, Any]] = {
    "pca": {},
    "baseline": {"hidden": [128]},
    "msae": {},
    "pyramid": {},
}
EPOCHS = {"ECG5000": 30}
SMALL_EPOCHS = 150  # of the other sets, which have 36 to 67 series to train on
PROBES = {"svm-cv": "RBF SVM", "linear": "logistic regression", "knn": "5 nearest neighbours"}
"""The classifiers by the names of `analysis.probe`."""

Accuracies = list[dict[str, float]]
"""Of each seed, by classifier."""


def run(setup: Setup, folder: Path) -> tuple[list[Claim], dict[str, Ensemble]]:
    """Trains on each set, and measures the classifiers on raw series and on latents."""
    stated: list[Claim] = []
    trained: dict[str, Ensemble] = {}
    panels: dict[str, dict[str, np.ndarray]] = {}
    for name in QUICK_SETS if setup.quick else TS2VEC:
        samples = read(folder, name)
        dataset = Dataset(name, Split(*samples[:2]), Split(*samples[2:]))
        found: dict[str, Accuracies] = {"raw series": [_accuracies(*samples)]}
        for model in QUICK_MODELS if setup.quick else MODELS:
            run_name = f"series-{name.lower()}-{model}"
            # no seed changes principal components
            own = replace(setup, seeds=1) if model == "pca" else setup
            done = own.train(run_name, _settings(model, name), dataset, brief=True)
            trained[run_name] = done
            found[model] = _measured(setup, run_name, done, samples)
        stated += _claims(setup, name, found)
        panels[name] = {
            features: np.array([one["svm-cv"] for one in rows]) for features, rows in found.items()
        }
    figure = figures.seed_panels(
        panels, TS2VEC, quantity="test accuracy, RBF SVM", source="TS2Vec, published"
    )
    figures.save(figure, setup.out / "series_classes")
    return stated, trained


def read(folder: Path, name: str) -> Arrays:
    """Returns the series `[N, T]` and the classes `[N]` of both splits, as the archive has them."""
    if name == "ECG5000":
        train = series_data.read(folder / "ecg5000" / "ECG5000_TRAIN.txt", Options())
        test = np.load(folder / "ecg5000" / "ECG5000_TEST.npy")
        y_test, x_test = test[:, 0].astype(np.int32), np.ascontiguousarray(test[:, 1:], np.float32)
    else:
        train, rows = (
            series_data.read(folder / "aeon" / name / f"{name}_{part}.ts", Options())
            for part in ("TRAIN", "TEST")
        )
        x_test, y_test = rows.values.reshape(rows.count, -1), np.asarray(rows.labels)
    return Arrays(train.values.reshape(train.count, -1), np.asarray(train.labels), x_test, y_test)


def _settings(model: str, name: str) -> TrainConfig:
    return replace(
        recipe(model),
        model=ModelConfig(model, {"latent_dim": LATENTS, **MODELS[model]}),
        data=name,
        epochs=1 if model == "pca" else EPOCHS.get(name, SMALL_EPOCHS),
        batch_size=32,
    )


def _accuracies(x: np.ndarray, y: np.ndarray, x_test: np.ndarray, y_test: np.ndarray) -> dict:
    return {kind: analysis.probe(x, y, x_test, y_test, kind).accuracy for kind in PROBES}


def _measured(setup: Setup, run_name: str, done: Ensemble, samples: Arrays) -> Accuracies:
    def measure(model: nn.Module, variables: Mapping[str, Any], seed: int) -> dict[str, Any]:
        z, z_test = (embed(model, variables, x) for x in (samples.x, samples.x_test))
        return _accuracies(z, samples.y, z_test, samples.y_test)

    return list(per_seed(setup, run_name, done, measure).values())


def _claims(setup: Setup, name: str, found: Mapping[str, Accuracies]) -> list[Claim]:
    """Returns the claims of a set: the SVM beside what is published, the others as details."""
    stated = []
    for features, rows in found.items():
        what = "raw series" if features == "raw series" else _features(features)
        for kind, classifier in PROBES.items():
            values = [one[kind] for one in rows]
            id = f"series-{name.lower()}-{features.replace(' ', '-')}-{kind}"
            text = f"accuracy of {classifier} on {what}, {name}"
            if kind != "svm-cv":
                stated.append(Claim(id, text, None, "accuracy", values, detail=True))
            elif features == "raw series":
                stated.append(ours_alone(id, text, "accuracy", values))
            elif features == "pca":
                exact = [round(values[0], 3)] * setup.seeds  # as no seed changes it
                why = "the same for every seed; rounded as it was written down"
                stated.append(Claim(id, text, COMPONENTS[name], "accuracy", exact,
                                    source="measured before", why=why))  # fmt: skip
            else:
                why = f"TS2Vec is another model, of 320 features; ours has {LATENTS}"
                stated.append(Claim(id, f"{text}, and TS2Vec", TS2VEC[name], "accuracy", values,
                                    source="Yue et al., AAAI 2022", why=why))  # fmt: skip
    return stated


def _features(model: str) -> str:
    return f"{LATENTS} latents of {figures.label(model)}"
