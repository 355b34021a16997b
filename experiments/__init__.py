"""The published studies: one module each, with its configuration, published numbers and figures."""

from __future__ import annotations

import importlib
from types import SimpleNamespace
from typing import Any

from msae_jax.system import names

NAMES = {
    "sines": "multi-scale against baseline on 1-D signals: Table I, loss curves, reconstructions",
    "mnist-multiscale": "multi-scale against baseline MLP on MNIST, with two matched controls",
    "mnist-architectures": "super-resolution, convolutional, stacked on MNIST: errors, SVM, t-SNE",
    "fashion-vae": "VAEs of two depths and six configurations, an autoencoder, on Fashion-MNIST",
    "mnist-latents": "autoencoder and VAE latents on MNIST: projections, paths, sums, samples",
    "time-series": "series: reconstruction, anomalies, augmentation, forecasts, classes",
    "generation": "seven autoencoders on three sets of images: which generates best, at what cost",
    "applications": "anomalies, denoising, features for classifiers, a conditional VAE, on MNIST",
}


_OWN: dict[str, Any] = {}


def register(name: str, study: Any, description: str = "") -> None:
    """Names a study of your own.

    Args:
      study: an object with `reproduce(setup)`, such as a module, or that function itself; `setup`
        is a `study.Setup`.

    Raises:
      InputError: the name is taken, or `study` is neither.
    """
    _as_study(name, study)
    names.add("study", name, description, NAMES)
    _OWN[name] = study


def find(name: str) -> Any:
    """Returns a study, an object with `reproduce(setup)`, by its name or `package.module:name`.

    Raises:
      InputError: there is no such study.
    """
    if name in NAMES and name not in _OWN:
        return importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
    return _as_study(name, _OWN.get(name) or names.find("study", name, NAMES))


def _as_study(name: str, found: Any) -> Any:
    if callable(getattr(found, "reproduce", None)):
        return found
    if callable(found):
        return SimpleNamespace(reproduce=found)
    expected = "an object with reproduce(setup), or that function"
    raise names.wrong_kind("study", name, found, expected)
