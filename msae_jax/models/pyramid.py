"""Levels from coarse to fine, each of which encodes what those before it left: `pyramid`.

With r_1 = x, level k averages r_k over blocks of p_k time steps, encodes and decodes the result,
interpolates it linearly to full length, y_k, and hands on r_{k+1} = r_k - y_k. The reconstruction
is the sum of the y_k, and the latent is the latents of the levels, one after the other.

Source: the residual stacks of N-HiTS (Challu et al., 2023), with a bottleneck in each level.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from msae_jax.config import TrainConfig
from msae_jax.errors import unknown_name
from msae_jax.models.layout import Layer, Layout, Shapes, numbered
from msae_jax.models.levels import (
    ConvLevel,
    DenseLevel,
    average_pool,
    conv_layers,
    dense_layers,
    interpolate,
    level_sizes,
)
from msae_jax.models.output import Output
from msae_jax.models.record import ModelRecord
from msae_jax.models.series import as_series, series_shape, series_sizes


class Pyramid(nn.Module):
    """The residual pyramid of series `[B, T]` or `[B, T, C]`.

    Attributes:
      features: values per sample, T times C. input_channels: C; of `[B, T]` it is 1.
      pools: how many time steps each level averages, from the first level to the last.
      latent_dim: of all levels together; equal shares, and one more for the first where needed.
      level: `dense` or `conv`, what each level is made of.
      hidden: width of a dense level. channels: of a convolutional level's two convolutions.
      init_scheme: `torch` or `flax` initial weights.
    """

    features: int = 128
    input_channels: int = 1
    pools: tuple[int, ...] = (8, 2, 1)
    latent_dim: int = 64
    level: str = "dense"
    hidden: int = 128
    channels: tuple[int, int] = (16, 32)
    init_scheme: str = "torch"

    def setup(self) -> None:
        length = series_shape(self.features, self.input_channels)[0]
        self.levels = [
            self._level(-(-length // pool), latent_dim)
            for pool, latent_dim in zip(
                self.pools, level_sizes(self.latent_dim, self.pools, length), strict=True
            )
        ]

    def _level(self, length: int, latent_dim: int) -> nn.Module:
        if self.level == "dense":
            return DenseLevel(
                length, self.input_channels, self.hidden, latent_dim, self.init_scheme
            )
        if self.level == "conv":
            return ConvLevel(
                length, self.input_channels, self.channels, latent_dim, self.init_scheme
            )
        raise unknown_name("level", self.level, ("dense", "conv"))

    series_sizes = staticmethod(series_sizes)

    @staticmethod
    def sizes_for(sample_shape: tuple[int, ...]) -> dict[str, int]:
        return series_sizes(sample_shape)

    @property
    def sample_shape(self) -> tuple[int, ...]:
        return series_shape(self.features, self.input_channels, squeeze=True)

    def _through(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Returns the latents `[B, latent_dim]` and the reconstructions `[B, T, C]`."""
        x = as_series(x, self.features, self.input_channels, "the pyramid")
        residual, recon, latents = x, jnp.zeros_like(x), []
        for pool, level in zip(self.pools, self.levels, strict=True):
            z = level.encode(average_pool(residual, pool))
            part = interpolate(level.decode(z), pool, x.shape[1])
            residual, recon = residual - part, recon + part
            latents.append(z)
        return jnp.concatenate(latents, axis=1), recon

    def encode(self, x: jax.Array) -> jax.Array:
        """Returns `[B, latent_dim]` latents of `[B, T]` or `[B, T, C]`, the first level's first."""
        return self._through(x)[0]

    def decode(self, z: jax.Array) -> jax.Array:
        """Returns reconstructions, `[B, T]` or `[B, T, C]`, of `[B, latent_dim]` latents."""
        length, channels = series_shape(self.features, self.input_channels)
        recon = jnp.zeros((z.shape[0], length, channels), z.dtype)
        sizes = level_sizes(self.latent_dim, self.pools, length)
        parts = jnp.split(z, np.cumsum(sizes)[:-1], axis=1)
        for pool, level, part in zip(self.pools, self.levels, parts, strict=True):
            recon = recon + interpolate(level.decode(part), pool, length)
        return recon.reshape(z.shape[0], *self.sample_shape)

    def __call__(
        self, x: jax.Array, *, key: jax.Array | None = None, train: bool = False
    ) -> Output:
        z, recon = self._through(x)
        return Output(recon.reshape(x.shape), z)


