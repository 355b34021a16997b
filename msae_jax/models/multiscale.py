"""Two encoders that see the input at two scales, one decoder: `msae` (1-D), `msae-mlp`."""

from __future__ import annotations

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from msae_jax.config import TrainConfig
from msae_jax.errors import InputError
from msae_jax.models import activations
from msae_jax.models.layers import Conv, Mlp, adaptive_average_pool
from msae_jax.models.layout import Layer, Layout, Shapes, mlp, widths
from msae_jax.models.output import Output, activate, finish, flatten
from msae_jax.models.record import ModelRecord
from msae_jax.models.series import as_series, series_sizes


class SignalEncoder(nn.Module):
    """Two convolutions, adaptive average pooling, two linear layers.

    Encodes `[B, L, C]` to `[B, latent_dim]`.

    The second convolution is dilated by `dilation`; both keep the length (odd kernels).
    """

    kernel: int
    dilation: int
    pooled: int
    channels: tuple[int, int]
    hidden: int
    latent_dim: int
    init_scheme: str = "torch"
    activation: str = "relu"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for i, (features, dilation) in enumerate(
            zip(self.channels, (1, self.dilation), strict=True)
        ):
            padding = dilation * (self.kernel // 2)
            layer = Conv(
                features,
                (self.kernel,),
                padding=padding,
                dilation=dilation,
                init_scheme=self.init_scheme,
                name=f"conv_{i}",
            )
            x = activations.find(self.activation)(layer(x))
        x = adaptive_average_pool(x, self.pooled)
        x = x.reshape(x.shape[0], -1)
        sizes = (self.hidden, self.latent_dim)
        return Mlp(sizes, self.init_scheme, self.activation, name="mlp")(x)


class MultiScaleSignal(nn.Module):
    """The 1-D multi-scale autoencoder: a short- and a long-range encoder of whole signals.

    Attributes:
      signal_length: time steps per signal.
      input_channels: of signals `[B, T, C]`; where it is 1, inputs `[B, ...]` of any shape are
        flattened to `[B, signal_length]`.
      latent_dim: of both encoders together; the short-range one has half, rounded down.
      channels: of the two convolutions of each encoder.
      kernels, dilations, pooled: short- and long-range kernel, dilation of the second convolution,
        and length after pooling.
      hidden: width of the linear layers.
      activation: of the hidden layers; it and `output` are of `activations.ACTIVATIONS`.
      output: the last activation. init_scheme: `torch` or `flax` initial weights.
    """

    signal_length: int = 128
    latent_dim: int = 64
    channels: tuple[int, int] = (16, 32)
    kernels: tuple[int, int] = (3, 7)
    dilations: tuple[int, int] = (1, 2)
    pooled: tuple[int, int] = (16, 8)
    hidden: int = 128
    output: str = "identity"
    init_scheme: str = "torch"
    input_channels: int = 1
    activation: str = "relu"

    def setup(self) -> None:
        if self.latent_dim < 2:
            raise InputError(f"latent_dim must be at least 2, one a scale, got {self.latent_dim}.")
        if any(k % 2 == 0 for k in self.kernels):
            raise InputError(f"kernels must be odd to keep the length, got {self.kernels}.")
        half = self.latent_dim // 2
        self.enc_short, self.enc_long = (
            SignalEncoder(
                self.kernels[i],
                self.dilations[i],
                self.pooled[i],
                self.channels,
                self.hidden,
                latent_dim,
                self.init_scheme,
                self.activation,
            )
            for i, latent_dim in enumerate((half, self.latent_dim - half))
        )
        values = self.signal_length * self.input_channels
        self.decoder = Mlp((self.hidden, values), self.init_scheme, self.activation)

    @staticmethod
    def sizes_for(sample_shape: tuple[int, ...]) -> dict[str, int]:
        return {"signal_length": math.prod(sample_shape)}

    @staticmethod
    def series_sizes(sample_shape: tuple[int, ...]) -> dict[str, int]:
        sizes = series_sizes(sample_shape)
        channels = sizes["input_channels"]
        return {"signal_length": sizes["features"] // channels, "input_channels": channels}

    @property
    def sample_shape(self) -> tuple[int, ...]:
        channels = () if self.input_channels == 1 else (self.input_channels,)
        return (self.signal_length, *channels)

    def encode(self, x: jax.Array) -> jax.Array:
        """Returns `[B, latent_dim]` latents of `[B, ...]` inputs: short-range half, then long."""
        name = "the multi-scale autoencoder"
        if self.input_channels == 1:
            x = flatten(x, self.signal_length, name)[:, :, None]
        else:
            x = as_series(x, self.signal_length * self.input_channels, self.input_channels, name)
        return jnp.concatenate([self.enc_short(x), self.enc_long(x)], axis=1)

    def decode(self, z: jax.Array) -> jax.Array:
        """Returns reconstructions `[B, *sample_shape]` of `[B, latent_dim]` latents."""
        recon = activate(self.decoder(z), self.output)
        return recon.reshape(z.shape[0], *self.sample_shape)

    def __call__(
        self, x: jax.Array, *, key: jax.Array | None = None, train: bool = False
    ) -> Output:
        z = self.encode(x)
        return finish(x, z, self.decoder(z), self.output)


class MultiScaleMlp(nn.Module):
    """The multi-scale MLP of the paper's appendix: one encoder reads the first part of the input.

    Attributes:
      features: values per sample; inputs `[B, ...]` are flattened to `[B, features]`.
      small_fraction: the share of the features, from the first on, that the small encoder reads.
      latent_dim: of both encoders together; the small one has half, rounded down.
      small_hidden, large_hidden: widths of the encoders; the decoder has `large_hidden`.
      activation: of the hidden layers; it and `output` are of `activations.ACTIVATIONS`.
      output: the last activation. init_scheme: `torch` or `flax` initial weights.
    """

    features: int = 784
    small_fraction: float = 0.5
    latent_dim: int = 128
    small_hidden: int = 128
    large_hidden: int = 256
    output: str = "identity"
    init_scheme: str = "torch"
    activation: str = "relu"

    def setup(self) -> None:
        if self.latent_dim < 2:
            raise InputError(f"latent_dim must be at least 2, one a scale, got {self.latent_dim}.")
        if not 1 <= self.small_features <= self.features:
            raise InputError(
                f"small_fraction must select 1 to {self.features} features, got "
                f"{self.small_fraction} ({self.small_features} features)."
            )
        half = self.latent_dim // 2
        more = (self.init_scheme, self.activation)
        self.encoder_small = Mlp((self.small_hidden, half), *more)
        self.encoder_large = Mlp((self.large_hidden, self.latent_dim - half), *more)
        self.decoder = Mlp((self.large_hidden, self.features), *more)

    @staticmethod
    def sizes_for(sample_shape: tuple[int, ...]) -> dict[str, int]:
        return {"features": math.prod(sample_shape)}

    @property
    def sample_shape(self) -> tuple[int, ...]:
        return (self.features,)

    @property
    def small_features(self) -> int:
        return int(self.features * self.small_fraction)

    def encode(self, x: jax.Array) -> jax.Array:
        """Returns `[B, latent_dim]` latents of `[B, ...]` inputs: small-scale half, then large."""
        x = flatten(x, self.features, "the multi-scale MLP")
        small = self.encoder_small(x[:, : self.small_features])
        return jnp.concatenate([small, self.encoder_large(x)], axis=1)

    def decode(self, z: jax.Array) -> jax.Array:
        """Returns `[B, features]` reconstructions of `[B, latent_dim]` latents."""
        return activate(self.decoder(z), self.output)

    def __call__(
        self, x: jax.Array, *, key: jax.Array | None = None, train: bool = False
    ) -> Output:
        z = self.encode(x)
        return finish(x, z, self.decoder(z), self.output)


def _signal_layers(model: MultiScaleSignal) -> tuple[Layer, ...]:
    encoders = [
        (
            Layer(f"{name}.1", f"{name}/conv_0", "conv"),
            Layer(f"{name}.3", f"{name}/conv_1", "conv"),
            Layer(f"{name}.7", f"{name}/mlp/linear_0", flatten_in=(pooled, model.channels[1])),
            Layer(f"{name}.9", f"{name}/mlp/linear_1"),
        )
        for name, pooled in zip(("enc_short", "enc_long"), model.pooled, strict=True)
    ]
    first, last = mlp(["decoder.0", "decoder.2"], "decoder")
    grid = (model.signal_length, model.input_channels)
    return (*encoders[0], *encoders[1], first, last._replace(flatten_out=grid))


def _signal_sizes(shapes: Shapes) -> dict[str, Any]:
    """Everything but the dilations, which leave no trace in the shapes."""
    short, long = "enc_short", "enc_long"
    channels = widths(shapes, ["enc_short.1", "enc_short.3"])
    hidden, values = widths(shapes, ["decoder.0", "decoder.2"])
    input_channels = shapes["enc_short.1.weight"][1]
    return {
        "signal_length": values // input_channels,
        "input_channels": input_channels,
        "latent_dim": sum(widths(shapes, [f"{short}.9", f"{long}.9"])),
        "channels": channels,
        "kernels": tuple(shapes[f"{name}.1.weight"][2] for name in (short, long)),
        "pooled": tuple(shapes[f"{name}.7.weight"][1] // channels[1] for name in (short, long)),
        "hidden": hidden,
    }


def _mlp_layers(model: MultiScaleMlp) -> tuple[Layer, ...]:
    blocks = ("encoder_small", "encoder_large", "decoder")
    return sum((mlp([f"{name}.0", f"{name}.2"], name) for name in blocks), ())


def _mlp_sizes(shapes: Shapes) -> dict[str, Any]:
    small, features = (shapes[f"encoder_{name}.0.weight"][1] for name in ("small", "large"))
    fraction = small / features
    if int(features * fraction) != small:
        fraction = (small + 0.5) / features  # the share that rounds down to `small`
    small_hidden, large_hidden = widths(shapes, ["encoder_small.0", "encoder_large.0"])
    return {
        "features": features,
        "small_fraction": fraction,
        "latent_dim": sum(widths(shapes, ["encoder_small.2", "encoder_large.2"])),
        "small_hidden": small_hidden,
        "large_hidden": large_hidden,
    }


def _torch_signal(model: MultiScaleSignal) -> Any:
    from msae_jax.models import torch_reference

    return torch_reference.MultiScale(model)


def _torch_mlp(model: MultiScaleMlp) -> Any:
    from msae_jax.models import torch_reference

    return torch_reference.MultiScaleMlp(model)


RECORDS = {
    "msae": ModelRecord(
        MultiScaleSignal,
        Layout(_signal_layers, _signal_sizes),
        TrainConfig(data="sines", epochs=20, batch_size=64),
        _torch_signal,
        "multi-scale",
        "blue",
        137_024,
    ),
    "msae-mlp": ModelRecord(
        MultiScaleMlp,
        Layout(_mlp_layers, _mlp_sizes),
        TrainConfig(data="mnist", epochs=20, batch_size=64),
        _torch_mlp,
        "multi-scale MLP",
        "blue",
        510_480,
    ),
}
