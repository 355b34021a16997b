"""The activations that models take by name, each as PyTorch computes it by default."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from msae_jax.errors import unknown_name

Activation = Callable[[jax.Array], jax.Array]


def _identity(x: jax.Array) -> jax.Array:
    return x


def _gelu(x: jax.Array) -> jax.Array:
    """By the error function; JAX's default is the approximation by tanh."""
    return jax.nn.gelu(x, approximate=False)


ACTIVATIONS: dict[str, Activation] = {
    "identity": _identity,
    "relu": jax.nn.relu,
    "leaky_relu": jax.nn.leaky_relu,  # of slope 0.01
    "elu": jax.nn.elu,
    "gelu": _gelu,
    "sigmoid": jax.nn.sigmoid,
    "tanh": jnp.tanh,
}


def find(name: str) -> Activation:
    """Returns an activation by its name.

    Raises:
      InputError: there is none of this name.
    """
    if name not in ACTIVATIONS:
        raise unknown_name("activation", name, ACTIVATIONS)
    return ACTIVATIONS[name]
