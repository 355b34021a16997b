"""Operators that make arrays: constants, ranges, random numbers, dropout.

Random numbers come from the run's key. A normal distribution without a key is taken at its mean,
0, so that a variational autoencoder decodes the posterior mean. Dropout of whole channels appears
in graphs as Bernoulli numbers of probability p, divided by p; in evaluation these are taken at
their mean, p, which turns it off; where a graph uses them otherwise, `computation` refuses it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from msae_jax.interop.files.pt2_values import Setting
from msae_jax.interop.graph.context import Context
from msae_jax.interop.graph.dtypes import named

Array = jax.Array
Dtype = Setting | None
Sizes = Sequence[int]
_INT64 = Setting("dtype", "int64")


def _of_numbers(*numbers: Any) -> str:
    """Returns the dtype that PyTorch gives an array of such numbers."""
    if all(type(number) is bool for number in numbers):
        return "bool"
    return "int64" if all(type(number) in (int, bool) for number in numbers) else "float32"


def _like(self: Array, dtype: Dtype) -> Any:
    return self.dtype if dtype is None else named(dtype)


def full(size: Sizes, fill_value: Any, dtype: Dtype = None) -> Array:
    return jnp.full(tuple(size), fill_value, named(dtype, _of_numbers(fill_value)))


def zeros(size: Sizes, dtype: Dtype = None) -> Array:
    return jnp.zeros(tuple(size), named(dtype))


def ones(size: Sizes, dtype: Dtype = None) -> Array:
    return jnp.ones(tuple(size), named(dtype))


def full_like(self: Array, fill_value: Any, dtype: Dtype = None) -> Array:
    return jnp.full(self.shape, fill_value, _like(self, dtype))


def zeros_like(self: Array, dtype: Dtype = None) -> Array:
    return jnp.zeros(self.shape, _like(self, dtype))


def ones_like(self: Array, dtype: Dtype = None) -> Array:
    return jnp.ones(self.shape, _like(self, dtype))


def new_full(self: Array, size: Sizes, fill_value: Any, dtype: Dtype = None) -> Array:
    return jnp.full(tuple(size), fill_value, _like(self, dtype))


def new_zeros(self: Array, size: Sizes, dtype: Dtype = None) -> Array:
    return jnp.zeros(tuple(size), _like(self, dtype))


def new_ones(self: Array, size: Sizes, dtype: Dtype = None) -> Array:
    return jnp.ones(tuple(size), _like(self, dtype))


def scalar_tensor(s: Any, dtype: Dtype = None) -> Array:
    return jnp.asarray(s, named(dtype))


def fill(self: Array, value: Any) -> Array:
    return jnp.broadcast_to(jnp.asarray(value, self.dtype), self.shape)


def eye(n: int, dtype: Dtype = None) -> Array:
    return jnp.eye(n, dtype=named(dtype))


def eye_of(n: int, m: int, dtype: Dtype = None) -> Array:
    return jnp.eye(n, m, dtype=named(dtype))


def arange(end: Any, dtype: Dtype = None) -> Array:
    return arange_step(0, end, 1, dtype)


def arange_start(start: Any, end: Any, dtype: Dtype = None) -> Array:
    return arange_step(start, end, 1, dtype)


def arange_step(start: Any, end: Any, step: Any = 1, dtype: Dtype = None) -> Array:
    """Returns start, start + step, ... below end."""
    wanted = named(dtype, _of_numbers(start, end, step))
    count = max(0, math.ceil((end - start) / step))
    return (start + step * jnp.arange(count)).astype(wanted)


def linspace(start: Any, end: Any, steps: int, dtype: Dtype = None) -> Array:
    return jnp.linspace(start, end, steps, dtype=named(dtype))


def one_hot(self: Array, num_classes: int = -1) -> Array:
    return jax.nn.one_hot(self, num_classes, dtype=named(None, "int64"))


def _normal(context: Context, shape: Sizes, dtype: Any) -> Array:
    if context.key is None:
        return jnp.zeros(tuple(shape), dtype)
    return jax.random.normal(context.key, tuple(shape), dtype)


def randn(size: Sizes, dtype: Dtype = None, *, context: Context) -> Array:
    return _normal(context, size, named(dtype))


def randn_like(self: Array, dtype: Dtype = None, *, context: Context) -> Array:
    return _normal(context, self.shape, _like(self, dtype))


def normal_functional(
    self: Array, mean: float = 0.0, std: float = 1.0, *, context: Context
) -> Array:
    return mean + std * _normal(context, self.shape, self.dtype)


def normal_of(mean: Array, std: Array, *, context: Context) -> Array:
    return mean + std * _normal(context, jnp.broadcast_shapes(mean.shape, std.shape), mean.dtype)


def normal_around(mean: Array, std: float = 1.0, *, context: Context) -> Array:
    return mean + std * _normal(context, mean.shape, mean.dtype)


def normal_scaled(mean: float, std: Array, *, context: Context) -> Array:
    return mean + std * _normal(context, std.shape, std.dtype)


def normal_sized(
    mean: float, std: float, size: Sizes, dtype: Dtype = None, *, context: Context
) -> Array:
    return mean + std * _normal(context, size, named(dtype))


def exponential(self: Array, lambd: float = 1.0, *, context: Context) -> Array:
    key = context.needed_key("exponential")
    return jax.random.exponential(key, self.shape, self.dtype) / lambd


def randint(high: int, size: Sizes, dtype: Dtype = _INT64, *, context: Context) -> Array:
    return randint_from(0, high, size, dtype, context=context)


def randint_from(
    low: int, high: int, size: Sizes, dtype: Dtype = _INT64, *, context: Context
) -> Array:
    key = context.needed_key("randint")
    return jax.random.randint(key, tuple(size), low, high).astype(named(dtype))


def randperm(n: int, dtype: Dtype = _INT64, *, context: Context) -> Array:
    return jax.random.permutation(context.needed_key("randperm"), n).astype(named(dtype))


def rand(size: Sizes, dtype: Dtype = None, *, context: Context) -> Array:
    return jax.random.uniform(context.needed_key("rand"), tuple(size), named(dtype))


def rand_like(self: Array, dtype: Dtype = None, *, context: Context) -> Array:
    return jax.random.uniform(context.needed_key("rand_like"), self.shape, _like(self, dtype))


def bernoulli_p(self: Array, p: float, *, context: Context) -> Array:
    if not context.train:
        return jnp.full(self.shape, p, self.dtype)
    drawn = jax.random.bernoulli(context.needed_key("dropout"), p, self.shape)
    return drawn.astype(self.dtype)


def bernoulli(self: Array, *, context: Context) -> Array:
    drawn = jax.random.uniform(context.needed_key("bernoulli"), self.shape, self.dtype)
    return (drawn < self).astype(self.dtype)


def _kept(x: Array, p: float, shape: Sizes, key: Array) -> Array:
    """Returns 0 with probability p and 1 / (1 - p) else, so that the mean stays."""
    if p >= 1:
        return jnp.zeros(tuple(shape), x.dtype)
    return jax.random.bernoulli(key, 1 - p, tuple(shape)).astype(x.dtype) / (1 - p)


def dropped(x: Array, p: float, on: bool, context: Context, shape: Sizes | None = None) -> Array:
    """Returns x after dropout, which is off where the graph or the run is not in training."""
    if not (on and context.train and p):
        return x
    mask = _kept(x, p, x.shape if shape is None else shape, context.needed_key("dropout"))
    if context.masks is not None:
        context.masks.append(jnp.broadcast_to(mask, x.shape))
    return x * mask


def dropout(input: Array, p: float, train: bool, *, context: Context) -> Array:
    return dropped(input, p, train, context)


def native_dropout(
    input: Array, p: float, train: bool | None, *, context: Context
) -> tuple[Array, None]:
    return dropped(input, p, train is not False, context), None


def feature_dropout(input: Array, p: float, train: bool, *, context: Context) -> Array:
    """Returns the input [B, C, *S] with whole channels dropped."""
    shape = (*input.shape[:2], *(1,) * (input.ndim - 2))
    return dropped(input, p, train, context, shape)


def _alpha_dropped(x: Array, p: float, on: bool, context: Context, shape: Sizes) -> Array:
    """Returns x after dropout to -alpha' that keeps mean and variance of what SELU gives.

    Source: Klambauer et al., "Self-normalizing neural networks" (2017), as PyTorch has it.
    """
    if not (on and context.train and p):
        return x
    if p >= 1:
        return jnp.zeros_like(x)
    least = 1.7580993408473766
    scale = 1 / math.sqrt((least**2 * p + 1) * (1 - p))
    drawn = jax.random.bernoulli(context.needed_key("dropout"), 1 - p, tuple(shape))
    kept = drawn.astype(x.dtype)
    return x * kept * scale + (kept - 1) * (least * scale) + least * scale * p


def alpha_dropout(input: Array, p: float, train: bool, *, context: Context) -> Array:
    return _alpha_dropped(input, p, train, context, input.shape)


def feature_alpha_dropout(input: Array, p: float, train: bool, *, context: Context) -> Array:
    shape = (*input.shape[:2], *(1,) * (input.ndim - 2))
    return _alpha_dropped(input, p, train, context, shape)


TABLE: dict[str, Callable[..., Any]] = {
    "aten.full.default": full, "aten.zeros.default": zeros, "aten.ones.default": ones,
    "aten.empty.memory_format": zeros, "aten.full_like.default": full_like,
    "aten.zeros_like.default": zeros_like, "aten.ones_like.default": ones_like,
    "aten.empty_like.default": zeros_like, "aten.new_full.default": new_full,
    "aten.new_zeros.default": new_zeros, "aten.new_ones.default": new_ones,
    "aten.new_empty.default": new_zeros, "aten.scalar_tensor.default": scalar_tensor,
    "aten.fill.Scalar": fill, "aten.fill.Tensor": fill, "aten.eye.default": eye,
    "aten.eye.m": eye_of,
    "aten.arange.default": arange, "aten.arange.start": arange_start,
    "aten.arange.start_step": arange_step, "aten.linspace.default": linspace,
    "aten.one_hot.default": one_hot,
    "aten.randn.default": randn, "aten.randn_like.default": randn_like,
    "aten.normal_functional.default": normal_functional,
    "aten.normal.Tensor_Tensor": normal_of, "aten.normal.Tensor_float": normal_around,
    "aten.normal.float_Tensor": normal_scaled, "aten.normal.float_float": normal_sized,
    "aten.exponential.default": exponential,
    "aten.randint.default": randint, "aten.randint.low": randint_from,
    "aten.randperm.default": randperm,
    "aten.rand.default": rand, "aten.rand_like.default": rand_like,
    "aten.bernoulli.default": bernoulli, "aten.bernoulli.p": bernoulli_p,
    "aten.dropout.default": dropout, "aten.native_dropout.default": native_dropout,
    "aten.feature_dropout.default": feature_dropout,
    "aten.alpha_dropout.default": alpha_dropout,
    "aten.feature_alpha_dropout.default": feature_alpha_dropout,
}  # fmt: skip
