"""The variational pyramid, a Gaussian latent per level: `pyramid-vae`.

With r_1 = x, level k encodes the averages of r_k to a mean and a log variance, draws
z_k = mu_k + exp(log_var_k / 2) eps_k, decodes and interpolates z_k to y_k, and hands on
r_{k+1} = r_k - y_k. What is handed on depends on the sample, so that the posterior is

    q(z | x) = prod_k q(z_k | x, z_1, ..., z_{k-1}),

and the KL divergence from N(0, I), given the samples, is the sum of those of the levels.

Source: `msae_jax.models.pyramid`, with the posterior of Kingma and Welling (2013) in each level.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from msae_jax.config import Objective, TrainConfig
from msae_jax.models import pyramid
from msae_jax.models.layout import Layout, Shapes
from msae_jax.models.levels import average_pool, interpolate
from msae_jax.models.output import Output
from msae_jax.models.record import ModelRecord
from msae_jax.models.series import as_series


class VariationalPyramid(pyramid.Pyramid):
    """A pyramid whose levels encode to a mean and a log variance; its fields are the pyramid's.

    The last layer of each encoder has both heads: the first half of its outputs is the mean.

    Given a key, `__call__` decodes a sample, and each level encodes what the samples of those
    before it left. Without one, and in `encode`, the means take the samples' place.
    """

    def _level(self, length: int, latent_dim: int) -> nn.Module:
        return super()._level(length, 2 * latent_dim)  # its decoder reads what it is given

    def _posterior(
        self, x: jax.Array, key: jax.Array | None
    ) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
        """Returns mu, log_var and z, each `[B, latent_dim]`, and reconstructions `[B, T, C]`."""
        x = as_series(x, self.features, self.input_channels, "the variational pyramid")
        shape = (x.shape[0], self.latent_dim)
        noise = None if key is None else jax.random.normal(key, shape, x.dtype)
        residual, recon, begin = x, jnp.zeros_like(x), 0
        found: list[tuple[jax.Array, ...]] = []
        for pool, level in zip(self.pools, self.levels, strict=True):
            mu, log_var = jnp.split(level.encode(average_pool(residual, pool)), 2, axis=1)
            end = begin + mu.shape[1]
            z = mu if noise is None else mu + jnp.exp(0.5 * log_var) * noise[:, begin:end]
            part = interpolate(level.decode(z), pool, x.shape[1])
            residual, recon, begin = residual - part, recon + part, end
            found.append((mu, log_var, z))
        mu, log_var, z = (jnp.concatenate(parts, axis=1) for parts in zip(*found, strict=True))
        return mu, log_var, z, recon

    def encode(self, x: jax.Array) -> jax.Array:
        """Returns the posterior means `[B, latent_dim]` of `[B, T]` or `[B, T, C]`.

        Those of a level are given the means of the levels before it.
        """
        return self._posterior(x, None)[0]

    def __call__(
        self, x: jax.Array, *, key: jax.Array | None = None, train: bool = False
    ) -> Output:
        mu, log_var, z, recon = self._posterior(x, key)
        return Output(recon.reshape(x.shape), z, None, mu, log_var)


def _sizes(shapes: Shapes) -> dict[str, Any]:
    """What a pyramid's encoders tell; half of their outputs are latents."""
    told = pyramid.sizes(shapes)
    return told | {"latent_dim": told["latent_dim"] // 2}


def _torch_pyramid_vae(model: VariationalPyramid) -> Any:
    from msae_jax.models import torch_series

    return torch_series.VariationalPyramid(model)


RECORDS = {
    "pyramid-vae": ModelRecord(
        VariationalPyramid,
        Layout(pyramid.layers, _sizes),
        TrainConfig(
            data="sines",
            epochs=20,
            batch_size=64,
            # Under `mean` beta is the variance of the noise that the likelihood assumes per value.
            objective=Objective("gaussian", "mean", beta=0.01, anneal_epochs=10),
        ),
        _torch_pyramid_vae,
        "variational pyramid",
        "sky",
    ),
}
