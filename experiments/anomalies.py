"""Anomalies: a 3-layer VAE is trained without one digit, which is then the anomaly.

Its score is the error of the reconstruction; the threshold is the 95% quantile of training normals.
A part of the study `applications`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import flax.linen as nn
import numpy as np

from msae_jax import analysis, figures
from msae_jax.data import Dataset, Split
from msae_jax.experiments.cache import per_seed
from msae_jax.experiments.study import Arrays, Setup, captions, ours_alone
from msae_jax.fitting.ensemble import Ensemble
from msae_jax.recipes import recipe
from msae_jax.results.claims import Claim
from msae_jax.train.evaluation import reconstruct

DIGITS = (1, 4, 8)
"""Each is held out once."""
DETECTOR = replace(recipe("vae3"), data="mnist", epochs=5)
NORMALS = 10_000  # training images that choose the threshold


def run(setup: Setup, data_name: str, arrays: Arrays) -> tuple[list[Claim], dict[str, Ensemble]]:
    """Trains a detector for each digit; measures, draws, and returns the claims and the runs."""
    stated: list[Claim] = []
    trained: dict[int, Ensemble] = {}
    areas: dict[str, np.ndarray] = {}
    for digit in DIGITS:
        trained[digit] = _train(setup, data_name, arrays, digit)
        found = _measure(setup, trained[digit], arrays, digit)
        stated += _claims(found, digit, share=np.mean(arrays.y_test == digit))
        areas[f"{digit} held out"] = np.array([one["mse"]["auroc"] for one in found.values()])
    figure = figures.seed_points(areas, quantity="AUROC", unit="area; 0.5 by guessing")
    figures.save(figure, setup.out / "anomaly_auroc")
    _draw(setup, trained, arrays)
    return stated, {f"without-{digit}": done for digit, done in trained.items()}


def _train(setup: Setup, data_name: str, arrays: Arrays, digit: int) -> Ensemble:
    """Trains on all images but those of one digit."""
    x, y, x_test, y_test = arrays
    train, test = y != digit, y_test != digit
    held = Dataset(
        f"{data_name} without {digit}",
        Split(x[train], y[train]),
        Split(x_test[test], y_test[test]),
    )
    return setup.train(f"without-{digit}", replace(DETECTOR, data=held.name), held)


def _measure(setup: Setup, done: Ensemble, arrays: Arrays, digit: int) -> dict[int, Any]:
    """Returns, by seed and score, how well the score tells the held-out digit from the others."""
    normal = arrays.x[arrays.y != digit][:NORMALS]
    is_anomaly = arrays.y_test == digit

    def measure(model: nn.Module, variables: Mapping[str, Any], seed: int) -> dict[str, Any]:
        found = {}
        for score in ("mse", "nats", "latent"):
            reference = normal if score == "latent" else None
            of_normal, of_test = (
                analysis.anomaly_scores(model, variables, x, score, normal=reference)
                for x in (normal, arrays.x_test)
            )
            bar = analysis.threshold(of_normal)
            found[score] = analysis.detection(of_test, is_anomaly, bar)._asdict()
        return found

    return per_seed(setup, f"without-{digit}", done, measure)


def _claims(found: Mapping[int, Any], digit: int, share: float) -> list[Claim]:
    rows = (
        ("mse", "auroc", "AUROC by reconstruction error", "area"),
        ("mse", "auprc", "AUPRC by reconstruction error", "area"),
        ("mse", "recall", "anomalies above the threshold", "fraction"),
        ("mse", "false_positive_rate", "normal test images above the threshold", "fraction"),
        ("nats", "auroc", "AUROC by negative ELBO", "area"),
        ("latent", "auroc", "AUROC by distance of the latent", "area"),
    )
    guessing = f"by guessing {share:.3f}, the share of anomalies"
    stated = []
    for score, key, text, unit in rows:
        id = f"anomaly-{digit}-{key}" if score == "mse" else f"anomaly-{digit}-{score}-{key}"
        values = [one[score][key] for one in found.values()]
        why = guessing if key == "auprc" else ""
        stated.append(ours_alone(id, f"{text}, {digit} held out", unit, values, why))
    return stated


def _draw(setup: Setup, trained: Mapping[int, Ensemble], arrays: Arrays) -> None:
    """Draws five normal and five anomalous test images, and what seed 0 makes of them."""
    rows: dict[str, np.ndarray] = {}
    errors: dict[str, np.ndarray] = {}
    for digit, done in trained.items():
        is_anomaly = arrays.y_test == digit
        shown = np.concatenate([arrays.x_test[~is_anomaly][:5], arrays.x_test[is_anomaly][:5]])
        recon = reconstruct(done.model, done.variables(0), shown)
        rows[f"5 normal, 5 of {digit}"] = shown / 255.0
        name = f"reconstructed, trained without {digit}"
        rows[name] = recon
        errors[name] = np.square(recon - shown / 255.0).reshape(len(shown), -1).mean(axis=1)
    figures.save(figures.image_rows(rows, captions=captions(errors)), setup.out / "anomalies")
