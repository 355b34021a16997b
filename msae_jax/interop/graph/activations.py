"""Activations, with PyTorch's values and gradients at their corners."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from msae_jax.errors import InputError
from msae_jax.interop.files.pt2_values import Setting
from msae_jax.interop.graph.context import Context
from msae_jax.interop.graph.dtypes import named


def leaky_relu(self: jax.Array, negative_slope: float = 0.01) -> jax.Array:
    return jnp.where(self > 0, self, negative_slope * self)


def rrelu(
    self: jax.Array,
    lower: float = 0.125,
    upper: float = 1 / 3,
    training: bool = False,
    *,
    context: Context,
) -> jax.Array:
    """Returns leaky ReLU; its slopes are the middle of two bounds, or drawn in training."""
    return rrelu_with_noise(self, self, lower, upper, training, context=context)[0]


def rrelu_with_noise(
    self: jax.Array,
    noise: jax.Array,
    lower: float = 0.125,
    upper: float = 1 / 3,
    training: bool = False,
    *,
    context: Context,
) -> tuple[jax.Array, jax.Array]:
    """Returns the same, and the slopes that were drawn, in the place of `noise`."""
    if not (training and context.train):
        return leaky_relu(self, (lower + upper) / 2), noise
    key = context.needed_key("rrelu")
    drawn = jax.random.uniform(key, self.shape, self.dtype, lower, upper)
    slopes = jnp.where(self > 0, 1, drawn)
    return slopes * self, slopes


def prelu(self: jax.Array, weight: jax.Array) -> jax.Array:
    """Returns leaky ReLU with a slope for all, or one for each channel on axis 1."""
    if weight.size > 1:
        weight = weight.reshape(1, -1, *(1,) * (self.ndim - 2))
    return jnp.where(self > 0, self, weight.reshape(weight.shape if weight.size > 1 else ()) * self)


def prelu_kernel(self: jax.Array, weight: jax.Array) -> jax.Array:
    return jnp.where(self > 0, self, weight * self)


def hardtanh(self: jax.Array, min_val: float = -1.0, max_val: float = 1.0) -> jax.Array:
    low, high = jnp.asarray(min_val, self.dtype), jnp.asarray(max_val, self.dtype)
    return jnp.where(self <= low, low, jnp.where(self >= high, high, self))


def relu6(self: jax.Array) -> jax.Array:
    return hardtanh(self, 0.0, 6.0)


def elu(
    self: jax.Array, alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0
) -> jax.Array:
    """Returns scale (x if x > 0 else alpha (exp(input_scale x) - 1))."""
    positive = self > 0
    below = alpha * jnp.expm1(jnp.where(positive, 0.0, self) * input_scale)
    return scale * jnp.where(positive, self, below.astype(self.dtype))


def selu(self: jax.Array) -> jax.Array:
    return elu(self, 1.6732632423543772848170429916717, 1.0507009873554804934193349852946)


def celu(self: jax.Array, alpha: float = 1.0) -> jax.Array:
    return elu(self, alpha, 1.0, 1.0 / alpha)


def gelu(self: jax.Array, approximate: str = "none") -> jax.Array:
    """Returns x Phi(x), Phi by the error function or, where the graph says so, by tanh."""
    if approximate not in ("none", "tanh"):
        raise InputError(f"GELU is approximated by {approximate!r}, expected none or tanh.")
    return jax.nn.gelu(self, approximate=approximate == "tanh")


def mish(self: jax.Array) -> jax.Array:
    return self * jnp.tanh(softplus(self))


def softplus(self: jax.Array, beta: float = 1.0, threshold: float = 20.0) -> jax.Array:
    """Returns log(1 + exp(beta x)) / beta, and x itself where beta x is above the threshold."""
    scaled = self * beta
    large = scaled > threshold
    return jnp.where(large, self, jnp.log1p(jnp.exp(jnp.where(large, 0.0, scaled))) / beta)


def hardsigmoid(self: jax.Array) -> jax.Array:
    return hardtanh(self + 3.0, 0.0, 6.0) / 6.0


def hardswish(self: jax.Array) -> jax.Array:
    return self * hardtanh(self + 3.0, 0.0, 6.0) / 6.0


def hardshrink(self: jax.Array, lambd: float = 0.5) -> jax.Array:
    return jnp.where(jnp.abs(self) <= lambd, 0.0, self)


def softshrink(self: jax.Array, lambd: float = 0.5) -> jax.Array:
    return jnp.where(self > lambd, self - lambd, jnp.where(self < -lambd, self + lambd, 0.0))


def threshold(self: jax.Array, threshold: float, value: float) -> jax.Array:
    return jnp.where(self <= threshold, jnp.asarray(value, self.dtype), self)


def glu(self: jax.Array, dim: int = -1) -> jax.Array:
    a, b = jnp.split(self, 2, axis=dim)
    return a * jax.nn.sigmoid(b)


def softmax(self: jax.Array, dim: int, dtype: Setting | None = None) -> jax.Array:
    return jax.nn.softmax(self if dtype is None else self.astype(named(dtype)), axis=dim)


def log_softmax(self: jax.Array, dim: int, dtype: Setting | None = None) -> jax.Array:
    return jax.nn.log_softmax(self if dtype is None else self.astype(named(dtype)), axis=dim)


def softmax_kernel(self: jax.Array, dim: int, half_to_float: bool) -> jax.Array:
    return jax.nn.softmax(self.astype(jnp.float32) if half_to_float else self, axis=dim)


def log_softmax_kernel(self: jax.Array, dim: int, half_to_float: bool) -> jax.Array:
    return jax.nn.log_softmax(self.astype(jnp.float32) if half_to_float else self, axis=dim)


def silu(self: jax.Array) -> jax.Array:
    return jax.nn.silu(self)


def log_sigmoid(self: jax.Array) -> jax.Array:
    return jax.nn.log_sigmoid(self)


TABLE: dict[str, Callable[..., Any]] = {
    "aten.leaky_relu.default": leaky_relu, "aten.rrelu.default": rrelu,
    "aten.rrelu_with_noise_functional.default": rrelu_with_noise,
    "aten.prelu.default": prelu,
    "aten._prelu_kernel.default": prelu_kernel,
    "aten.hardtanh.default": hardtanh, "aten.relu6.default": relu6, "aten.elu.default": elu,
    "aten.selu.default": selu, "aten.celu.default": celu, "aten.gelu.default": gelu,
    "aten.mish.default": mish, "aten.softplus.default": softplus,
    "aten.hardsigmoid.default": hardsigmoid, "aten.hardswish.default": hardswish,
    "aten.hardshrink.default": hardshrink, "aten.softshrink.default": softshrink,
    "aten.threshold.default": threshold, "aten.glu.default": glu, "aten.silu.default": silu,
    "aten.log_sigmoid.default": log_sigmoid,
    "aten.softmax.int": softmax,
    "aten._softmax.default": softmax_kernel,
    "aten.log_softmax.int": log_softmax, "aten._log_softmax.default": log_softmax_kernel,
}  # fmt: skip
