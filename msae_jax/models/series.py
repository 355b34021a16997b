"""Series `[B, T]` and `[B, T, C]`, and flattened images: how models read and size them."""

from __future__ import annotations

import math

import jax

from msae_jax.errors import InputError


def series_sizes(sample_shape: tuple[int, ...]) -> dict[str, int]:
    """Returns the fields `features` and `input_channels` for series `[T]` or `[T, C]`.

    Raises:
      InputError: samples of another number of axes.
    """
    if len(sample_shape) not in (1, 2):
        raise InputError(
            f"this model expects series [T] or [T, C], got samples of shape {list(sample_shape)}."
        )
    channels = sample_shape[1] if len(sample_shape) == 2 else 1
    return {"features": math.prod(sample_shape), "input_channels": channels}


def flat_sizes(sample_shape: tuple[int, ...]) -> dict[str, int]:
    """Returns `features`, and of images `[H, W, C]` `input_channels`, of a model that flattens.

    PyTorch flattens them in the order (C, H, W): as it does a series of H W steps and C channels.
    """
    sizes = {"features": math.prod(sample_shape)}
    return sizes | ({"input_channels": sample_shape[2]} if len(sample_shape) == 3 else {})


def series_shape(features: int, channels: int, *, squeeze: bool = False) -> tuple[int, ...]:
    """Returns the shape (T, C) of a series; (T,) if it is to be squeezed and C is 1.

    Raises:
      InputError: the channels do not divide the features.
    """
    if features % channels:
        raise InputError(f"{features} features are not a number of steps of {channels} channels.")
    length = features // channels
    return (length,) if squeeze and channels == 1 else (length, channels)


def as_series(x: jax.Array, features: int, channels: int, model: str) -> jax.Array:
    """Returns `[B, T]` or `[B, T, C]` as `[B, T, C]`.

    Raises:
      InputError: `x` is another series.
    """
    length, _ = series_shape(features, channels)
    if x.shape[1:] != (length, channels) and not (channels == 1 and x.shape[1:] == (length,)):
        expected = f"[B, {length}]" if channels == 1 else f"[B, {length}, {channels}]"
        raise InputError(f"{model} expects series {expected}, got {list(x.shape)}.")
    return x.reshape(x.shape[0], length, channels)
