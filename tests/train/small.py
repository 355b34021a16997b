"""Models that take no time to compile, with what the tests of training need."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from msae_jax.models.layers import BatchNorm, Linear
from msae_jax.models.output import Output, finish


class Normed(nn.Module):
    """A linear layer and batch norm each way, `[B, features]`."""

    features: int = 6

    def setup(self) -> None:
        self.down, self.up = Linear(4), Linear(self.features)
        self.norm_0, self.norm_1 = BatchNorm(), BatchNorm()

    @staticmethod
    def sizes_for(sample_shape: tuple[int, ...]) -> dict[str, int]:
        return {"features": sample_shape[0]}

    @property
    def sample_shape(self) -> tuple[int, ...]:
        return (self.features,)

    def encode(self, x: jax.Array, train: bool = False) -> jax.Array:
        return self.norm_0(self.down(x), train=train)

    def decode(self, z: jax.Array, train: bool = False) -> jax.Array:
        return self.norm_1(self.up(z), train=train)

    def __call__(
        self, x: jax.Array, *, key: jax.Array | None = None, train: bool = False
    ) -> Output:
        z = self.encode(x, train)
        return finish(x, z, self.decode(z, train), "identity")


class Timed(nn.Module):
    """A variational model of series `[B, T]` with two latents for each time step."""

    features: int = 6

    def setup(self) -> None:
        self.mu, self.log_var, self.readout = Linear(2), Linear(2), Linear(1)

    @staticmethod
    def sizes_for(sample_shape: tuple[int, ...]) -> dict[str, int]:
        return {"features": sample_shape[0]}

    @property
    def sample_shape(self) -> tuple[int, ...]:
        return (self.features,)

    @property
    def latent_grid(self) -> tuple[int, int]:
        return self.features, 2

    def encode(self, x: jax.Array) -> jax.Array:
        return self.mu(x[..., None]).reshape(len(x), -1)

    def decode(self, z: jax.Array) -> jax.Array:
        return jnp.tanh(self.readout(z.reshape(len(z), -1, 2)))[..., 0]

    def __call__(
        self, x: jax.Array, *, key: jax.Array | None = None, train: bool = False
    ) -> Output:
        mu, log_var = (layer(x[..., None]).reshape(len(x), -1) for layer in (self.mu, self.log_var))
        z = mu
        if key is not None:
            z = mu + jnp.exp(0.5 * log_var) * jax.random.normal(key, mu.shape)
        return Output(self.decode(z), z, mu=mu, log_var=log_var)
