"""One level of a pyramid: averages of blocks of time steps, encoded, decoded, interpolated."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from msae_jax.errors import InputError
from msae_jax.models.layers import Conv, ConvTranspose, Linear, Mlp
from msae_jax.models.layout import Layer


def average_pool(x: jax.Array, size: int) -> jax.Array:
    """Averages `[B, T, C]` over blocks of `size` time steps, to `[B, ceil(T / size), C]`.

    The last block is the mean of the steps that there are: `torch.nn.functional.avg_pool1d` with
    `ceil_mode=True`.
    """
    batch, length, channels = x.shape
    if size == 1:
        return x
    whole = length // size
    pooled = x[:, : whole * size].reshape(batch, whole, size, channels).mean(axis=2)
    if length % size:
        rest = x[:, whole * size :].mean(axis=1, keepdims=True)
        pooled = jnp.concatenate([pooled, rest], axis=1)
    return pooled


def interpolate(y: jax.Array, size: int, length: int) -> jax.Array:
    """Interpolates `[B, L, C]`, at the centres of blocks of `size` steps, to `[B, length, C]`.

    Time step t is at (t + 1/2) / size - 1/2 between the blocks, and before the first centre and
    behind the last one the value stays: `torch.nn.functional.interpolate` with `scale_factor=size`,
    `mode="linear"` and `align_corners=False`, cut to `length`.
    """
    if size == 1:
        return y
    batch, blocks, channels = y.shape
    padded = jnp.concatenate([y[:, :1], y, y[:, -1:]], axis=1)
    offset = (np.arange(size, dtype=np.float32) + 0.5) / size - 0.5  # from the block's own centre
    before, behind = np.maximum(-offset, 0), np.maximum(offset, 0)
    own = 1 - before - behind
    steps = (
        padded[:, :-2, None] * before[:, None]
        + y[:, :, None] * own[:, None]
        + padded[:, 2:, None] * behind[:, None]
    )
    return steps.reshape(batch, blocks * size, channels)[:, :length]


class DenseLevel(nn.Module):
    """Linear layers each way: `[B, L, C]` to `[B, latent_dim]`, and back."""

    length: int
    input_channels: int
    hidden: int
    latent_dim: int
    init_scheme: str = "torch"

    def setup(self) -> None:
        self.encoder = Mlp((self.hidden, self.latent_dim), self.init_scheme)
        self.decoder = Mlp((self.hidden, self.length * self.input_channels), self.init_scheme)

    def encode(self, x: jax.Array) -> jax.Array:
        return self.encoder(x.reshape(x.shape[0], -1))

    def decode(self, z: jax.Array) -> jax.Array:
        return self.decoder(z).reshape(z.shape[0], self.length, self.input_channels)


class ConvLevel(nn.Module):
    """Two convolutions of stride 2 and a linear layer each way: `[B, L, C]` to `[B, latent_dim]`.

    The transposed convolutions give a multiple of 4 steps, which is cut to L.
    """

    length: int
    input_channels: int
    channels: tuple[int, int]
    latent_dim: int
    init_scheme: str = "torch"

    def setup(self) -> None:
        first, second = self.channels
        scheme = self.init_scheme
        self.grid = (-(-self.length // 4), second)
        self.conv_0 = Conv(first, (3,), stride=2, padding=1, init_scheme=scheme)
        self.conv_1 = Conv(second, (3,), stride=2, padding=1, init_scheme=scheme)
        self.down = Linear(self.latent_dim, scheme)
        self.up = Linear(self.grid[0] * second, scheme)
        self.deconv_0 = ConvTranspose(first, (4,), stride=2, padding=1, init_scheme=scheme)
        self.deconv_1 = ConvTranspose(
            self.input_channels, (4,), stride=2, padding=1, init_scheme=scheme
        )

    def encode(self, x: jax.Array) -> jax.Array:
        x = nn.relu(self.conv_1(nn.relu(self.conv_0(x))))
        return self.down(x.reshape(x.shape[0], -1))

    def decode(self, z: jax.Array) -> jax.Array:
        x = nn.relu(self.up(z)).reshape(z.shape[0], *self.grid)
        return self.deconv_1(nn.relu(self.deconv_0(x)))[:, : self.length]


def level_sizes(latent_dim: int, pools: tuple[int, ...], length: int) -> list[int]:
    """Returns the latents of each level: equal, and one more in the first ones where needed.

    Raises:
      InputError: less than one latent a level, or a pool longer than the series.
    """
    if latent_dim < len(pools):
        raise InputError(
            f"latent_dim must be at least {len(pools)}, one a level of pools {list(pools)}, got "
            f"{latent_dim}."
        )
    if max(pools) > length:
        raise InputError(f"pools must be at most the {length} time steps, got {list(pools)}.")
    share, rest = divmod(latent_dim, len(pools))
    return [share + (i < rest) for i in range(len(pools))]


def dense_layers(torch: str, flax: str, length: int, channels: int) -> tuple[Layer, ...]:
    """Returns the table of a `DenseLevel` of series `[B, length, channels]`."""
    grid = (length, channels)
    return (
        Layer(f"{torch}.encoder.0", f"{flax}/encoder/linear_0", flatten_in=grid),
        Layer(f"{torch}.encoder.2", f"{flax}/encoder/linear_1"),
        Layer(f"{torch}.decoder.0", f"{flax}/decoder/linear_0"),
        Layer(f"{torch}.decoder.2", f"{flax}/decoder/linear_1", flatten_out=grid),
    )


def conv_layers(torch: str, flax: str, length: int, channels: int) -> tuple[Layer, ...]:
    """Returns the table of a `ConvLevel` of `length` steps and `channels` in its second layer."""
    grid = (-(-length // 4), channels)
    return (
        Layer(f"{torch}.encoder.0", f"{flax}/conv_0", "conv"),
        Layer(f"{torch}.encoder.2", f"{flax}/conv_1", "conv"),
        Layer(f"{torch}.encoder.5", f"{flax}/down", flatten_in=grid),
        Layer(f"{torch}.decoder.0", f"{flax}/up", flatten_out=grid),
        Layer(f"{torch}.decoder.3", f"{flax}/deconv_0", "conv_transpose"),
        Layer(f"{torch}.decoder.5", f"{flax}/deconv_1", "conv_transpose"),
    )
