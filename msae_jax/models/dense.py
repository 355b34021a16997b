"""Fully connected autoencoders: `baseline`, `baseline-mlp`, `stacked`, `ae5`."""

from __future__ import annotations

import math
from typing import Any

import flax.linen as nn
import jax

from msae_jax.models.layers import Mlp
from msae_jax.models.layout import Layer, Layout, Shapes, mlp, numbered, widths
from msae_jax.models.output import Output, activate, finish, flatten


class DenseAutoencoder(nn.Module):
    """Features through `hidden` widths to the latent, and back through the same in reverse.

    Attributes:
      features: values per sample; inputs `[B, ...]` are flattened to `[B, features]`.
      hidden: widths between input and latent.
      rectify_latent: whether a ReLU follows the latent layer (the plain autoencoder of part 4).
      output: `identity` or `sigmoid`. init_scheme: `torch` or `flax` initial weights.
    """

    features: int = 784
    hidden: tuple[int, ...] = (256,)
    latent_dim: int = 64
    rectify_latent: bool = False
    output: str = "identity"
    init_scheme: str = "torch"

    def setup(self) -> None:
        self.encoder = Mlp((*self.hidden, self.latent_dim), self.init_scheme)
        self.decoder = Mlp((*self.hidden[::-1], self.features), self.init_scheme)

    @staticmethod
    def sizes_for(sample_shape: tuple[int, ...]) -> dict[str, int]:
        return {"features": math.prod(sample_shape)}

    @property
    def sample_shape(self) -> tuple[int, ...]:
        return (self.features,)

    def encode(self, x: jax.Array) -> jax.Array:
        """Returns `[B, latent_dim]` latents of `[B, ...]` inputs."""
        z = self.encoder(flatten(x, self.features, "this autoencoder"))
        return nn.relu(z) if self.rectify_latent else z

    def decode(self, z: jax.Array) -> jax.Array:
        """Returns `[B, features]` reconstructions of `[B, latent_dim]` latents."""
        return activate(self.decoder(z), self.output)

    def __call__(
        self, x: jax.Array, *, key: jax.Array | None = None, train: bool = False
    ) -> Output:
        z = self.encode(x)
        return finish(x, z, self.decoder(z), self.output)


def _sequential(first: int) -> Layout:
    """Linear and ReLU in turn in an `nn.Sequential`, `encoder.<first>` the first Linear.

    A flattened image of several channels is another order of features in PyTorch, (C, H, W), than
    here, (H, W, C). The table does not know the image and leaves the features as they are.
    """

    def layers(model: DenseAutoencoder) -> tuple[Layer, ...]:
        count = len(model.hidden) + 1
        encoder = mlp([f"encoder.{first + 2 * i}" for i in range(count)], "encoder")
        return encoder + mlp([f"decoder.{2 * i}" for i in range(count)], "decoder")

    def sizes(shapes: Shapes) -> dict[str, Any]:
        keys = numbered(shapes, "encoder.{}", first, 2)
        *hidden, latent_dim = widths(shapes, keys)
        features = shapes[f"{keys[0]}.weight"][1]
        return {"features": features, "hidden": tuple(hidden), "latent_dim": latent_dim}

    return Layout(layers, sizes)


BASELINE = _sequential(0)
STACKED = _sequential(1)  # encoder.0 is a Flatten


def _ae5_layers(model: DenseAutoencoder) -> tuple[Layer, ...]:
    n = len(model.hidden)
    encoder = mlp([f"fc{i + 1}" for i in range(n)] + ["fc_z"], "encoder")
    return encoder + mlp([f"fc{n + 1 + i}" for i in range(n + 1)], "decoder")


def _ae5_sizes(shapes: Shapes) -> dict[str, Any]:
    keys = numbered(shapes, "fc{}", 1)
    hidden = widths(shapes, keys[: len(keys) // 2])
    (latent_dim,) = widths(shapes, ["fc_z"])
    return {"features": shapes["fc1.weight"][1], "hidden": hidden, "latent_dim": latent_dim}


AE5 = Layout(_ae5_layers, _ae5_sizes)
