"""The Tourism series: direct transforms as published, and transforms in the latents of windows.

Series are float32 `[S, T, 1]` numbers of visitors: S = 304 series of T = 228 months. A method of
augmentation is a transform of such series, so that all methods are measured alike; what none may
make, a negative number of visitors, is 0.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from msae_jax.analysis import augmentation as aug
from msae_jax.data import Dataset, Split
from msae_jax.data.series import Windows

WINDOW = 10  # months
TRAIN_MONTHS = 160  # whole windows; the last 68 months are for testing
STRIDE = 5  # between the training windows; test windows do not overlap

STRENGTHS = {"jitter": 0.75, "magnitude-warp": 0.5, "scaling": 0.5}
"""What the publication calls 0.5 x 6 times a quarter of a standard deviation, 0.1 x 5, 0.1 x 5."""


class Scale(NamedTuple):
    """The mean and the standard deviation of each series, `[S, 1, 1]`."""

    mean: np.ndarray
    deviation: np.ndarray

    def apply(self, x: Any) -> Any:
        """Returns scaled series, of NumPy or JAX."""
        return (x - self.mean) / self.deviation

    def invert(self, x: Any) -> Any:
        """Returns numbers of visitors."""
        return x * self.deviation + self.mean


def read(folder: Path) -> np.ndarray:
    """Returns the series `[S, T, 1]` from the folder of real series."""
    months = np.load(folder / "tourism" / "tourism_monthly_228x304.npz")["y"]
    return months.T[..., None].astype(np.float32)


def scale_of(x: np.ndarray) -> Scale:
    """Returns the scale of series `[S, T, 1]`; a constant one is only centred."""
    deviation = x.std(axis=1, keepdims=True)
    return Scale(x.mean(axis=1, keepdims=True), np.where(deviation > 0, deviation, 1))


def dataset(x: np.ndarray, train: int = TRAIN_MONTHS) -> Dataset:
    """Returns the windows of series `[S, T, 1]`, each series scaled by its first `train` months.

    No training window holds a month of the test part.
    """
    count, length, _ = x.shape
    scaled = np.asarray(scale_of(x[:, :train]).apply(x), np.float32).reshape(-1, 1)
    begins = np.arange(count)[:, None] * length
    inside = np.arange(0, train - WINDOW + 1, STRIDE), np.arange(train, length - WINDOW + 1, WINDOW)
    parts = [Windows(scaled, (begins + i).ravel().astype(np.int32), WINDOW) for i in inside]
    return Dataset("tourism", Split(parts[0]), Split(parts[1]))


def direct(name: str) -> aug.Transform:
    """Returns a transform of series `[S, T, 1]` as published; strength 1 is the published one."""

    def changed(key: jax.Array, x: jax.Array, strength: float | jax.Array) -> jax.Array:
        own = strength * STRENGTHS[name]
        change = aug.named(name)
        if name == "jitter":  # in standard deviations of each series
            deviation = x.std(axis=1, keepdims=True)
            deviation = jnp.where(deviation > 0, deviation, 1)
            made = change(key, x / deviation, own) * deviation
        elif name == "scaling":  # each month is a series of its own, so that it has its own factor
            made = change(key, x.reshape(-1, 1, 1), own).reshape(x.shape)
        else:
            made = change(key, x, own)
        return jnp.maximum(made, 0)

    return changed


def through(codec: aug.Codec, scale: Scale, name: str) -> aug.Transform:
    """Returns the transform in the latents of windows that follow each other.

    Args:
      codec: of scaled windows `[B, WINDOW, 1]`.
      name: of the transform; its strength 1 is that of `STRENGTHS`, in standard deviations of each
        latent. `identity` gives the reconstruction.
    """
    inside = aug.in_latents(*codec, _step(name))
    bound = Partial if isinstance(inside, Partial) else functools.partial
    return bound(_through, inside, scale)


@functools.cache  # the same transform has the same programs
def _step(name: str) -> aug.Transform:
    return aug.named("identity") if name == "identity" else aug.chain([(name, STRENGTHS[name])])


def _through(
    inside: aug.Transform, scale: Scale, key: jax.Array, x: jax.Array, strength: float | jax.Array
) -> jax.Array:
    windows = scale.apply(x).reshape(-1, WINDOW, 1)
    return jnp.maximum(scale.invert(inside(key, windows, strength).reshape(x.shape)), 0)


def windows_of(x: np.ndarray, scale: Scale) -> np.ndarray:
    """Returns the scaled windows `[N, WINDOW, 1]`, one after the other, of series `[S, T, 1]`."""
    return np.asarray(scale.apply(x), np.float32).reshape(-1, WINDOW, 1)


def by_month(x: np.ndarray) -> np.ndarray:
    """Returns series `[S, T, 1]` as `[T, S]`, the samples of the published PCA-2 ratio."""
    return np.asarray(x)[..., 0].T
