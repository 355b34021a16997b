"""What any method of augmentation must beat: principal components behind the same interface."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from msae_jax.errors import InputError


class Codec(NamedTuple):
    """A pair of functions between series and latents, as `in_latents` takes them.

    Attributes:
      encode: from series `[B, T, C]` to latents `[B, D]`.
      decode: from latents `[B, D]` to series `[B, T, C]`.
    """

    encode: Callable[[jax.Array], jax.Array]
    decode: Callable[[jax.Array], jax.Array]


def principal_components(x: np.ndarray, count: int) -> Codec:
    """Returns the projection on the first principal components of series, and back.

    The latents have unit variance over `x`, so that a strength means the same for each of them.

    Args:
      x: the training series `[N, T, C]`.
      count: the number of components, D.

    Raises:
      InputError: a count that the series do not have.
    """
    x = np.asarray(x)
    rows = x.reshape(len(x), -1).astype(np.float64)
    if not 1 <= count <= min(rows.shape):
        raise InputError(
            f"the series have 1 to {min(rows.shape)} principal components, got {count}."
        )
    mean = rows.mean(axis=0)
    _, spread, components = np.linalg.svd(rows - mean, full_matrices=False)
    deviations = spread[:count] / np.sqrt(len(rows))
    varies = spread[:count] > 1e-12 * max(spread[0], np.abs(mean).max())  # else its latent is 0
    inverse = np.where(varies, 1 / np.where(varies, deviations, 1), 0)
    shape = x.shape[1:]

    def encode(series: jax.Array) -> jax.Array:
        centred = series.reshape(len(series), -1) - jnp.asarray(mean, series.dtype)
        return centred @ jnp.asarray((components[:count] * inverse[:, None]).T, series.dtype)

    def decode(z: jax.Array) -> jax.Array:
        back = z @ jnp.asarray(components[:count] * deviations[:, None], z.dtype)
        return (back + jnp.asarray(mean, z.dtype)).reshape(-1, *shape)

    return Codec(encode, decode)
