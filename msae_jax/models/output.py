"""What every autoencoder returns, and the activation that turns logits into data."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax

from msae_jax.errors import InputError
from msae_jax.models import activations


class Output(NamedTuple):
    """The output of a model on `[B, ...]` inputs.

    Attributes:
      recon: the reconstruction, shaped like the input, in the units of the data.
      z: the latent that was decoded, `[B, latent_dim]`.
      logits: what the output sigmoid was applied to; None where the output is another one.
      mu, log_var: mean and log variance of a Gaussian posterior, `[B, latent_dim]`; None without.
      target: what the reconstruction is to be compared with, where it is not the input; the
        reconstruction then has its shape.
    """

    recon: jax.Array
    z: jax.Array
    logits: jax.Array | None = None
    mu: jax.Array | None = None
    log_var: jax.Array | None = None
    target: jax.Array | None = None


def activate(logits: jax.Array, output: str) -> jax.Array:
    """Applies the output activation, one of `activations.ACTIVATIONS`."""
    return activations.find(output)(logits)


def finish(
    x: jax.Array,
    z: jax.Array,
    logits: jax.Array,
    output: str,
    mu: jax.Array | None = None,
    log_var: jax.Array | None = None,
) -> Output:
    """Assembles an `Output` whose reconstruction has the shape of `x`."""
    logits = logits.reshape(x.shape)
    recon = activate(logits, output)
    return Output(recon, z, logits if output == "sigmoid" else None, mu, log_var)


def flatten(x: jax.Array, features: int, model: str) -> jax.Array:
    """Flattens `[B, ...]` to `[B, features]`.

    Raises:
      InputError: `x` has another number of values per sample.
    """
    got = math.prod(x.shape[1:])
    if x.ndim < 2 or got != features:
        raise InputError(
            f"{model} expects [B, {features}] or samples that flatten to {features} values, "
            f"got {list(x.shape)} ({got} per sample)."
        )
    return x.reshape(x.shape[0], features)
