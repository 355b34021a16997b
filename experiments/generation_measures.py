"""What is measured of a trained model of the study of generation, one seed at a time.

Latents are drawn from each prior of the method, and the decoded samples held against as many test
images, in the features of the classifier of that data set. Test images are divided at random into
those that samples are held against and as many others, the floor; each seed of a model has another
division, the same for all methods.

Reconstructions are those of the posterior mean, so that the error of a variational model is
comparable with that of an autoencoder.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import numpy as np

from msae_jax import analysis, generation
from msae_jax.data import Samples
from msae_jax.data.dataset import take
from msae_jax.experiments.cache import per_seed
from msae_jax.experiments.generation_data import Images
from msae_jax.experiments.generation_methods import CLASSES, METHODS, OBJECTIVE, run_name
from msae_jax.experiments.study import Setup
from msae_jax.fitting.ensemble import Ensemble
from msae_jax.generation import Prior, Reference
from msae_jax.train.evaluation import embed, reconstruct

SHOWN = 5
"""Samples that figures show: the first ones, which nobody chose."""

BOUNDS = {"full": (1000, 50), "quick": (100, 10)}
"""Test images, and latents of each, of which the bounds of the likelihood are computed."""

FLOW_STEPS = {"full": 2000, "quick": 100}

BySeed = dict[int, dict[str, Any]]
"""Of each seed that did not diverge, what `measured` returns."""


class Weights(NamedTuple):
    """A model with its variables, as `generation.sample` takes them."""

    model: nn.Module
    variables: Mapping[str, Any]


def measured(setup: Setup, key: str, method: str, images: Images, done: Ensemble) -> BySeed:
    """Measures a run, or reads what was measured of it. Returns of each seed:

    - `mse`: of reconstructed test images, mean per value.
    - `priors`: by prior, the fields of `generation.Measures`; `nats`, the mean log density of
      latents of test images; `shown`, the first samples, for `unpacked`.
    - `floor`, `accuracy`: of `generation.Reference`.
    - `negative_elbo`, `importance_weighted`: in nats per image, of a variational method alone.
    """
    size = "quick" if setup.quick else "full"
    given, chosen = images.given_to(method), METHODS[method]

    def of_seed(model: nn.Module, variables: Mapping[str, Any], seed: int) -> dict[str, Any]:
        weights = Weights(model, variables)
        reference = generation.reference(images.classifier, images.dataset.test, seed=seed)
        z_test = embed(model, variables, given.test.x)
        fits = chosen.priors != ("standard",)
        z = embed(model, variables, given.train.x) if fits else z_test
        found: dict[str, Any] = {
            "mse": _error(weights, given.test.x, images.dataset.test.x),
            "floor": reference.floor._asdict(),
            "accuracy": reference.accuracy,
            "priors": {},
        }
        for kind in chosen.priors:
            prior = generation.fit_prior(z, kind, seed, steps=FLOW_STEPS[size])
            made = _sampled(weights, prior, seed, reference, images.dataset.sample_shape, method)
            nats = float(prior.log_density(z_test).mean())
            found["priors"][kind] = {**made, "nats": nats}
        if chosen.variational:
            found |= _bounds(weights, given.test.x, *BOUNDS[size])
        return found

    count, latents = BOUNDS[size]
    settings = f"bounds of {count} images, {latents} latents; flow of {FLOW_STEPS[size]} steps"
    return per_seed(setup, run_name(key, method), done, of_seed, settings)


def some(n: int, count: int) -> np.ndarray:
    """Returns rows drawn from n, at most `count`: files may be sorted by class."""
    return np.random.default_rng(0).permutation(n)[:count]


def _error(weights: Weights, given: Samples, x: Samples) -> float:
    """Returns the squared error of reconstructed images, mean per value."""
    made = reconstruct(*weights, given).reshape(x.shape)
    target = np.asarray(x, np.float32) / 255
    return float(np.square(made - target).mean(dtype=np.float64))


def _sampled(
    weights: Weights,
    prior: Prior,
    seed: int,
    reference: Reference,
    shape: tuple[int, ...],
    method: str,
) -> dict[str, Any]:
    """Returns the measures of as many samples as the reference has, and the first ones."""
    n = reference.n
    y = np.arange(n) % CLASSES if METHODS[method].conditional else None
    x = generation.sample(weights, n, prior, seed, y=y, sample_shape=shape).x
    return {**reference.measure(x, y)._asdict(), "shown": packed(x[:SHOWN])}


def _bounds(weights: Weights, x: Samples, count: int, latents: int) -> dict[str, float]:
    found = analysis.bounds(
        *weights, take(x, some(len(x), count)), latents, likelihood=OBJECTIVE.likelihood
    )
    return {
        "negative_elbo": -float(found.elbo.mean(dtype=np.float64)),
        "importance_weighted": -float(found.log_likelihood.mean(dtype=np.float64)),
    }


def packed(images: np.ndarray) -> dict[str, Any]:
    """Returns images `[n, H, W, C]` in [0, 1] as JSON values, rounded to eight bits."""
    pixels = np.round(255 * np.clip(images, 0, 1)).astype(np.uint8)
    return {"shape": list(pixels.shape), "base64": base64.b64encode(pixels.tobytes()).decode()}


def unpacked(content: Mapping[str, Any]) -> np.ndarray:
    """Returns images `[n, H, W, C]` in [0, 1], of `packed`."""
    pixels = np.frombuffer(base64.b64decode(content["base64"]), np.uint8)
    return pixels.reshape(content["shape"]) / 255
