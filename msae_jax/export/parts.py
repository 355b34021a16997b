"""The parts of a model that leave: the encoder, the decoder, both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, cast, get_args

import jax
import jax.numpy as jnp
import numpy as np

from msae_jax.errors import InputError, unknown_name
from msae_jax.models.output import Output
from msae_jax.weights import Weights

Name = Literal["encode", "decode", "reconstruct"]
PARTS = get_args(Name)


def part(
    weights: Weights, name: Name
) -> tuple[Callable[[jax.Array], jax.Array], list[jax.ShapeDtypeStruct]]:
    """Returns a function of one float32 array `[B, ...]`, and what that array is.

    `encode` computes the latents of samples as `msae embed` does, posterior means included, and
    `reconstruct` what `msae reconstruct` does of samples in floats. `decode` is the decoder alone.

    Returns:
      The function, with the weights in it; and shape and dtype of its array, the batch size as 1.

    Raises:
      InputError: there is no such part, or this model has none.
    """
    if name not in PARTS:
        raise unknown_name("part", name, PARTS)
    model, variables = weights.model, weights.variables

    def samples(x: jax.Array) -> Output:
        return cast(Output, model.apply(variables, x))

    def encode(x: jax.Array) -> jax.Array:
        return samples(x).z

    def reconstruct(x: jax.Array) -> jax.Array:
        return samples(x).recon

    def decode(z: jax.Array) -> jax.Array:
        return cast(jax.Array, model.apply(variables, z, method="decode"))

    given = jax.ShapeDtypeStruct((1, *weights.sample_shape), jnp.float32)
    if name == "reconstruct":
        return reconstruct, [given]
    if jax.eval_shape(samples, given).z is None:
        raise InputError(
            "the latent of this program is not certain: say which value it is, --set z=encoder (a "
            "module's path, or an output's number from 0)."
        )
    if name == "encode":
        return encode, [given]
    return decode, [_code(weights, jax.eval_shape(encode, given))]


def _code(weights: Weights, latent: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    """Returns what the decoder reads: a latent, or what the model says that it reads instead."""
    shape = getattr(weights.model, "code_shape", latent.shape[1:])
    return jax.ShapeDtypeStruct((1, *shape), np.float32)
