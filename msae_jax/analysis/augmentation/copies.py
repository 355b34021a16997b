"""Augmented copies of the windows of a series, in the units of the user."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from msae_jax.analysis.augmentation.controls import Codec
from msae_jax.data.series import Scaling, Windows
from msae_jax.data.series.windows import moments
from msae_jax.errors import InputError
from msae_jax.train import observed
from msae_jax.train.transforms import Transform

BATCH_SIZE = 512
"""Windows that are transformed at once; it is always the same, as each batch has a key."""


def every(windows: Windows, stride: int) -> Windows:
    """Returns every so many of windows at a stride of 1, from the first of each unbroken run."""
    return replace(windows, starts=_picked(windows, stride, ends=False))


def covering(windows: Windows) -> Windows:
    """Returns windows that do not overlap, from those at a stride of 1, for `joined`.

    The last one of each unbroken run ends where the run ends, and overlaps the one before it where
    the length of a window does not divide that of the run.
    """
    return replace(windows, starts=_picked(windows, windows.length, ends=True))


def _picked(windows: Windows, stride: int, *, ends: bool) -> np.ndarray:
    runs = np.split(windows.starts, np.flatnonzero(np.diff(windows.starts) != 1) + 1)
    parts = [run[::stride] for run in runs]
    if ends:
        parts = [np.union1d(part, run[-1:]) for part, run in zip(parts, runs, strict=True)]
    return np.concatenate(parts).astype(np.int32)


def joined(x: np.ndarray, windows: Windows) -> np.ndarray:
    """Returns the series `[T, C]` that `covering` windows `[N, L, C]` make up; NaN between them.

    At a point of two windows the later one counts.
    """
    series = np.full(windows.values.shape, np.nan, np.float32)
    for start, window in zip(windows.starts, x, strict=True):
        series[start : start + windows.length] = window
    return series


def as_series(x: Any, channels: int) -> Any:
    """Returns windows `[N, L]` or `[N, L, C]` as `[N, L, C]`."""
    return x.reshape(*x.shape[:2], channels)


class _Encode(NamedTuple):
    """What encodes with given variables; equal for all seeds of a model, so that a program is."""

    model: nn.Module

    def __call__(self, variables: Mapping[str, Any], series: jax.Array) -> jax.Array:
        grid = getattr(self.model, "latent_grid", None)
        seen = series[..., 0] if series.shape[2] == 1 else series
        out: Any = self.model.apply(variables, seen)
        z: jax.Array = out.z
        return z if grid is None else z.reshape(len(series), *grid)


class _Standard(NamedTuple):
    """`_Encode`, in standard deviations from the mean."""

    encode: _Encode

    def __call__(
        self, variables: Any, mean: jax.Array, inverse: jax.Array, series: jax.Array
    ) -> jax.Array:
        return (self.encode(variables, series) - mean) * inverse


class _Decode(NamedTuple):
    """What decodes latents in standard deviations from the mean to series of a shape."""

    model: nn.Module
    shape: tuple[int, ...]

    def __call__(
        self, variables: Any, mean: jax.Array, deviation: jax.Array, z: jax.Array
    ) -> jax.Array:
        own = (z * deviation + mean).reshape(len(z), -1)
        back: Any = self.model.apply(variables, own, method="decode")
        decoded: jax.Array = back.reshape(len(z), *self.shape)
        return decoded


_encoded = jax.jit(_Encode.__call__, static_argnums=0)


def model_codec(model: nn.Module, variables: Mapping[str, Any], x: np.ndarray) -> Codec:
    """Returns the encoder and the decoder of a model, for `in_latents`.

    Each latent is measured from its mean over `x`, in its standard deviations there, so that a
    strength means the same for every latent and every model. A latent that does not vary stays.
    Of a model with latents for each time step (its `latent_grid`) they are `[N, T, d]`.

    Both are pytrees of their arrays (`jax.tree_util.Partial`), so that they can be arguments of a
    compiled function, which then serves every seed.

    Args:
      x: windows `[N, L, C]` without missing values; of one channel, the model sees `[N, L]`.
    """
    encode = _Encode(model)
    z = np.asarray(_encoded(encode, variables, jnp.asarray(x)), np.float64)
    axes = tuple(range(z.ndim - 1))
    mean, deviation = (jnp.asarray(f(z, axis=axes), jnp.float32) for f in (np.mean, np.std))
    inverse = jnp.where(deviation > 0, 1 / jnp.where(deviation > 0, deviation, 1), 0)
    return Codec(
        Partial(_Standard(encode), variables, mean, inverse),
        Partial(_Decode(model, tuple(x.shape[1:])), variables, mean, deviation),
    )


def latent_count(model: nn.Module, variables: Mapping[str, Any], x: np.ndarray) -> int:
    """Returns how many latents a model has for one window of `[N, L, C]`."""
    seen = x[:1, :, 0] if x.shape[2] == 1 else x[:1]
    out: Any = jax.eval_shape(model.apply, variables, jnp.asarray(seen))
    return math.prod(out.z.shape[1:])


def augmented(
    transforms: Sequence[Transform], windows: Windows, copies: int, key: jax.Array, strength: float
) -> np.ndarray:
    """Returns copies of all windows, float32 `[copies, N, L, C]`, in units of the scaled data.

    Args:
      transforms: copy i is made by the i-th of them, and from the first one on again; such as that
        of each seed.
      key: folded with the number of the copy and of the batch, it draws everything.

    What is missing, as NaN, is 0 to the transform and stays missing in the copies.
    """
    channels = windows.values.shape[1]
    made = np.empty((copies, len(windows), windows.length, channels), np.float32)
    compiled = [jax.jit(transform) for transform in transforms[:copies]]
    for copy in range(copies):
        change = compiled[copy % len(compiled)]
        own = jax.random.fold_in(key, copy)
        for begin in range(0, len(windows), BATCH_SIZE):
            rows = np.arange(begin, begin + BATCH_SIZE)
            x = as_series(windows.take(np.minimum(rows, len(windows) - 1)), channels)
            seen, _ = observed(jnp.asarray(x), masked=True)
            changed = change(jax.random.fold_in(own, begin), seen, strength)
            if changed.shape != x.shape:
                raise InputError(
                    f"a transform must keep the shape {list(x.shape)}, got {list(changed.shape)}."
                )
            kept = np.where(np.isnan(x), np.nan, np.asarray(changed))
            made[copy, begin : begin + BATCH_SIZE] = kept[: len(windows) - begin]
    return made


def in_units(x: np.ndarray, windows: Windows, scaling: Scaling) -> np.ndarray:
    """Returns scaled copies `[..., N, L, C]` of N windows in the user's units.

    The scaling of the run is undone; where each window was scaled by itself, each copy gets the
    mean and the deviation of its own window back.
    """
    if windows.standardize:
        raw = replace(windows, standardize=False).take(np.arange(len(windows)))
        mean, deviation = moments(as_series(raw, windows.values.shape[1]), axis=1)
        x = x * deviation + mean
    return scaling.invert(x)
