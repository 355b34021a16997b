"""Convolutional autoencoders of images `[B, H, W, C]`: `superres`, `conv`."""

from __future__ import annotations

import math
from typing import Any

import flax.linen as nn
import jax

from msae_jax.config import TrainConfig
from msae_jax.models import activations
from msae_jax.models.images import check_images, crop, halve, image_sizes, quarter
from msae_jax.models.layers import BatchNorm, Conv, ConvTranspose, Linear, Mlp
from msae_jax.models.layout import Layer, Layout, Shapes, widths
from msae_jax.models.output import Output, activate, finish
from msae_jax.models.record import ModelRecord


class SuperResolution(nn.Module):
    """Encodes a half-size copy of an image and decodes it to full size.

    Attributes:
      image_shape: (H, W, C), of any height, width and number of channels.
      channels: of the encoder's two convolutions. decoder_channels: of the two transposed ones.
      hidden: width of the linear layers on both sides of the latent.
      activation: of the hidden layers; it and `output` are of `activations.ACTIVATIONS`.
      output: the last activation. init_scheme: `torch` or `flax` initial weights.
    """

    image_shape: tuple[int, int, int] = (28, 28, 1)
    latent_dim: int = 64
    channels: tuple[int, int] = (32, 64)
    decoder_channels: tuple[int, int] = (32, 16)
    hidden: int = 256
    output: str = "sigmoid"
    init_scheme: str = "torch"
    activation: str = "relu"

    def setup(self) -> None:
        self.activate = activations.find(self.activation)
        height, width, colours = self.image_shape
        self.grid = (quarter(height), quarter(width), self.channels[1])
        self.conv_0 = Conv(self.channels[0], (3, 3), padding=1, init_scheme=self.init_scheme)
        self.conv_1 = Conv(
            self.channels[1], (3, 3), stride=2, padding=1, init_scheme=self.init_scheme
        )
        self.encoder = Mlp((self.hidden, self.latent_dim), self.init_scheme, self.activation)
        self.decoder = Mlp((self.hidden, math.prod(self.grid)), self.init_scheme, self.activation)
        self.up_0, self.up_1 = (
            ConvTranspose(c, (4, 4), stride=2, padding=1, init_scheme=self.init_scheme)
            for c in self.decoder_channels
        )
        self.conv_out = Conv(colours, (3, 3), padding=1, init_scheme=self.init_scheme)

    @staticmethod
    def sizes_for(sample_shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        return image_sizes(sample_shape)

    @property
    def sample_shape(self) -> tuple[int, ...]:
        return self.image_shape

    def encode(self, x: jax.Array) -> jax.Array:
        """Returns `[B, latent_dim]` latents of full-size images `[B, H, W, C]`."""
        check_images(x, self.image_shape)
        x = self.activate(self.conv_0(halve(x)))
        x = self.activate(self.conv_1(x))
        return self.encoder(x.reshape(x.shape[0], -1))

    def _logits(self, z: jax.Array) -> jax.Array:
        x = self.activate(self.decoder(z)).reshape(-1, *self.grid)
        x = self.activate(self.up_0(x))
        x = self.activate(self.up_1(x))
        return crop(self.conv_out(x), self.image_shape)

    def decode(self, z: jax.Array) -> jax.Array:
        """Returns full-size images `[B, H, W, C]` of `[B, latent_dim]` latents."""
        return activate(self._logits(z), self.output)

    def __call__(
        self, x: jax.Array, *, key: jax.Array | None = None, train: bool = False
    ) -> Output:
        z = self.encode(x)
        return finish(x, z, self._logits(z), self.output)


class Convolutional(nn.Module):
    """Three convolutions with batch norm to a linear latent, and back.

    Attributes:
      image_shape: (H, W, C), of any height, width and number of channels.
      channels: of the encoder's three convolutions; the decoder mirrors them.
      activation: of the hidden layers; it and `output` are of `activations.ACTIVATIONS`.
      output: the last activation. init_scheme: `torch` or `flax` initial weights.
    """

    image_shape: tuple[int, int, int] = (28, 28, 1)
    latent_dim: int = 64
    channels: tuple[int, int, int] = (32, 64, 128)
    output: str = "sigmoid"
    init_scheme: str = "torch"
    activation: str = "relu"

    def setup(self) -> None:
        self.activate = activations.find(self.activation)
        height, width, colours = self.image_shape
        first, second, third = self.channels
        self.grid = (quarter(height), quarter(width), third)
        self.conv_0 = Conv(first, (3, 3), stride=2, padding=1, init_scheme=self.init_scheme)
        self.conv_1 = Conv(second, (3, 3), stride=2, padding=1, init_scheme=self.init_scheme)
        self.conv_2 = Conv(third, (3, 3), padding=1, init_scheme=self.init_scheme)
        self.norm_0, self.norm_1, self.norm_2 = BatchNorm(), BatchNorm(), BatchNorm()
        self.to_latent = Linear(self.latent_dim, self.init_scheme)
        self.from_latent = Linear(math.prod(self.grid), self.init_scheme)
        self.conv_3 = Conv(second, (3, 3), padding=1, init_scheme=self.init_scheme)
        self.up_0 = ConvTranspose(first, (4, 4), stride=2, padding=1, init_scheme=self.init_scheme)
        self.up_1 = ConvTranspose(
            colours, (4, 4), stride=2, padding=1, init_scheme=self.init_scheme
        )
        self.norm_3, self.norm_4 = BatchNorm(), BatchNorm()

    @staticmethod
    def sizes_for(sample_shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        return image_sizes(sample_shape)

    @property
    def sample_shape(self) -> tuple[int, ...]:
        return self.image_shape

    def encode(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """Returns `[B, latent_dim]` latents of images `[B, H, W, C]`."""
        self.check(x)
        return self.to_latent(self.hidden(x, train=train))

    def check(self, x: jax.Array) -> None:
        """Raises an InputError where `x` are not images of this model's shape."""
        check_images(x, self.image_shape)

    def hidden(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Returns what the three convolutions make of images, `[B, H W C]` of `grid`."""
        x = self.activate(self.norm_0(self.conv_0(x), train=train))
        x = self.activate(self.norm_1(self.conv_1(x), train=train))
        x = self.activate(self.norm_2(self.conv_2(x), train=train))
        return x.reshape(x.shape[0], -1)

    def _logits(self, z: jax.Array, *, train: bool = False) -> jax.Array:
        x = self.activate(self.from_latent(z)).reshape(-1, *self.grid)
        x = self.activate(self.norm_3(self.conv_3(x), train=train))
        x = self.activate(self.norm_4(self.up_0(x), train=train))
        return crop(self.up_1(x), self.image_shape)

    def decode(self, z: jax.Array) -> jax.Array:
        """Returns images `[B, H, W, C]` of `[B, latent_dim]` latents."""
        return activate(self._logits(z), self.output)

    def __call__(
        self, x: jax.Array, *, key: jax.Array | None = None, train: bool = False
    ) -> Output:
        z = self.encode(x, train=train)
        return finish(x, z, self._logits(z, train=train), self.output)


def grid(model: Any) -> tuple[int, int, int]:
    """Returns the (H, W, C) of a quarter of the size that the last of `channels` has."""
    height, width, _ = model.image_shape
    return quarter(height), quarter(width), model.channels[-1]


def _seen_grid(model: SuperResolution) -> tuple[int, int, int]:
    """Returns the (H, W, C) that the encoder flattens, of an image halved and halved again."""
    height, width, _ = model.image_shape
    return -(-(height // 2) // 2), -(-(width // 2) // 2), model.channels[-1]


def square_image(flattened: int, channels: int, colours: int) -> tuple[int, int, int]:
    """Returns the image shape whose quarter-size grid has `flattened` values.

    The shapes of a state dict do not tell an image's height from its width, nor 29 pixels from 32:
    it is taken as square, and its sides as multiples of 4.
    """
    side = 4 * math.isqrt(flattened // channels)
    return side, side, colours


def _superres_layers(model: SuperResolution) -> tuple[Layer, ...]:
    return (
        Layer("encoder.0", "conv_0", "conv"),
        Layer("encoder.2", "conv_1", "conv"),
        Layer("encoder.5", "encoder/linear_0", flatten_in=_seen_grid(model)),
        Layer("encoder.7", "encoder/linear_1"),
        Layer("decoder.0", "decoder/linear_0"),
        Layer("decoder.2", "decoder/linear_1", flatten_out=grid(model)),
        Layer("decoder.5", "up_0", "conv_transpose"),
        Layer("decoder.7", "up_1", "conv_transpose"),
        Layer("decoder.9", "conv_out", "conv"),
    )


def _superres_sizes(shapes: Shapes) -> dict[str, Any]:
    channels = widths(shapes, ["encoder.0", "encoder.2"])
    hidden, latent_dim = widths(shapes, ["encoder.5", "encoder.7"])
    colours = shapes["encoder.0.weight"][1]
    return {
        "image_shape": square_image(shapes["encoder.5.weight"][1], channels[-1], colours),
        "latent_dim": latent_dim,
        "channels": channels,
        "decoder_channels": tuple(shapes[f"decoder.{i}.weight"][1] for i in (5, 7)),
        "hidden": hidden,
    }


def conv_layers(model: Any, heads: tuple[Layer, ...]) -> tuple[Layer, ...]:
    """Returns the layers of `conv` with other layers where it has the one to the latent."""
    return (
        Layer("encoder.0", "conv_0", "conv"),
        Layer("encoder.1", "norm_0", "batch_norm"),
        Layer("encoder.3", "conv_1", "conv"),
        Layer("encoder.4", "norm_1", "batch_norm"),
        Layer("encoder.6", "conv_2", "conv"),
        Layer("encoder.7", "norm_2", "batch_norm"),
        *(head._replace(flatten_in=grid(model)) for head in heads),
        Layer("decoder.0", "from_latent", flatten_out=grid(model)),
        Layer("decoder.3", "conv_3", "conv"),
        Layer("decoder.4", "norm_3", "batch_norm"),
        Layer("decoder.6", "up_0", "conv_transpose"),
        Layer("decoder.7", "norm_4", "batch_norm"),
        Layer("decoder.9", "up_1", "conv_transpose"),
    )


def _conv_sizes(shapes: Shapes) -> dict[str, Any]:
    channels = widths(shapes, ["encoder.0", "encoder.3", "encoder.6"])
    latent_dim, flattened = shapes["encoder.10.weight"]
    colours = shapes["encoder.0.weight"][1]
    return {
        "image_shape": square_image(flattened, channels[-1], colours),
        "latent_dim": latent_dim,
        "channels": channels,
    }


def _torch_superres(model: SuperResolution) -> Any:
    from msae_jax.models import torch_images

    return torch_images.superres(model)


def _torch_conv(model: Convolutional) -> Any:
    from msae_jax.models import torch_images

    return torch_images.conv(model)


_RECIPE = TrainConfig(data="mnist", epochs=5, batch_size=128)
RECORDS = {
    "superres": ModelRecord(
        SuperResolution,
        Layout(_superres_layers, _superres_sizes),
        _RECIPE,
        _torch_superres,
        "super-resolution",
        "green",
        1_702_081,
    ),
    "conv": ModelRecord(
        Convolutional,
        Layout(lambda model: conv_layers(model, (Layer("encoder.10", "to_latent"),)), _conv_sizes),
        _RECIPE,
        _torch_conv,
        "convolutional",
        "blue",
        1_009_569,
    ),
}