def layers(model: Pyramid) -> tuple[Layer, ...]:
    """Returns the table of a pyramid, and of one whose encoders have more outputs."""
    length, channels = series_shape(model.features, model.input_channels)
    found: tuple[Layer, ...] = ()
    for i, pool in enumerate(model.pools):
        names, own = (f"levels.{i}", f"levels_{i}"), -(-length // pool)
        if model.level == "dense":
            found += dense_layers(*names, own, channels)
        else:
            found += conv_layers(*names, own, model.channels[1])
    return found


def sizes(shapes: Shapes, *, flat: bool | None = None) -> dict[str, Any]:
    """Everything but the channels of dense levels, and lengths and pools of convolutional ones.

    A dense level tells how many values it reads; the last one is taken to read every time step.

    Args:
      flat: whether every level must see the series at the same scale; None for either.

    Raises:
      ValueError: that is not so. The pyramid and its control are told apart by it.
    """
    keys = numbered(shapes, "levels.{}.encoder.0", 0)
    if len(shapes[f"{keys[0]}.weight"]) == 3:
        return _conv_sizes(shapes, len(keys), flat=flat)
    values = [shapes[f"{key}.weight"][1] for key in keys]
    if flat not in (None, len(set(values)) == 1):
        raise ValueError("the levels are of another model")
    told: dict[str, Any] = {
        "features": values[-1],
        "level": "dense",
        "hidden": shapes[f"{keys[0]}.weight"][0],
        "latent_dim": sum(shapes[f"levels.{i}.encoder.2.weight"][0] for i in range(len(keys))),
    }
    fitting = [[p for p in range(1, values[-1] + 1) if -(-values[-1] // p) == v] for v in values]
    if all(len(found) == 1 for found in fitting):
        told["pools"] = tuple(pool for (pool,) in fitting)
    return told


def _conv_sizes(shapes: Shapes, count: int, *, flat: bool | None) -> dict[str, Any]:
    grids = [shapes[f"levels.{i}.encoder.5.weight"][1] for i in range(count)]
    if flat not in (None, len(set(grids)) == 1):
        raise ValueError("the levels are of another model")
    first, channels, _ = shapes["levels.0.encoder.0.weight"]
    return {
        "level": "conv",
        "input_channels": channels,
        "channels": (first, shapes["levels.0.encoder.2.weight"][0]),
        "latent_dim": sum(shapes[f"levels.{i}.encoder.5.weight"][0] for i in range(count)),
    }


def _torch_pyramid(model: Pyramid) -> Any:
    from msae_jax.models import torch_series

    return torch_series.Pyramid(model)


_RECIPE = TrainConfig(data="sines", epochs=20, batch_size=64)
RECORDS = {
    "pyramid": ModelRecord(
        Pyramid,
        Layout(layers, partial(sizes, flat=False)),
        _RECIPE,
        _torch_pyramid,
        colour="sky",
    ),
    # Its control: every level sees the series at full length. With this width it has as many
    # parameters as `pyramid` at default sizes, as nearly as a whole number allows. At other sizes
    # `msae compare RUN pyramid-flat --match params` finds the width.
    "pyramid-flat": ModelRecord(
        partial(Pyramid, pools=(1, 1, 1), hidden=78),
        Layout(layers, partial(sizes, flat=True)),
        _RECIPE,
        _torch_pyramid,
        "pyramid at one scale",
        "gold",
    ),
}
