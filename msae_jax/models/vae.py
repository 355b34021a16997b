"""Variational autoencoders with a diagonal Gaussian posterior: `vae3`, `vae5`."""

from __future__ import annotations

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from msae_jax.config import Objective, TrainConfig
from msae_jax.models import activations
from msae_jax.models.layers import Linear, Mlp
from msae_jax.models.layout import Layer, Layout, Shapes, mlp, numbered, widths
from msae_jax.models.output import Output, activate, finish, flatten
from msae_jax.models.record import ModelRecord
from msae_jax.models.series import flat_sizes, series_shape


class VariationalAutoencoder(nn.Module):
    """A Gaussian encoder and a mirrored decoder (Kingma and Welling, 2013).

    Given a key, `__call__` decodes a sample z = mu + exp(log_var / 2) eps, eps ~ N(0, I); without
    one it decodes the posterior mean.

    Attributes:
      features: values per sample; inputs `[B, ...]` are flattened to `[B, features]`.
      input_channels: C of images `[B, H, W, C]`; it only tells the order of PyTorch's features,
        (C, H, W).
      hidden: widths between input and latent; the decoder has them in reverse.
      activation: of the hidden layers; it and `output` are of `activations.ACTIVATIONS`.
      output: the last activation. init_scheme: `torch` or `flax` initial weights.
    """

    features: int = 784
    hidden: tuple[int, ...] = (400,)
    latent_dim: int = 20
    output: str = "sigmoid"
    init_scheme: str = "torch"
    input_channels: int = 1
    activation: str = "relu"

    def setup(self) -> None:
        self.encoder = Mlp(self.hidden, self.init_scheme, self.activation)
        self.mu = Linear(self.latent_dim, self.init_scheme)
        self.log_var = Linear(self.latent_dim, self.init_scheme)
        self.decoder = Mlp((*self.hidden[::-1], self.features), self.init_scheme, self.activation)

    sizes_for = staticmethod(flat_sizes)

    @property
    def sample_shape(self) -> tuple[int, ...]:
        return series_shape(self.features, self.input_channels, squeeze=True)

    def posterior(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Returns mean and log variance, each `[B, latent_dim]`, of `[B, ...]` inputs."""
        h = self.encoder(flatten(x, self.features, "the variational autoencoder"))
        h = activations.find(self.activation)(h)
        return self.mu(h), self.log_var(h)

    def encode(self, x: jax.Array) -> jax.Array:
        """Returns the posterior mean, `[B, latent_dim]`, of `[B, ...]` inputs."""
        return self.posterior(x)[0]

    def decode(self, z: jax.Array) -> jax.Array:
        """Returns reconstructions `[B, *sample_shape]` of `[B, latent_dim]` latents."""
        return activate(self.decoder(z), self.output).reshape(z.shape[0], *self.sample_shape)

    def __call__(
        self, x: jax.Array, *, key: jax.Array | None = None, train: bool = False
    ) -> Output:
        mu, log_var = self.posterior(x)
        z = sampled(mu, log_var, key)
        return finish(x, z, self.decoder(z), self.output, mu, log_var)


def sampled(mu: jax.Array, log_var: jax.Array, key: jax.Array | None) -> jax.Array:
    """Returns a sample of N(mu, exp(log_var)), `[B, latent_dim]`; without a key, the mean."""
    if key is None:
        return mu
    return mu + jnp.exp(0.5 * log_var) * jax.random.normal(key, mu.shape, mu.dtype)


def _layout(mu: str, log_var: str, numbered_heads: int) -> Layout:
    """Returns the layout of layers `fc1`, `fc2`, ...: encoder, the two heads, decoder.

    `mu` and `log_var` are the names of the heads, formatted with the numbers that follow the
    encoder's. `numbered_heads` is how many numbers the heads take: 2 or 0.
    """

    def layers(model: VariationalAutoencoder) -> tuple[Layer, ...]:
        n = len(model.hidden)
        encoder = mlp([f"fc{i + 1}" for i in range(n)], "encoder")
        heads = (Layer(mu.format(n + 1), "mu"), Layer(log_var.format(n + 2), "log_var"))
        decoder = mlp([f"fc{n + numbered_heads + 1 + i}" for i in range(n + 1)], "decoder")
        grid = series_shape(model.features, model.input_channels)
        first, *between, last = encoder + heads + decoder
        return (first._replace(flatten_in=grid), *between, last._replace(flatten_out=grid))

    def sizes(shapes: Shapes) -> dict[str, Any]:
        keys = numbered(shapes, "fc{}", 1)
        n = (len(keys) - numbered_heads - 1) // 2
        (latent_dim,) = widths(shapes, [mu.format(n + 1)])
        features = shapes["fc1.weight"][1]
        hidden = widths(shapes, keys[:n])
        sizes = {"features": features, "hidden": hidden, "latent_dim": latent_dim}
        return sizes | {"input_channels": 1}  # flat samples in the file's own order, unless given

    return Layout(layers, sizes)


def _torch_vae3(model: VariationalAutoencoder) -> Any:
    from msae_jax.models import torch_reference

    return torch_reference.Variational(model, None)


def _torch_vae5(model: VariationalAutoencoder) -> Any:
    from msae_jax.models import torch_reference

    return torch_reference.Variational(model, ("fc_mu", "fc_logvar"))


_RECIPE = TrainConfig(
    data="fashion_mnist", epochs=15, batch_size=64, objective=Objective("bernoulli", "sum")
)
RECORDS = {
    "vae3": ModelRecord(
        partial(VariationalAutoencoder, hidden=(400,)),
        _layout("fc{}", "fc{}", 2),
        _RECIPE,
        _torch_vae3,
        "3-layer VAE",
        "blue",
        652_824,
    ),
    "vae5": ModelRecord(
        partial(VariationalAutoencoder, hidden=(400, 200, 100)),
        _layout("fc_mu", "fc_logvar", 0),
        _RECIPE,
        _torch_vae5,
        "5-layer VAE",
        "green",
        835_424,
    ),
}
