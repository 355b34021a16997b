"""Principal component analysis behind the interface of an autoencoder, in closed form: `pca`.

Its weights are not trained: they are the mean of the training set and the directions of its largest
variances, which no linear autoencoder with as large a latent can beat in squared error (Eckart and
Young, 1936; Baldi and Hornik, 1989). They depend on no seed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from msae_jax.config import TrainConfig
from msae_jax.data.dataset import Samples, take
from msae_jax.errors import InputError
from msae_jax.models.layers import Linear, initializers
from msae_jax.models.layout import Layer, Layout, Shapes
from msae_jax.models.output import Output, flatten
from msae_jax.models.record import ModelRecord
from msae_jax.models.series import series_shape, series_sizes

CHUNK = 4096  # samples that are held in float64 at once


class Centre(nn.Module):
    """Takes the mean off; `bias` is the mean `[I]`."""

    inputs: int

    def setup(self) -> None:
        self.bias = self.param("bias", nn.initializers.zeros_init(), (self.inputs,), jnp.float32)

    def __call__(self, x: jax.Array) -> jax.Array:
        return x - self.bias

    def put_back(self, x: jax.Array) -> jax.Array:
        return x + self.bias


class Components(Linear):
    """Linear without a bias, which is also read the other way; `kernel` is `[inputs, features]`."""

    inputs: int = 128

    def setup(self) -> None:
        weight, _ = initializers(self.init_scheme, self.inputs)
        self.kernel = self.param("kernel", weight, (self.inputs, self.features), jnp.float32)

    def __call__(self, x: jax.Array) -> jax.Array:
        return x @ self.kernel

    def transposed(self, z: jax.Array) -> jax.Array:
        return z @ self.kernel.T


class Pca(nn.Module):
    """z = W (x - m) and r = W^T z + m, with orthonormal rows of W.

    Attributes:
      features: values per sample; inputs `[B, ...]` are flattened to `[B, features]`.
      input_channels: of series `[B, T, C]`; it only tells the order of PyTorch's features, (C, T).
      latent_dim: the number of components.
      init_scheme: of the weights before they are fitted.
    """

    features: int = 128
    input_channels: int = 1
    latent_dim: int = 64
    init_scheme: str = "torch"

    def setup(self) -> None:
        self.centre = Centre(self.features)
        self.components = Components(self.latent_dim, self.init_scheme, inputs=self.features)

    series_sizes = staticmethod(series_sizes)

    @staticmethod
    def sizes_for(sample_shape: tuple[int, ...]) -> dict[str, int]:
        return {"features": math.prod(sample_shape)}

    @property
    def sample_shape(self) -> tuple[int, ...]:
        return series_shape(self.features, self.input_channels, squeeze=True)

    def encode(self, x: jax.Array) -> jax.Array:
        """Returns `[B, latent_dim]` latents of `[B, ...]` inputs, the largest variance first."""
        return self.components(self.centre(flatten(x, self.features, "PCA")))

    def decode(self, z: jax.Array) -> jax.Array:
        """Returns reconstructions `[B, *sample_shape]` of `[B, latent_dim]` latents."""
        return self._decode(z).reshape(z.shape[0], *self.sample_shape)

    def _decode(self, z: jax.Array) -> jax.Array:
        return self.centre.put_back(self.components.transposed(z))

    def __call__(
        self, x: jax.Array, *, key: jax.Array | None = None, train: bool = False
    ) -> Output:
        z = self.encode(x)
        return Output(self._decode(z).reshape(x.shape), z)


def fit(model: Pca, x: Samples) -> dict[str, Any]:
    """Returns the `params` of a `Pca` fitted to samples `[N, ...]`.

    Singular vectors of the centred samples where these are no more than their values, else
    eigenvectors of the covariance, summed chunk by chunk: samples need not fit into memory, the
    square of their values must. Both in float64. The sign of a component is scikit-learn's: its
    largest value is positive. Samples with a missing value (NaN) are left out.

    Raises:
      InputError: fewer complete samples, or fewer values, than components.
    """
    count, total = 0, np.zeros(model.features)
    for chunk in _chunks(x):
        count, total = count + len(chunk), total + chunk.sum(axis=0)
    most = min(count, model.features)
    if model.latent_dim > most:
        raise InputError(
            f"PCA of {count} complete samples of {model.features} values has at most {most} "
            f"components, got latent_dim={model.latent_dim}."
        )
    mean = total / count
    if count <= model.features:
        centred = np.concatenate([chunk - mean for chunk in _chunks(x)])
        rows = np.linalg.svd(centred, full_matrices=False)[2]
    else:
        covariance = np.zeros((model.features, model.features))
        for chunk in _chunks(x):
            covariance += (chunk - mean).T @ (chunk - mean)
        rows = np.linalg.eigh(covariance)[1].T[::-1]  # the largest eigenvalue comes last
    rows = rows[: model.latent_dim]
    largest = np.abs(rows).argmax(axis=1)
    rows = rows * np.sign(rows[np.arange(len(rows)), largest])[:, None]
    return {
        "centre": {"bias": mean.astype(np.float32)},
        "components": {"kernel": np.ascontiguousarray(rows.T, np.float32)},
    }


def _chunks(x: Samples) -> Iterator[np.ndarray]:
    """Yields the complete samples `[n, features]` in float64, images scaled to [0, 1]."""
    for start in range(0, len(x), CHUNK):
        chunk = take(x, np.arange(start, min(start + CHUNK, len(x))))
        scale = 255.0 if chunk.dtype == np.uint8 else 1.0
        flat = chunk.reshape(len(chunk), -1).astype(np.float64) / scale
        yield flat[~np.isnan(flat).any(axis=1)]


def _layers(model: Pca) -> tuple[Layer, ...]:
    grid = series_shape(model.features, model.input_channels)
    return (
        Layer("centre", "centre", flatten_in=grid, flatten_out=grid),
        Layer("components", "components", flatten_in=grid),
    )


def _sizes(shapes: Shapes) -> dict[str, Any]:
    latent_dim, features = shapes["components.weight"]
    return {"features": features, "latent_dim": latent_dim}


def _torch_pca(model: Pca) -> Any:
    from msae_jax.models import torch_series

    return torch_series.Pca(model)


RECORDS = {
    "pca": ModelRecord(
        Pca,
        Layout(_layers, _sizes),
        TrainConfig(data="sines", epochs=1, batch_size=64),
        _torch_pca,
        "PCA",
        "grey",
        fit=fit,
    )
}
