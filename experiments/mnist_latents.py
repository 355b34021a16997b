"""The latent spaces of an autoencoder and a VAE of one shape on MNIST, side by side.

    msae reproduce mnist-latents --seeds 3          about 5 minutes on two CPU cores

Both are 784-400-20 with a sigmoid output: the 3-layer shapes of the Fashion-MNIST study, since the
originals publish pictures but neither layer sizes nor numbers. The autoencoder minimises the
squared error, the VAE the negative ELBO; 15 epochs, batch 64.

Expected, autoencoder and VAE: test MSE 0.0076 and 0.0092; 5-NN accuracy of the latents 96.0% and
95.7%, of a linear probe 90.9% and 88.6%; the VAE's negative test ELBO is 104.3 nats.

Figures: loss curves, PCA, t-SNE, probes, reconstructions, interpolation of 3 into 8 and the change
per frame along it, arithmetic with class means, samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from matplotlib.figure import Figure

from msae_jax import analysis, data, figures
from msae_jax.config import ModelConfig, TrainConfig
from msae_jax.experiments.cache import cached, per_seed
from msae_jax.experiments.study import (
    Setup,
    arrays,
    captions,
    final_claim,
    ours_alone,
    reconstructions,
)
from msae_jax.fitting.ensemble import Ensemble
from msae_jax.recipes import recipe
from msae_jax.results.claims import Claim
from msae_jax.runs.arrays import digest

SHAPE = ModelConfig("stacked", {"hidden": [400], "latent_dim": 20})
SETTINGS = {
    "ae3": TrainConfig(SHAPE, "mnist", epochs=15, batch_size=64),
    "vae3": replace(recipe("vae3"), data="mnist"),
}
PROBES = {"knn": "5-NN probe", "linear": "linear probe"}
SPLITS = ("train", "test")
KINDS = ("linear", "spherical")
PROBED = 10_000  # training samples that the probes see
PROJECTED = 2_000  # test samples in the projections
PAIRS = 50  # of a 3 and an 8, of which paths are measured
FRAMES = 11
SUMS = ((8, 3, 5), (9, 4, 6), (7, 1, 0))  # a - b + c
UNPUBLISHED = "shown in pictures; no number and no layer sizes are published"

Found = dict[str, dict[int, Any]]
"""By model and seed, what `_measure` found."""


def reproduce(setup: Setup) -> list[Claim]:
    """Trains both models; measures and draws what their latents hold."""
    trained = {name: setup.train(name, settings) for name, settings in SETTINGS.items()}
    dataset = setup.dataset(SETTINGS["ae3"])

    def measure(model: nn.Module, variables: Mapping[str, Any], seed: int) -> dict[str, Any]:
        return _measure(model, variables, dataset)

    found = {name: per_seed(setup, name, done, measure) for name, done in trained.items()}
    _draw_numbers(setup, trained, found)
    _draw_pictures(setup, trained, dataset)
    return setup.finish("mnist-latents", _claims(trained, found), trained)


def _measure(
    model: nn.Module, variables: Mapping[str, Any], dataset: data.Dataset
) -> dict[str, Any]:
    """Returns accuracies of probes in percent, and means over pairs of how evenly paths change."""
    x, y, x_test, y_test = arrays(dataset)
    z, z_test = (analysis.embed(model, variables, a) for a in (x[:PROBED], x_test))
    found: dict[str, Any] = {
        kind: 100 * analysis.probe(z, y[:PROBED], z_test, y_test, kind).accuracy for kind in PROBES
    }
    for kind in KINDS:
        ends = zip(z_test[y_test == 3][:PAIRS], z_test[y_test == 8][:PAIRS], strict=False)
        paths = [
            analysis.interpolate(model, variables, a, b, FRAMES, kind, latents=True).metrics
            for a, b in ends
        ]
        found[f"{kind}-length"] = float(np.mean([path.length_ratio for path in paths]))
        found[f"{kind}-step"] = float(np.mean([path.step_ratio for path in paths]))
        found[f"{kind}-steps"] = np.mean([path.steps for path in paths], axis=0).tolist()
    return found


def _claims(trained: dict[str, Ensemble], found: Found) -> list[Claim]:
    stated = []
    for name, done in trained.items():
        text = figures.label(name)
        mse = f"test error of {text}"
        stated.append(final_claim(f"{name}-mse", mse, done, "test_mse", None, "MSE per pixel"))

        def add(key: str, statement: str, unit: str, name: str = name) -> None:
            values = [values[key] for values in found[name].values()]
            stated.append(ours_alone(f"{name}-{key}", statement, unit, values))

        for kind, probe in PROBES.items():
            add(kind, f"accuracy of {probe} on the latents of {text}", "percent")
        for kind in KINDS:
            path = f"{kind} paths from 3 to 8, {text}"
            add(f"{kind}-length", f"length over distance of the ends, {path}", "ratio")
            add(f"{kind}-step", f"largest over mean step, {path}", "ratio")
    for metric, quantity in (("nats", "negative ELBO"), ("kl_nats", "KL divergence")):
        statement = f"test {quantity} of {figures.label('vae3')}"
        done = trained["vae3"]
        stated.append(
            final_claim(
                f"vae3-{metric}", statement, done, f"test_{metric}", None, "nats per sample"
            )
        )
    return stated + _comparisons(trained, found)


def _comparisons(trained: dict[str, Ensemble], found: Found) -> list[Claim]:
    """Returns what the originals' pictures are to show, as differences at the same seeds."""
    both = [seed for seed in found["ae3"] if seed in found["vae3"]]

    def less(key: str) -> list[float]:
        return [found["vae3"][seed][key] - found["ae3"][seed][key] for seed in both]

    errors = {
        name: {m.seed: e for m, e in zip(done.members, done.final(), strict=True)}
        for name, done in trained.items()
    }
    percent = [100 * (errors["vae3"][seed] / errors["ae3"][seed] - 1) for seed in both]
    listed = (
        ("reconstruction", "test error, VAE above autoencoder", "percent", percent),
        ("separation", "k-NN accuracy, VAE less autoencoder", "percentage points", less("knn")),
        ("smoothness", "length ratio of paths, VAE less AE", "ratio", less("linear-length")),
    )
    return [
        Claim(id, text, None, unit, values, source="part 5's pictures", underspecified=UNPUBLISHED)
        for id, text, unit, values in listed
    ]


