"""Fully connected autoencoders: `baseline`, `baseline-mlp`, `stacked`, `ae5`."""

from __future__ import annotations

from functools import partial
from typing import Any

import flax.linen as nn
import jax

from msae_jax.config import Objective, TrainConfig
from msae_jax.models import activations
from msae_jax.models.layers import Mlp
from msae_jax.models.layout import Layer, Layout, Shapes, mlp, numbered, widths
from msae_jax.models.output import Output, activate, finish, flatten
from msae_jax.models.record import ModelRecord
from msae_jax.models.series import flat_sizes, series_shape, series_sizes


class DenseAutoencoder(nn.Module):
    """Features through `hidden` widths to the latent, and back through the same in reverse.

    Attributes:
      features: values per sample; inputs `[B, ...]` are flattened to `[B, features]`.
      input_channels: C of series `[B, T, C]` or images `[B, H, W, C]`; it only tells the order of
        PyTorch's features, (C, T) or (C, H, W).
      hidden: widths between input and latent.
      rectify_latent: whether `activation` follows the latent layer, too, as in `ae5`.
      activation: of the hidden layers; it and `output` are of `activations.ACTIVATIONS`.
      output: the last activation. init_scheme: `torch` or `flax` initial weights.
    """

    features: int = 784
    hidden: tuple[int, ...] = (256,)
    latent_dim: int = 64
    rectify_latent: bool = False
    output: str = "identity"
    init_scheme: str = "torch"
    input_channels: int = 1
    activation: str = "relu"

    def setup(self) -> None:
        self.encoder = Mlp((*self.hidden, self.latent_dim), self.init_scheme, self.activation)
        self.decoder = Mlp((*self.hidden[::-1], self.features), self.init_scheme, self.activation)

    series_sizes = staticmethod(series_sizes)
    sizes_for = staticmethod(flat_sizes)

    @property
    def sample_shape(self) -> tuple[int, ...]:
        return series_shape(self.features, self.input_channels, squeeze=True)

    def encode(self, x: jax.Array) -> jax.Array:
        """Returns `[B, latent_dim]` latents of `[B, ...]` inputs."""
        z = self.encoder(flatten(x, self.features, "this autoencoder"))
        return activations.find(self.activation)(z) if self.rectify_latent else z

    def decode(self, z: jax.Array) -> jax.Array:
        """Returns reconstructions `[B, *sample_shape]` of `[B, latent_dim]` latents."""
        recon = activate(self.decoder(z), self.output)
        return recon.reshape(z.shape[0], *self.sample_shape)

    def __call__(
        self, x: jax.Array, *, key: jax.Array | None = None, train: bool = False
    ) -> Output:
        z = self.encode(x)
        return finish(x, z, self.decoder(z), self.output)


def _sequential(first: int) -> Layout:
    """Linear and ReLU in turn in an `nn.Sequential`, `encoder.<first>` the first Linear.

    PyTorch flattens an image of several channels in the order (C, H, W), this library in (H, W, C).
    A state dict does not tell how many there are: without `input_channels`, none is reordered.
    """

    def layers(model: DenseAutoencoder) -> tuple[Layer, ...]:
        count = len(model.hidden) + 1
        encoder = mlp([f"encoder.{first + 2 * i}" for i in range(count)], "encoder")
        decoder = mlp([f"decoder.{2 * i}" for i in range(count)], "decoder")
        return _of_series(model, encoder + decoder)

    def sizes(shapes: Shapes) -> dict[str, Any]:
        keys = numbered(shapes, "encoder.{}", first, 2)
        *hidden, latent_dim = widths(shapes, keys)
        return {
            "features": shapes[f"{keys[0]}.weight"][1],
            "input_channels": 1,  # flat samples in the file's own order, unless it is given
            "hidden": tuple(hidden),
            "latent_dim": latent_dim,
        }

    return Layout(layers, sizes)


def _of_series(model: DenseAutoencoder, layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    """Returns the layers with the grid (T, C) of a series or an image at both ends."""
    grid = series_shape(model.features, model.input_channels)
    first, *between, last = layers
    return (first._replace(flatten_in=grid), *between, last._replace(flatten_out=grid))


def _ae5_layers(model: DenseAutoencoder) -> tuple[Layer, ...]:
    n = len(model.hidden)
    encoder = mlp([f"fc{i + 1}" for i in range(n)] + ["fc_z"], "encoder")
    decoder = mlp([f"fc{n + 1 + i}" for i in range(n + 1)], "decoder")
    return _of_series(model, encoder + decoder)


def _ae5_sizes(shapes: Shapes) -> dict[str, Any]:
    keys = numbered(shapes, "fc{}", 1)
    hidden = widths(shapes, keys[: len(keys) // 2])
    (latent_dim,) = widths(shapes, ["fc_z"])
    features = shapes["fc1.weight"][1]
    sizes = {"features": features, "hidden": hidden, "latent_dim": latent_dim}
    return sizes | {"input_channels": 1}  # as above


def _torch_dense(model: DenseAutoencoder) -> Any:
    from msae_jax.models import torch_reference

    return torch_reference.dense(model)


def _torch_stacked(model: DenseAutoencoder) -> Any:
    from msae_jax.models import torch_reference

    return torch_reference.dense(model, flatten=True)


def _torch_ae5(model: DenseAutoencoder) -> Any:
    from msae_jax.models import torch_reference

    return torch_reference.NamedAutoencoder(model)


RECORDS = {
    "baseline": ModelRecord(
        partial(DenseAutoencoder, features=128, hidden=(128,)),
        _sequential(0),
        TrainConfig(data="sines", epochs=20, batch_size=64),
        _torch_dense,
        colour="orange",
        parameters=49_600,
    ),
    "baseline-mlp": ModelRecord(
        partial(DenseAutoencoder, features=784, hidden=(256,)),
        _sequential(0),
        TrainConfig(data="mnist", epochs=20, batch_size=64),
        _torch_dense,
        "baseline MLP",
        "orange",
        435_536,
    ),
    "stacked": ModelRecord(
        partial(DenseAutoencoder, hidden=(512, 256, 128), output="sigmoid"),
        _sequential(1),  # encoder.0 is a Flatten
        TrainConfig(data="mnist", epochs=5, batch_size=128),
        _torch_stacked,
        colour="orange",
        parameters=1_149_520,
    ),
    "ae5": ModelRecord(
        partial(
            DenseAutoencoder,
            hidden=(400, 200, 100),
            latent_dim=20,
            rectify_latent=True,
            output="sigmoid",
        ),
        Layout(_ae5_layers, _ae5_sizes),
        TrainConfig(
            data="fashion_mnist",
            epochs=15,
            batch_size=64,
            objective=Objective("bernoulli", "sum"),
        ),
        _torch_ae5,
        "5-layer autoencoder",
        "orange",
        833_404,
    ),
}
