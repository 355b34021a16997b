"""The floating-point operations of a model, counted from its layers, not by a compiler."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp

from msae_jax.models import init_variables
from msae_jax.models.layers import Conv, ConvTranspose, Linear
from msae_jax.models.output import Output


class Operations(NamedTuple):
    """Additions and multiplications of the matrix products and convolutions, per sample.

    Attributes:
      encode: of a latent. forward: of a reconstruction.
      training: of a step: forward, the gradients of all kernels, and those of all activations but
        the sample itself. Biases, activations, losses and the optimiser are left out: memory bounds
        them, not arithmetic.
    """

    encode: int
    forward: int
    training: int


def operations(model: nn.Module, sample_shape: tuple[int, ...] | None = None) -> Operations:
    """Counts what one sample takes.

    A kernel `[*K, I, O]` takes 2 operations a value and output position of a linear layer or a
    convolution, and an input position of a transposed one.
    """
    shape = model.sample_shape if sample_shape is None else sample_shape
    latent: list[tuple[int, bool]] = []
    found: list[tuple[int, bool]] = []

    def trace(variables: Mapping[str, Any], x: jax.Array) -> None:
        others = dict(variables)
        params = others.pop("params")

        def count(call: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
            result = call(*args, **kwargs)
            layer = context.module
            products = ("__call__", "transposed")  # the second one: PCA's way back
            if context.method_name in products and isinstance(layer, Linear | Conv | ConvTranspose):
                kernel: jax.Array = layer.get_variable("params", "kernel")
                positions = args[0] if isinstance(layer, ConvTranspose) else result
                size = 2 * kernel.size * math.prod(positions.shape[1:-1])
                # only what depends on parameters has a gradient, and is no longer traced as x is
                found.append((size, type(args[0]) is not type(x)))
            return result

        def run(params: Any, method: str | None = None) -> Any:
            with nn.intercept_methods(count):
                return model.apply({"params": params, **others}, x, method=method)

        run(params, "encode")
        latent.extend(found)
        found.clear()
        jax.vjp(lambda params: cast(Output, run(params)).recon, params)

    def shapes() -> None:
        trace(init_variables(model, jax.random.key(0), shape), jnp.zeros((1, *shape)))

    jax.eval_shape(shapes)  # nothing is computed or compiled
    encode, forward = (sum(size for size, _ in layers) for layers in (latent, found))
    inputs = sum(size for size, has_gradient in found if has_gradient)
    return Operations(encode, forward, 2 * forward + inputs)