def _draw_numbers(setup: Setup, trained: dict[str, Ensemble], found: Found) -> None:
    for name, metric, unit in (
        ("ae3", "mse", "MSE per pixel"),
        ("vae3", "nats", "nats per sample"),
    ):
        curves = {f"{split} set": trained[name].metrics(f"{split}_{metric}") for split in SPLITS}
        quantity = f"loss of the {figures.label(name)}"
        figure = figures.loss_curves(curves, quantity=quantity, unit=unit, log=False)
        figures.save(figure, setup.out / f"loss_{name}")
    accuracies = {
        f"{figures.label(name)}, {probe}": np.array([v[kind] for v in found[name].values()])
        for kind, probe in PROBES.items()
        for name in trained
    }
    figure = figures.seed_points(accuracies, quantity="test accuracy of latents", unit="percent")
    figures.save(figure, setup.out / "probes")
    steps = {
        name: {k: np.array([v[f"{k}-steps"] for v in found[name].values()]) for k in KINDS}
        for name in trained
    }
    figures.save(figures.path_steps(steps), setup.out / "path_steps")


def _draw_pictures(setup: Setup, trained: dict[str, Ensemble], dataset: data.Dataset) -> None:
    """Draws what the first seed's models make of the data."""
    x, _, x_test, y_test = arrays(dataset)
    made, errors = reconstructions(trained, x_test[:10])
    shown = {"original": x_test[:10] / 255.0, **made}
    t = [f"t = {t:.1f}" for t in np.linspace(0, 1, FRAMES)]
    sums = ["a", "b", "c", "a - b + c"]
    drawn = {
        **_projections(setup, trained, x_test, y_test),
        "reconstructions": figures.image_rows(shown, captions=captions(errors)),
        "interpolation": figures.image_rows(_paths(trained, x_test, y_test), titles=t),
        "arithmetic": figures.image_rows(_sums(trained, x_test, y_test), titles=sums),
        "samples": figures.image_rows(_samples(trained, x[:PROBED])),
    }
    for name, figure in drawn.items():
        figures.save(figure, setup.out / name)


def _projections(
    setup: Setup, trained: dict[str, Ensemble], x_test: np.ndarray, y_test: np.ndarray
) -> dict[str, Figure]:
    """Draws the latents of the first test images in the plane; t-SNE is kept beside the run."""
    pca, tsne = {}, {}
    for name, done in trained.items():
        variables = done.variables(0)
        z = analysis.embed(done.model, variables, x_test)[:PROJECTED]
        pca[name] = analysis.project(z).points

        def project(z: np.ndarray = z) -> list:
            return analysis.project(z, "tsne").points.tolist()

        tsne[name] = np.array(cached(setup, f"{name}/measured/tsne", project, digest(variables)))
    y, classes = y_test[:PROJECTED], [str(digit) for digit in range(10)]
    axes = ("t-SNE 1 (no unit)", "t-SNE 2 (no unit)")
    return {
        "pca": figures.class_scatter(pca, y, classes, axis_names=("PCA 1", "PCA 2")),
        "tsne": figures.class_scatter(tsne, y, classes, axis_names=axes),
    }


def _paths(trained: dict[str, Ensemble], x: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    """Returns, by row, the frames from the first 3 to the first 8."""
    ends = x[y == 3][0], x[y == 8][0]
    return {
        f"{figures.label(name)}, {kind}": analysis.interpolate(
            done.model, done.variables(0), *ends, FRAMES, kind
        ).x
        for name, done in trained.items()
        for kind in KINDS
    }


def _sums(trained: dict[str, Ensemble], x: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    """Returns, by row, three class means and a - b + c, decoded."""
    rows = {}
    for name, done in trained.items():
        model, variables = done.model, done.variables(0)
        z = analysis.embed(model, variables, x)
        for a, b, c in SUMS:
            means = np.stack([z[y == digit].mean(axis=0) for digit in (a, b, c)])
            parts = analysis.decode(model, variables, means, sample_shape=x.shape[1:])
            groups = [x[y == digit] for digit in (a, b, c)]
            result = analysis.arithmetic(model, variables, *groups).x
            rows[f"{figures.label(name)}, {a} - {b} + {c}"] = np.concatenate([parts, result])
    return rows


def _samples(trained: dict[str, Ensemble], x: np.ndarray) -> dict[str, np.ndarray]:
    """Returns, by row, ten samples of the prior and of a Gaussian fitted to the latents of `x`."""
    key, rows = jax.random.key(0), {}
    for name, done in trained.items():
        model, variables, text = done.model, done.variables(0), figures.label(name)
        normal = np.asarray(jax.random.normal(key, (10, SHAPE.options["latent_dim"])))
        prior = analysis.decode(model, variables, normal, sample_shape=x.shape[1:])
        rows[f"{text}, z ~ N(0,I)"] = prior
        fitted = analysis.sample(model, variables, 10, key, fit_to=x)
        rows[f"{text}, z ~ fitted Gaussian"] = fitted.x
    return rows
