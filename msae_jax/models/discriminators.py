"""The discriminators of adversarial training. They are no part of a model: not exported, not kept.

Each returns, of a batch, logits `[B]`, positive for what it takes to be real, and what its last
hidden layer makes of it, `[B, F]`.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from msae_jax.models.layers import Conv, Linear

SLOPE = 0.2
"""Of the leaky rectifiers below 0, as in DCGAN (Radford et al., 2016)."""


class LatentDiscriminator(nn.Module):
    """Two hidden layers of `width` units on latents `[B, ...]`, after Makhzani et al. (2016)."""

    width: int

    @nn.compact
    def __call__(self, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        h = z.reshape(len(z), -1)
        for i in range(2):
            h = jax.nn.leaky_relu(Linear(self.width, name=f"linear_{i}")(h), SLOPE)
        return Linear(1, name="logit")(h)[:, 0], h


class ImageDiscriminator(nn.Module):
    """Three convolutions of stride 2 on images `[B, H, W, C]`, of `width` channels, 2 and 4 times.

    All but the first are followed by layer norm without parameters, over height, width and channels
    of each image. So samples of a batch do not touch each other, and the features, which are what
    the last norm gives, have mean square 1: their scale cannot drift.
    """

    width: int

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        h = x
        for i in range(3):
            h = Conv(self.width * 2**i, (3, 3), stride=2, padding=1, name=f"conv_{i}")(h)
            features = h if i == 0 else normalised(h)
            h = jax.nn.leaky_relu(features, SLOPE)
        flat = features.reshape(len(x), -1)
        return Linear(1, name="logit")(h.reshape(len(x), -1))[:, 0], flat


def normalised(h: jax.Array) -> jax.Array:
    """Returns each sample of `[B, ...]` less its mean and divided by its standard deviation."""
    axes = tuple(range(1, h.ndim))
    centred = h - h.mean(axis=axes, keepdims=True)
    return centred * jax.lax.rsqrt(jnp.square(centred).mean(axis=axes, keepdims=True) + 1e-5)
