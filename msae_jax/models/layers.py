"""Linear, convolution and batch-norm layers that compute what PyTorch's layers compute.

Differences from `flax.linen`'s own: initial weights *and* biases follow PyTorch's default
distributions unless `init_scheme="flax"`; batch norm tracks the unbiased variance; convolutions pad
symmetrically, transposed ones are gradients of convolutions, and both stay fast inside a compiled
loop on CPU (`msae_jax.models.convolution`).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from msae_jax.errors import InputError, unknown_name
from msae_jax.models import activations
from msae_jax.models.convolution import conv, conv_transpose

Initializer = Callable[..., jax.Array]


def uniform(fan_in: int) -> Initializer:
    """Returns the initialiser U(-1/sqrt(fan_in), 1/sqrt(fan_in)).

    PyTorch's default for weights and biases of Linear and Conv layers: `kaiming_uniform_` with
    a = sqrt(5), see `torch.nn.Linear.reset_parameters`.
    """
    bound = 1.0 / math.sqrt(fan_in)

    def init(key: jax.Array, shape: tuple[int, ...], dtype: jnp.dtype = jnp.float32) -> jax.Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


def initializers(scheme: str, fan_in: int) -> tuple[Initializer, Initializer]:
    """Returns the initialisers of weight and bias for the scheme `torch` or `flax`."""
    if scheme == "torch":
        return uniform(fan_in), uniform(fan_in)
    if scheme == "flax":
        return nn.initializers.lecun_normal(), nn.initializers.zeros_init()
    raise unknown_name("init scheme", scheme, ("torch", "flax"))


class Linear(nn.Module):
    """`torch.nn.Linear`: `[B, I]` to `[B, features]`; `kernel` is `[I, features]`."""

    features: int
    init_scheme: str = "torch"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        weight, bias = initializers(self.init_scheme, x.shape[-1])
        kernel = self.param("kernel", weight, (x.shape[-1], self.features), jnp.float32)
        return x @ kernel + self.param("bias", bias, (self.features,), jnp.float32)


class Mlp(nn.Module):
    """Linear layers, an activation between them, none after the last.

    Computes `[B, widths[-1]]` of `[B, I]`.
    """

    widths: tuple[int, ...]
    init_scheme: str = "torch"
    activation: str = "relu"

    def setup(self) -> None:
        self.linear = [Linear(width, self.init_scheme) for width in self.widths]

    def __call__(self, x: jax.Array) -> jax.Array:
        activate = activations.find(self.activation)
        for layer in self.linear[:-1]:
            x = activate(layer(x))
        return self.linear[-1](x)


class Conv(nn.Module):
    """`torch.nn.Conv1d` and `Conv2d`, channels last; `kernel` is `[*kernel_size, I, features]`."""

    features: int
    kernel_size: tuple[int, ...]
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    init_scheme: str = "torch"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        weight, bias = initializers(self.init_scheme, x.shape[-1] * math.prod(self.kernel_size))
        shape = (*self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", weight, shape, jnp.float32)
        y = conv(x, kernel, stride=self.stride, padding=self.padding, dilation=self.dilation)
        return y + self.param("bias", bias, (self.features,), jnp.float32)


class ConvTranspose(nn.Module):
    """`torch.nn.ConvTranspose2d`, channels last; `kernel` is `[kh, kw, I, features]`.

    `kernel[i, j]` is PyTorch's `weight[:, :, i, j]`: not flipped. PyTorch computes the fan-in of
    its initial weights from the *output* channels.
    """

    features: int
    kernel_size: tuple[int, ...]
    stride: int = 1
    padding: int = 0
    init_scheme: str = "torch"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        weight, bias = initializers(self.init_scheme, self.features * math.prod(self.kernel_size))
        shape = (*self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", weight, shape, jnp.float32)
        y = conv_transpose(x, kernel, stride=self.stride, padding=self.padding)
        return y + self.param("bias", bias, (self.features,), jnp.float32)


def adaptive_average_pool(x: jax.Array, size: int) -> jax.Array:
    """Averages `[B, L, C]` over time to `[B, size, C]`, as `torch.nn.AdaptiveAvgPool1d` does.

    Output i is the mean of inputs floor(i L / size) to ceil((i + 1) L / size) - 1.
    """
    batch, length, channels = x.shape
    if length % size == 0:
        return x.reshape(batch, size, length // size, channels).mean(axis=2)
    weights = np.zeros((size, length), np.float32)
    for i in range(size):
        start, end = i * length // size, -(-(i + 1) * length // size)
        weights[i, start:end] = 1.0 / (end - start)
    return jnp.einsum("sl,blc->bsc", weights, x)


class BatchNorm(nn.Module):
    """`torch.nn.BatchNorm2d` over `[B, ..., C]`, in collections `params` and `batch_stats`.

    Normalises with the biased batch variance while training, and tracks the *unbiased* one:
    new = (1 - momentum) old + momentum batch. `count` is PyTorch's `num_batches_tracked`.
    """

    momentum: float = 0.1
    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        channels = x.shape[-1]
        scale = self.param("scale", nn.initializers.ones_init(), (channels,), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros_init(), (channels,), jnp.float32)
        mean_ = self.variable("batch_stats", "mean", jnp.zeros, (channels,), jnp.float32)
        var_ = self.variable("batch_stats", "var", jnp.ones, (channels,), jnp.float32)
        count = self.variable("batch_stats", "count", jnp.zeros, (), jnp.int32)
        mean, var = mean_.value, var_.value
        if train:
            rows = x.reshape(-1, channels)  # XLA's CPU sums one leading axis faster than three
            n = len(rows)
            if n < 2:
                raise InputError(
                    f"batch norm needs 2 values per channel or more to train, got {list(x.shape)}."
                )
            mean = rows.mean(axis=0)
            var = jnp.square(rows - mean).mean(axis=0)
            if not self.is_initializing():
                mean_.value += self.momentum * (mean - mean_.value)
                var_.value += self.momentum * (var * (n / (n - 1)) - var_.value)
                count.value += 1
        rows = (x.reshape(-1, channels) - mean) * (scale * jax.lax.rsqrt(var + self.epsilon))
        return (rows + bias).reshape(x.shape)
