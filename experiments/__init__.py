"""The published studies: one module each, with its configuration, published numbers and figures."""

from __future__ import annotations

import importlib
from types import ModuleType

from msae_jax.errors import unknown_name

NAMES = {
    "sines": "multi-scale against baseline on 1-D signals: Table I, loss curves, reconstructions",
    "mnist-multiscale": "multi-scale against baseline MLP on MNIST, with two matched controls",
    "mnist-architectures": "super-resolution, convolutional, stacked on MNIST: errors, SVM, t-SNE",
    "fashion-vae": "VAEs of two depths and six configurations, an autoencoder, on Fashion-MNIST",
    "mnist-latents": "autoencoder and VAE latents on MNIST: projections, paths, sums, samples",
    "applications": "anomalies, denoising, features for classifiers, a conditional VAE, on MNIST",
}


def find(name: str) -> ModuleType:
    """Returns the module of a study; it has `reproduce(setup)`."""
    if name not in NAMES:
        raise unknown_name("study", name, NAMES)
    return importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
