"""A bidirectional LSTM and self-attention that compute what PyTorch's layers compute.

Both read series `[B, T, I]` and keep the time axis.
"""

from __future__ import annotations

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from msae_jax.errors import InputError
from msae_jax.models.layers import Initializer, initializers


def tanh(x: jax.Array) -> jax.Array:
    """Returns tanh(x) = 2 sigmoid(2 x) - 1.

    XLA's own float32 tanh on CPUs is too small by 1e-7 of its value between -0.3 and 0.3. That adds
    up over time: of 128 steps, gradients were ten times further from float64 than PyTorch's.
    """
    return 2.0 * nn.sigmoid(2.0 * x) - 1.0


def lstm_cell(gates: jax.Array, c: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns h and c `[B, H]` of a step of an LSTM, from its gates `[B, 4 H]`: i, f, g, o."""
    h, c, _ = _cell(_doubled(gates), c)
    return h, c


def _doubled(gates: jax.Array) -> jax.Array:
    """Returns gates `[..., 4 H]`, or a kernel of theirs, with g twice as large, which is exact."""
    return gates * jnp.repeat(jnp.array([1, 1, 2, 1], gates.dtype), gates.shape[-1] // 4)


def _cell(doubled: jax.Array, c: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns h, c, and sigmoid of i, f, 2 g and o.

    As tanh(g) = 2 sigmoid(2 g) - 1, one sigmoid serves all gates: on CPUs, XLA computes it more
    than twice as fast as those of four slices.
    """
    opened = nn.sigmoid(doubled)
    i, f, g, o = jnp.split(opened, 4, axis=-1)
    c = f * c + i * (2.0 * g - 1.0)
    return o * tanh(c), c, opened


UNROLL = 2
"""Steps of a series that a loop of gradients computes at once: to start one costs as much as its
products. Without gradients it gains nothing."""


@jax.custom_vjp
def lstm(
    gates: jax.Array, kernel: jax.Array, h: jax.Array, c: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns h of all steps `[T, B, H]`, and the last h and c `[B, H]`, of an LSTM.

    The gradients are written out: what does not depend on the gradients of later steps is computed
    for all steps at once, and the gradient of the kernel is one product. JAX's own compute it in
    the loop, step after step, and took 1.4 times as long.

    Args:
      gates: what the inputs and biases add to the gates i, f, g, o of each step, `[T, B, 4 H]`.
      kernel: `[H, 4 H]`.
      h, c: the state before the first step, `[B, H]`.
    """

    doubled = _doubled(kernel)

    def step(carry: tuple[jax.Array, jax.Array], gates: jax.Array) -> Any:
        h, c = carry
        h, c, _ = _cell(gates + h @ doubled, c)
        return (h, c), h

    (h, c), steps = jax.lax.scan(step, (h, c), _doubled(gates))
    return steps, h, c


def _lstm_forward(gates: jax.Array, kernel: jax.Array, h: jax.Array, c: jax.Array) -> Any:
    doubled = _doubled(kernel)

    def step(carry: tuple[jax.Array, jax.Array], gates: jax.Array) -> Any:
        h, c = carry
        h, c, opened = _cell(gates + h @ doubled, c)
        return (h, c), (h, c, opened)

    last, (hs, cs, opened) = jax.lax.scan(step, (h, c), _doubled(gates), unroll=UNROLL)
    before = [jnp.concatenate([first[None], rest])[:-1] for first, rest in ((h, hs), (c, cs))]
    return (hs, *last), (kernel, *before, cs, opened)


def _lstm_backward(kept: Any, cotangents: Any) -> tuple[jax.Array, ...]:
    kernel, h_before, c_before, c, opened = kept
    i, f, g, o = jnp.split(opened, 4, axis=-1)
    squashed = tanh(c)
    # of c with respect to the gates i, f and g, of h with respect to o
    slopes = jnp.concatenate([2.0 * g - 1.0, c_before, 4.0 * i, squashed], axis=-1)
    slopes = slopes * opened * (1.0 - opened)
    of_c = o * (1.0 - squashed * squashed)  # of h with respect to c
    back = kernel.T  # here, so that the loop's products read it as it lies

    def step(carry: tuple[jax.Array, jax.Array], given: tuple[jax.Array, ...]) -> Any:
        d_h, d_c = carry
        d_step, slopes, of_c, f = given
        d_h = d_h + d_step
        d_c = d_c + d_h * of_c
        d_gates = jnp.concatenate([d_c, d_c, d_c, d_h], axis=-1) * slopes
        return (d_gates @ back, d_c * f), d_gates

    d_steps, *d_last = cotangents
    given = d_steps, slopes, of_c, f
    (d_h, d_c), d_gates = jax.lax.scan(step, tuple(d_last), given, reverse=True, unroll=UNROLL)
    return d_gates, jnp.einsum("tbh,tbg->hg", h_before, d_gates), d_h, d_c


lstm.defvjp(_lstm_forward, _lstm_backward)


class BidirectionalLstm(nn.Module):
    """`torch.nn.LSTM(I, features, batch_first=True, bidirectional=True)`: `[B, T, 2 features]`.

    With the gates i, f, g, o of a step, [i f g o] = x W + b + h U + c,

        c_t = sigmoid(f) c_{t-1} + sigmoid(i) tanh(g),    h_t = sigmoid(o) tanh(c_t)

    and zeros before the first step. The second half of the output is that of the series read from
    its end. The kernels are `[I, 4 features]` and `[features, 4 features]`.

    Source: Hochreiter and Schmidhuber (1997), in the form of `torch.nn.LSTM`.
    """

    features: int
    init_scheme: str = "torch"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        forward, backward = self._direction(x, ""), self._direction(x[:, ::-1], "_reverse")
        return jnp.concatenate([forward, backward[:, ::-1]], axis=-1)

    def _direction(self, x: jax.Array, suffix: str) -> jax.Array:
        weight, bias = initializers(self.init_scheme, self.features)
        sizes = {"input": x.shape[-1], "hidden": self.features}
        width = 4 * self.features
        kernels = {
            name: self.param(f"{name}_kernel{suffix}", weight, (size, width), jnp.float32)
            for name, size in sizes.items()
        }
        biases = [self.param(f"{name}_bias{suffix}", bias, (width,), jnp.float32) for name in sizes]
        gates = x @ kernels["input"] + biases[0] + biases[1]  # of all steps at once
        nothing = jnp.zeros((x.shape[0], self.features), x.dtype)
        steps, _, _ = lstm(jnp.moveaxis(gates, 1, 0), kernels["hidden"], nothing, nothing)
        return jnp.moveaxis(steps, 0, 1)


class SelfAttention(nn.Module):
    """`torch.nn.MultiheadAttention(E, heads, batch_first=True)` of `[B, T, E]` with itself.

    Each head computes softmax(Q K^T / sqrt(E / heads)) V over the time steps. `in_kernel` is
    `[E, 3 E]`, for Q, K and V.

    Source: Vaswani et al., "Attention is all you need" (2017).
    """

    heads: int
    init_scheme: str = "torch"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        batch, length, size = x.shape
        if size % self.heads:
            raise InputError(
                f"{size} values of a time step are not a number of {self.heads} heads."
            )
        zeros = nn.initializers.zeros_init()
        weight, _ = initializers(self.init_scheme, size)
        inner = self.param("in_kernel", _of_inputs(self.init_scheme), (size, 3 * size), jnp.float32)
        bias = self.param("in_bias", zeros, (3 * size,), jnp.float32)
        parts = (x @ inner + bias).reshape(batch, length, 3, self.heads, size // self.heads)
        query, key, value = (parts[:, :, i] for i in range(3))
        scores = jnp.einsum("bqhd,bkhd->bhqk", query, key) / math.sqrt(size // self.heads)
        mixed = jnp.einsum("bhqk,bkhd->bqhd", nn.softmax(scores), value)
        outer = self.param("out_kernel", weight, (size, size), jnp.float32)
        y = mixed.reshape(batch, length, size) @ outer
        return y + self.param("out_bias", zeros, (size,), jnp.float32)


def _of_inputs(scheme: str) -> Initializer:
    """Returns how Q, K and V begin: in PyTorch, as one matrix of Xavier's uniform distribution."""
    return nn.initializers.xavier_uniform() if scheme == "torch" else initializers(scheme, 1)[0]
