"""What the originals name as applications, on MNIST: anomalies, noise, features, classes.

    msae reproduce applications --seeds 3          about 9 minutes on two CPU cores

The originals publish no numbers for any of it: ours stand alone.

- anomalies: a 3-layer VAE is trained without one digit, which is then the anomaly. Its score is
  the error of the reconstruction; the threshold is the 95% quantile of training normals.
- denoising: an autoencoder trained on images with noise of standard deviation 0.3, its loss against
  the clean ones; beside it one that was trained on clean images.
- features: a scikit-learn pipeline whose features are latents, against pixels and PCA.
- conditional: a VAE given the class; a k-NN classifier of real images says whether its samples
  belong to the class that was asked for.

Expected: AUROC 0.93 (8 held out), 0.87 (4) and 0.34 (1: thin strokes are easy for every decoder);
noise of MSE 0.090 comes down to 0.0084, to 0.017 by an autoencoder that saw none; accuracy 89.9%
on 32 latents, 89.8% on PCA, 90.8% on pixels; 80% of conditional samples are of their class.

Figures: AUROC by digit, anomalies, denoising and its errors, features, conditional samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import flax.linen as nn
import numpy as np

from msae_jax import analysis, figures
from msae_jax.claims import Claim
from msae_jax.config import ModelConfig, Objective
from msae_jax.data import Dataset, Split
from msae_jax.ensemble import Ensemble
from msae_jax.experiments.cache import cached, per_seed
from msae_jax.experiments.study import Setup, final_claim
from msae_jax.inference import reconstruct
from msae_jax.models.conditional import with_classes
from msae_jax.recipes import recipe

ANOMALIES = (1, 4, 8)
DETECTOR = replace(recipe("vae3"), data="mnist", epochs=5)
NOISE = 0.3
PLAIN = replace(
    recipe("baseline-mlp"), model=ModelConfig("baseline-mlp", {"output": "sigmoid"}), epochs=10
)
DENOISER = replace(PLAIN, objective=Objective(noise_std=NOISE))
DIMENSIONS = 32  # of the features, by the autoencoder as by PCA
FEATURE_EPOCHS = 20
CONDITIONAL = replace(
    recipe("vae3"), data="mnist", model=ModelConfig("msae_jax.models.conditional:ConditionalVae")
)
DRAWN = 10_000  # training images that classifiers see, drawn anew for each seed
PER_CLASS = 100  # conditional samples of each class, ten of which are shown

Variables = Mapping[str, Any]
Part = tuple[list[Claim], dict[str, Ensemble]]


def reproduce(setup: Setup) -> list[Claim]:
    """Trains and measures all four applications."""
    dataset = setup.dataset(DETECTOR)
    stated: list[Claim] = []
    trained: dict[str, Ensemble] = {}
    for part in (_anomalies, _denoising, _features, _conditional):
        claims, runs = part(setup, dataset)
        stated += claims
        trained |= runs
    return setup.finish("applications", stated, trained)


def _anomalies(setup: Setup, dataset: Dataset) -> Part:
    stated, trained = [], {}
    areas: dict[str, np.ndarray] = {}
    rows: dict[str, np.ndarray] = {}
    captions: dict[str, list[str]] = {}
    (x, y), (x_test, y_test) = _arrays(dataset)
    for digit in ANOMALIES:
        normal, normal_test = y != digit, y_test != digit
        held = Dataset(
            f"{dataset.name} without {digit}",
            Split(x[normal], y[normal]),
            Split(x_test[normal_test], y_test[normal_test]),
        )
        name = f"without-{digit}"
        done = trained[name] = setup.train(name, replace(DETECTOR, data=held.name), held)
        train_x = x[normal][:DRAWN]

        def measure(
            model: nn.Module, variables: Variables, seed: int, train_x: np.ndarray = train_x,
            positive: np.ndarray = ~normal_test,
        ) -> dict[str, Any]:  # fmt: skip
            found = {}
            for score in ("mse", "nats", "latent"):
                reference = train_x if score == "latent" else None
                own, other = (
                    analysis.anomaly_scores(model, variables, a, score, normal=reference)
                    for a in (train_x, x_test)
                )
                bar = analysis.threshold(own)
                found[score] = analysis.detection(other, positive, bar)._asdict()
            return found

        found = per_seed(setup, name, done, measure)
        by_error = [values["mse"] for values in found.values()]
        guessing = f"by guessing {np.mean(~normal_test):.3f}, the share of anomalies"
        for key, text, unit in (
            ("auroc", "AUROC by reconstruction error", "area"),
            ("auprc", "AUPRC by reconstruction error", "area"),
            ("recall", "anomalies above the threshold", "fraction"),
            ("false_positive_rate", "normal test images above the threshold", "fraction"),
        ):
            values = [one[key] for one in by_error]
            stated.append(
                _claim(
                    f"anomaly-{digit}-{key}",
                    f"{text}, {digit} held out",
                    unit,
                    values,
                    why=guessing if key == "auprc" else "",
                )
            )
        for score, text in (("nats", "negative ELBO"), ("latent", "distance of the latent")):
            values = [one[score]["auroc"] for one in found.values()]
            statement = f"AUROC by {text}, {digit} held out"
            stated.append(_claim(f"anomaly-{digit}-{score}-auroc", statement, "area", values))
        areas[f"{digit} held out"] = np.array([one["auroc"] for one in by_error])
        shown = np.concatenate([x_test[normal_test][:5], x_test[~normal_test][:5]])
        recon = reconstruct(done.model, done.variables(0), shown)
        rows[f"5 normal, 5 of {digit}"] = shown / 255.0
        rows[f"reconstructed, trained without {digit}"] = recon
        captions[f"reconstructed, trained without {digit}"] = _errors(recon, shown / 255.0)
    figure = figures.seed_points(areas, quantity="AUROC", unit="area; 0.5 by guessing")
    figures.save(figure, setup.out / "anomaly_auroc")
    figures.save(figures.image_rows(rows, captions=captions), setup.out / "anomalies")
    return stated, trained


def _denoising(setup: Setup, dataset: Dataset) -> Part:
    x_test = _arrays(dataset)[1][0].astype(np.float32) / 255

    def corrupted(seed: int) -> np.ndarray:
        noise = np.random.default_rng(seed).standard_normal(x_test.shape, np.float32)
        return x_test + NOISE * noise

    def measure(model: nn.Module, variables: Variables, seed: int) -> dict[str, Any]:
        inputs = {"corrupted": corrupted(seed), "clean": x_test}
        return {
            name: float(np.square(reconstruct(model, variables, x) - x_test).mean(dtype=np.float64))
            for name, x in inputs.items()
        }

    labels = {"denoiser": "trained on corrupted images", "plain": "trained on clean images"}
    kinds = {"denoiser": "denoising", "plain": "plain"}
    settings = {"denoiser": DENOISER, "plain": PLAIN}
    trained = {name: setup.train(name, settings[name]) for name in settings}
    own = [float(np.square(corrupted(seed) - x_test).mean()) for seed in range(setup.seeds)]
    stated = [_claim("corrupted-mse", "corrupted test images", "MSE per pixel", own)]
    errors = {"corrupted": np.array(own)}
    rows = {"clean": x_test[:10], "corrupted": np.clip(corrupted(0)[:10], 0, 1)}
    captions = {}
    for name, done in trained.items():
        found = per_seed(setup, name, done, measure)
        for given in ("corrupted", "clean"):
            values = [one[given] for one in found.values()]
            text = f"autoencoder {labels[name]}, given {given} test images"
            stated.append(_claim(f"{name}-{given}-mse", text, "MSE per pixel", values))
        row = f"autoencoder, {kinds[name]}"
        errors[row] = np.array([v["corrupted"] for v in found.values()])
        rows[row] = reconstruct(done.model, done.variables(0), corrupted(0)[:10])
        captions[row] = _errors(rows[row], x_test[:10])
    figure = figures.seed_points(
        errors, quantity="error against clean test images", unit="MSE per pixel"
    )
    figures.save(figure, setup.out / "denoising_errors")
    figures.save(figures.image_rows(rows, captions=captions), setup.out / "denoising")
    return stated, trained


def _features(setup: Setup, dataset: Dataset) -> Part:
    (x, y), (x_test, y_test) = _arrays(dataset)
    x_test = _pixels(x_test)
    epochs = min(FEATURE_EPOCHS, 2) if setup.quick else FEATURE_EPOCHS

    def measure(seed: int) -> dict[str, float]:
        chosen = _draw(len(x), seed)
        fitted = {
            name: pipeline.fit(_pixels(x[chosen]), y[chosen])
            for name, pipeline in _pipelines(seed, epochs).items()
        }
        return {name: 100 * float(fit.score(x_test, y_test)) for name, fit in fitted.items()}

    found = [
        cached(setup, f"features/seed-{seed}", lambda seed=seed: measure(seed), f"{epochs} epochs")
        for seed in range(setup.seeds)
    ]
    accuracies = {name: np.array([one[name] for one in found]) for name in found[0]}
    figure = figures.seed_points(accuracies, quantity="test accuracy", unit="percent")
    figures.save(figure, setup.out / "features")
    stated = [
        _claim(
            f"features-{name.split(',')[0].replace(' ', '-')}",
            f"logistic regression on {name}",
            "percent",
            values.tolist(),
        )
        for name, values in accuracies.items()
    ]
    return stated, {}


def _pipelines(seed: int, epochs: int) -> dict[str, Any]:
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from msae_jax.estimator import AutoencoderEstimator

    latents = AutoencoderEstimator(
        "stacked",
        options={"hidden": [400]},
        latent_dim=DIMENSIONS,
        epochs=epochs,
        random_state=seed,
    )
    features = {
        "pixels": [],
        f"PCA, {DIMENSIONS} components": [PCA(DIMENSIONS, random_state=seed), StandardScaler()],
        f"autoencoder, {DIMENSIONS} latents": [latents, StandardScaler()],
    }
    return {
        name: make_pipeline(*steps, LogisticRegression(max_iter=1000))
        for name, steps in features.items()
    }


def _conditional(setup: Setup, dataset: Dataset) -> Part:
    (x, y), (x_test, y_test) = _arrays(dataset)
    pairs = Dataset(
        f"{dataset.name} with classes",
        Split(with_classes(x, y), y),
        Split(with_classes(x_test, y_test), y_test),
    )
    done = setup.train("conditional", replace(CONDITIONAL, data=pairs.name), pairs)
    asked = np.repeat(np.arange(10), PER_CLASS)

    def samples(model: Any, variables: Variables, seed: int) -> np.ndarray:
        normal = np.random.default_rng(seed).standard_normal((len(asked), model.latent_dim))
        z = with_classes(normal.astype(np.float32), asked)
        return analysis.decode(model, variables, z)

    def measure(model: nn.Module, variables: Variables, seed: int) -> dict[str, Any]:
        chosen = _draw(len(x), seed)
        real = _pixels(x[chosen]), y[chosen]
        made = analysis.probe(*real, samples(model, variables, seed), asked)
        test = analysis.probe(*real, _pixels(x_test), y_test)
        return {"samples": 100 * made.accuracy, "real": 100 * test.accuracy}

    found = per_seed(setup, "conditional", done, measure)
    text = "test negative ELBO of the image given its class"
    stated = [final_claim("conditional-nats", text, done, "test_nats", None, "nats per sample")]
    for key, text in (("samples", "class-conditioned samples"), ("real", "real test images")):
        values = [one[key] for one in found.values()]
        statement = f"5-nearest-neighbour accuracy on {text}"
        stated.append(_claim(f"conditional-{key}", statement, "percent", values))
    images = samples(done.model, done.variables(0), 0).reshape(10, PER_CLASS, *x.shape[1:])
    rows = {str(digit): images[digit, :10] for digit in range(10)}
    figures.save(figures.image_rows(rows), setup.out / "conditional_samples")
    return stated, {"conditional": done}


def _claim(id: str, statement: str, unit: str, values: list[float], why: str = "") -> Claim:
    return Claim(id, statement, None, unit, values, why=why)


def _errors(recon: np.ndarray, x: np.ndarray) -> list[str]:
    each = np.square(recon - x).reshape(len(x), -1).mean(axis=1)
    return [f"MSE {error:.4f}" for error in each]


def _arrays(dataset: Dataset) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    splits = dataset.train, dataset.test
    return tuple((np.asarray(split.x), np.asarray(split.y)) for split in splits)


def _pixels(x: np.ndarray) -> np.ndarray:
    """Returns images `[N, ...]` of uint8 as float32 `[N, D]` in [0, 1]."""
    return x.reshape(len(x), -1).astype(np.float32) / 255


def _draw(n: int, seed: int) -> np.ndarray:
    """Returns the training images of a seed: `DRAWN` indices below n, or all."""
    return np.random.default_rng(seed).permutation(n)[:DRAWN]
