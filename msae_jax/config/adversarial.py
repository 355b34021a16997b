"""The part of a configuration that trains a discriminator beside the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from msae_jax.config.checks import at_least, choice, whole
from msae_jax.errors import InputError


@dataclass(frozen=True)
class Adversarial:
    """A discriminator that is trained beside the model; its equations and sources are in
    `msae_jax.train.adversarial`.

    Attributes:
      on: what it tells apart: `latents` from samples of N(0, I) (an adversarial autoencoder), or
        `images` that the model makes from those of the data (a VAE-GAN).
      weight: the weight of what the model loses to it, in nats; like beta it means the same under
        every reduction.
      similarity: what reconstructions are held against images in: `pixels`, by the likelihood, or
        the `features` of the discriminator of images.
      penalty: the weight of the squared gradient of the discriminator at real samples.
      learning_rate: of the discriminator.
      width: the units of its hidden layers, or the channels of its first convolution; None takes
        256 for latents and 32 for images.
    """

    on: Literal["latents", "images"]
    weight: float = 1.0
    similarity: Literal["pixels", "features"] = "pixels"
    penalty: float = 1.0
    learning_rate: float = 1e-3
    width: int | None = None

    def __post_init__(self) -> None:
        choice("adversarial.on", self.on, ("latents", "images"))
        choice("adversarial.similarity", self.similarity, ("pixels", "features"))
        at_least("adversarial.weight", self.weight, 0.0, exclusive=True)
        at_least("adversarial.penalty", self.penalty, 0.0)
        at_least("adversarial.learning_rate", self.learning_rate, 0.0, exclusive=True)
        if self.width is not None:
            whole("adversarial.width", self.width, 1)
        if self.similarity == "features" and self.on == "latents":
            raise InputError(
                "similarity 'features' is of a discriminator of images: use it with adversarial "
                "'images'."
            )
