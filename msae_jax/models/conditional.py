"""A conditional variational autoencoder: of images given their class.

A sample is the flattened image followed by the class, one-hot (`with_classes`). The model is built
by the name `msae_jax.models.conditional:ConditionalVae`.
"""

from __future__ import annotations

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from msae_jax.data.classes import with_classes
from msae_jax.errors import InputError
from msae_jax.models.layers import Linear, Mlp
from msae_jax.models.output import Output, activate, finish, flatten
from msae_jax.models.vae import sampled

__all__ = ["ConditionalVae", "with_classes"]


class ConditionalVae(nn.Module):
    """q(z | x, y) and p(x | z, y), z ~ N(0, I) whatever the class y (Sohn et al., 2015).

    It reconstructs the image alone, which is the `target` of its output: the class is given. Train
    it under the reduction `batchmean` or `sum`. Given a key, `__call__` decodes a posterior sample.

    Attributes:
      features: values per sample, image and class together; inputs `[B, ...]` are flattened.
      classes: how many of them, the last ones, stand for the class.
      hidden: widths between input and latent; the decoder has them in reverse.
      output: `identity` or `sigmoid`. init_scheme: `torch` or `flax` initial weights.
    """

    features: int = 794
    classes: int = 10
    hidden: tuple[int, ...] = (400,)
    latent_dim: int = 20
    output: str = "sigmoid"
    init_scheme: str = "torch"

    def setup(self) -> None:
        if self.classes >= self.features:
            raise InputError(f"{self.classes} classes leave no image in {self.features} features.")
        self.encoder = Mlp(self.hidden, self.init_scheme)
        self.mu = Linear(self.latent_dim, self.init_scheme)
        self.log_var = Linear(self.latent_dim, self.init_scheme)
        self.decoder = Mlp((*self.hidden[::-1], self.features - self.classes), self.init_scheme)

    @staticmethod
    def sizes_for(sample_shape: tuple[int, ...]) -> dict[str, int]:
        return {"features": math.prod(sample_shape)}

    @property
    def sample_shape(self) -> tuple[int, ...]:
        return (self.features,)

    @property
    def code_shape(self) -> tuple[int, ...]:
        """What the decoder reads of a sample: the latents, and behind them the class."""
        return (self.latent_dim + self.classes,)

    def posterior(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Returns mean and log variance, each `[B, latent_dim]`, of samples with their classes."""
        h = nn.relu(self.encoder(flatten(x, self.features, "the conditional autoencoder")))
        return self.mu(h), self.log_var(h)

    def encode(self, x: jax.Array) -> jax.Array:
        """Returns the posterior mean, `[B, latent_dim]`, of samples with their classes."""
        return self.posterior(x)[0]

    def decode(self, z: jax.Array) -> jax.Array:
        """Returns images `[B, features - classes]` of latents with their classes behind them.

        Args:
          z: `[B, latent_dim + classes]`, as `with_classes` gives it of latents.
        """
        size = self.latent_dim + self.classes
        if z.ndim != 2 or z.shape[1] != size:
            raise InputError(
                f"the conditional decoder expects [B, {size}], {self.latent_dim} latents and then "
                f"the marks of {self.classes} classes (with_classes), got {list(z.shape)}."
            )
        return activate(self.decoder(z), self.output)

    def __call__(
        self, x: jax.Array, *, key: jax.Array | None = None, train: bool = False
    ) -> Output:
        mu, log_var = self.posterior(x)
        z = sampled(mu, log_var, key)
        flat = flatten(x, self.features, "the conditional autoencoder")
        image, y = jnp.split(flat, [self.features - self.classes], axis=1)
        logits = self.decoder(jnp.concatenate([z, y], axis=1))
        return finish(image, z, logits, self.output, mu, log_var)._replace(target=image)
