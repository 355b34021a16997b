"""What the originals name as applications, on MNIST: anomalies, noise, features, classes.

    msae reproduce applications --seeds 3          about 9 minutes on two CPU cores

The originals publish no numbers for any of it: ours stand alone.

- anomalies: a 3-layer VAE is trained without one digit, which is then the anomaly; see
  `experiments.anomalies`.
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
from msae_jax.config import ModelConfig, Objective
from msae_jax.data import Dataset, Split
from msae_jax.experiments import anomalies
from msae_jax.experiments.cache import cached, per_seed
from msae_jax.experiments.study import (
    Arrays,
    Setup,
    arrays,
    captions,
    final_claim,
    ours_alone,
)
from msae_jax.fitting.ensemble import Ensemble
from msae_jax.models.conditional import with_classes
from msae_jax.recipes import recipe
from msae_jax.results.claims import Claim
from msae_jax.train.evaluation import reconstruct

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
CLASSES = np.repeat(np.arange(10), PER_CLASS)
DENOISING_ROWS = {"denoiser": "denoising", "plain": "plain"}

Variables = Mapping[str, Any]
Part = tuple[list[Claim], dict[str, Ensemble]]
Found = dict[int, Any]
"""What was measured, by seed."""


def reproduce(setup: Setup) -> list[Claim]:
    """Trains and measures all four applications."""
    dataset = setup.dataset(anomalies.DETECTOR)
    samples = arrays(dataset)
    parts = (
        anomalies.run(setup, dataset.name, samples),
        _denoising(setup, samples.x_test.astype(np.float32) / 255),
        _features(setup, samples),
        _conditional(setup, dataset.name, samples),
    )
    stated = [claim for claims, _ in parts for claim in claims]
    trained = {name: done for _, runs in parts for name, done in runs.items()}
    return setup.finish("applications", stated, trained)


def _denoising(setup: Setup, x_test: np.ndarray) -> Part:
    trained = {"denoiser": setup.train("denoiser", DENOISER), "plain": setup.train("plain", PLAIN)}
    seeds = range(setup.seeds)
    noisy = [float(np.square(_corrupted(x_test, seed) - x_test).mean()) for seed in seeds]
    found = {name: _measure_denoiser(setup, name, done, x_test) for name, done in trained.items()}
    errors = {"corrupted": np.array(noisy)}
    stated = [ours_alone("corrupted-mse", "corrupted test images", "MSE per pixel", noisy)]
    for name, images in (("denoiser", "corrupted"), ("plain", "clean")):
        for given in ("corrupted", "clean"):
            values = [one[given] for one in found[name].values()]
            text = f"autoencoder trained on {images} images, given {given} test images"
            stated.append(ours_alone(f"{name}-{given}-mse", text, "MSE per pixel", values))
        by_seed = [one["corrupted"] for one in found[name].values()]
        errors[f"autoencoder, {DENOISING_ROWS[name]}"] = np.array(by_seed)
    quantity = "error against clean test images"
    figure = figures.seed_points(errors, quantity=quantity, unit="MSE per pixel")
    figures.save(figure, setup.out / "denoising_errors")
    _draw_denoising(setup, trained, x_test)
    return stated, trained


def _corrupted(x: np.ndarray, seed: int) -> np.ndarray:
    """Returns float32 images with the Gaussian noise of a seed added."""
    noise = np.random.default_rng(seed).standard_normal(x.shape, np.float32)
    return x + NOISE * noise


def _measure_denoiser(setup: Setup, name: str, done: Ensemble, x_test: np.ndarray) -> Found:
    """Returns, by seed, the error against clean images from corrupted and from clean images."""

    def measure(model: nn.Module, variables: Variables, seed: int) -> dict[str, Any]:
        inputs = {"corrupted": _corrupted(x_test, seed), "clean": x_test}
        return {
            given: float(
                np.square(reconstruct(model, variables, x) - x_test).mean(dtype=np.float64)
            )
            for given, x in inputs.items()
        }

    return per_seed(setup, name, done, measure)


def _draw_denoising(setup: Setup, trained: Mapping[str, Ensemble], x_test: np.ndarray) -> None:
    """Draws ten test images: clean, corrupted, and reconstructed by seed 0 of each model."""
    clean, corrupted = x_test[:10], _corrupted(x_test, 0)[:10]
    rows = {"clean": clean, "corrupted": np.clip(corrupted, 0, 1)}
    errors = {}
    for name, done in trained.items():
        row = f"autoencoder, {DENOISING_ROWS[name]}"
        rows[row] = reconstruct(done.model, done.variables(0), corrupted)
        errors[row] = np.square(rows[row] - clean).reshape(len(clean), -1).mean(axis=1)
    figures.save(figures.image_rows(rows, captions=captions(errors)), setup.out / "denoising")


def _features(setup: Setup, samples: Arrays) -> Part:
    epochs = min(FEATURE_EPOCHS, 2) if setup.quick else FEATURE_EPOCHS
    found = [
        cached(
            setup,
            f"features/seed-{seed}",
            lambda seed=seed: _measure_features(samples, seed, epochs),
            f"{epochs} epochs",
        )
        for seed in range(setup.seeds)
    ]
    accuracies = {name: np.array([one[name] for one in found]) for name in found[0]}
    figure = figures.seed_points(accuracies, quantity="test accuracy", unit="percent")
    figures.save(figure, setup.out / "features")
    stated = []
    for name, values in accuracies.items():
        id = f"features-{name.split(',')[0].replace(' ', '-')}"
        statement = f"logistic regression on {name}"
        stated.append(ours_alone(id, statement, "percent", values.tolist()))
    return stated, {}


def _measure_features(samples: Arrays, seed: int, epochs: int) -> dict[str, float]:
    """Returns the test accuracy in percent on each kind of feature."""
    chosen = _draw(len(samples.x), seed)
    x, y, x_test = _pixels(samples.x[chosen]), samples.y[chosen], _pixels(samples.x_test)
    fitted = {name: steps.fit(x, y) for name, steps in _pipelines(seed, epochs).items()}
    return {name: 100 * float(fit.score(x_test, samples.y_test)) for name, fit in fitted.items()}


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


def _conditional(setup: Setup, data_name: str, samples: Arrays) -> Part:
    x, y, x_test, y_test = samples
    pairs = Dataset(
        f"{data_name} with classes",
        Split(with_classes(x, y), y),
        Split(with_classes(x_test, y_test), y_test),
    )
    done = setup.train("conditional", replace(CONDITIONAL, data=pairs.name), pairs)
    found = _measure_conditional(setup, done, samples)
    text = "test negative ELBO of the image given its class"
    stated = [final_claim("conditional-nats", text, done, "test_nats", None, "nats per sample")]
    for key, text in (("samples", "class-conditioned samples"), ("real", "real test images")):
        values = [one[key] for one in found.values()]
        statement = f"5-nearest-neighbour accuracy on {text}"
        stated.append(ours_alone(f"conditional-{key}", statement, "percent", values))
    images = _samples(done.model, done.variables(0), 0).reshape(10, PER_CLASS, *x.shape[1:])
    rows = {str(digit): images[digit, :10] for digit in range(10)}
    figures.save(figures.image_rows(rows), setup.out / "conditional_samples")
    return stated, {"conditional": done}


def _samples(model: Any, variables: Variables, seed: int) -> np.ndarray:
    """Returns samples of the classes `CLASSES`, from the prior by a seed."""
    normal = np.random.default_rng(seed).standard_normal((len(CLASSES), model.latent_dim))
    return analysis.decode(model, variables, with_classes(normal.astype(np.float32), CLASSES))


def _measure_conditional(setup: Setup, done: Ensemble, samples: Arrays) -> Found:
    """Returns, by seed, how often a classifier of real images agrees with the class, in percent."""

    def measure(model: nn.Module, variables: Variables, seed: int) -> dict[str, Any]:
        chosen = _draw(len(samples.x), seed)
        real = _pixels(samples.x[chosen]), samples.y[chosen]
        made = analysis.probe(*real, _samples(model, variables, seed), CLASSES)
        test = analysis.probe(*real, _pixels(samples.x_test), samples.y_test)
        return {"samples": 100 * made.accuracy, "real": 100 * test.accuracy}

    return per_seed(setup, "conditional", done, measure)


def _pixels(x: np.ndarray) -> np.ndarray:
    """Returns images `[N, ...]` of uint8 as float32 `[N, D]` in [0, 1]."""
    return x.reshape(len(x), -1).astype(np.float32) / 255


def _draw(n: int, seed: int) -> np.ndarray:
    """Returns the training images of a seed: `DRAWN` indices below n, or all."""
    return np.random.default_rng(seed).permutation(n)[:DRAWN]
