"""A convolutional variational autoencoder, of images alone or given their class: `conv-vae`."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

from msae_jax.config import Objective, TrainConfig
from msae_jax.errors import InputError
from msae_jax.models.conv import Convolutional, conv_layers, square_image
from msae_jax.models.images import image_sizes
from msae_jax.models.layers import Linear
from msae_jax.models.layout import Layer, Layout, Shapes, widths
from msae_jax.models.output import Output, activate, finish, flatten
from msae_jax.models.record import ModelRecord
from msae_jax.models.vae import sampled


class ConvolutionalVae(Convolutional):
    """The layers of `conv` around a Gaussian posterior (Kingma and Welling, 2013).

    Given a key, `__call__` decodes a posterior sample; without one, the posterior mean.

    With `classes` it is q(z | x, y) and p(x | z, y) of images x given their class y (Sohn et al.,
    2015). A sample is then flat, the image `[H, W, C]` and behind it the class, one-hot, as the
    data set `conditional:NAME` has it. The encoder sees a plane for each class, the decoder the
    class behind the latents; the image alone is reconstructed, the `target` of the output.

    Attributes:
      classes: how many values at the end of a sample are its class.
      The others are those of `Convolutional`.
    """

    latent_dim: int = 32
    classes: int = 0

    def setup(self) -> None:
        super().setup()
        self.mu = Linear(self.latent_dim, self.init_scheme)
        self.log_var = Linear(self.latent_dim, self.init_scheme)

    @staticmethod
    def sizes_for(sample_shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        # a flat sample does not tell its image's height from its width: `image_shape` must be given
        return {} if len(sample_shape) == 1 else image_sizes(sample_shape)

    @property
    def sample_shape(self) -> tuple[int, ...]:
        if not self.classes:
            return self.image_shape
        return (math.prod(self.image_shape) + self.classes,)

    @property
    def code_shape(self) -> tuple[int, ...]:
        """What the decoder reads of a sample: the latents, and behind them the class."""
        return (self.latent_dim + self.classes,)

    def posterior(self, x: jax.Array, *, train: bool = False) -> tuple[jax.Array, jax.Array]:
        """Returns mean and log variance, each `[B, latent_dim]`, of samples."""
        image, y = self._parts(x)
        if self.classes:
            planes = jnp.broadcast_to(y[:, None, None], (*image.shape[:3], self.classes))
            image = jnp.concatenate([image, planes], axis=-1)
        h = self.hidden(image, train=train)
        return self.mu(h), self.log_var(h)

    def encode(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """Returns the posterior mean, `[B, latent_dim]`, of samples."""
        return self.posterior(x, train=train)[0]

    def decode(self, z: jax.Array) -> jax.Array:
        """Returns images: `[B, H, W, C]`, or `[B, H W C]` of latents with their classes.

        Args:
          z: `[B, latent_dim]`, or `[B, latent_dim + classes]` as `with_classes` gives it.
        """
        if z.ndim != 2 or z.shape[1:] != self.code_shape:
            raise InputError(
                f"this decoder expects [B, {self.code_shape[0]}], {self.latent_dim} latents and "
                f"then the marks of {self.classes} classes, got {list(z.shape)}."
            )
        images = activate(self._logits(z), self.output)
        return images.reshape(len(z), -1) if self.classes else images

    def __call__(
        self, x: jax.Array, *, key: jax.Array | None = None, train: bool = False
    ) -> Output:
        image, y = self._parts(x)
        mu, log_var = self.posterior(x, train=train)
        z = sampled(mu, log_var, key)
        logits = self._logits(jnp.concatenate([z, y], axis=1), train=train)
        if not self.classes:
            return finish(x, z, logits, self.output, mu, log_var)
        flat = image.reshape(len(image), -1)
        return finish(flat, z, logits, self.output, mu, log_var)._replace(target=flat)

    def _parts(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Returns the images `[B, H, W, C]` and the one-hot classes `[B, classes]`."""
        if not self.classes:
            self.check(x)
            return x, jnp.zeros((x.shape[0], 0), x.dtype)
        pixels = math.prod(self.image_shape)
        what = f"conv-vae of images {list(self.image_shape)} and {self.classes} classes"
        flat = flatten(x, pixels + self.classes, what)
        image, y = jnp.split(flat, [pixels], axis=1)
        return image.reshape(-1, *self.image_shape), y


def _layers(model: ConvolutionalVae) -> tuple[Layer, ...]:
    return conv_layers(model, (Layer("fc_mu", "mu"), Layer("fc_logvar", "log_var")))


def _sizes(shapes: Shapes) -> dict[str, Any]:
    channels = widths(shapes, ["encoder.0", "encoder.3", "encoder.6"])
    latent_dim, flattened = shapes["fc_mu.weight"]
    # the last transposed convolution makes the image's channels, the first convolution sees more
    colours = shapes["decoder.9.weight"][1]
    sizes = {
        "image_shape": square_image(flattened, channels[-1], colours),
        "latent_dim": latent_dim,
        "channels": channels,
    }
    classes = shapes["encoder.0.weight"][1] - colours
    return sizes | ({"classes": classes} if classes else {})


def _torch(model: ConvolutionalVae) -> Any:
    from msae_jax.models import torch_images

    return torch_images.ConvVariational(model)


RECORDS = {
    "conv-vae": ModelRecord(
        ConvolutionalVae,
        Layout(_layers, _sizes),
        TrainConfig(
            data="mnist", epochs=15, batch_size=128, objective=Objective("bernoulli", "sum")
        ),
        _torch,
        "convolutional VAE",
        "sky",
    ),
}
