"""A way of augmenting series beside others that move the data as far, and beside no change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import numpy as np

from msae_jax.analysis.augmentation.controls import principal_components
from msae_jax.analysis.augmentation.copies import model_codec
from msae_jax.analysis.augmentation.measures import (
    controllability,
    pca_ratio,
    spread,
    strength_at,
    wasserstein,
)
from msae_jax.data.series import Windows
from msae_jax.errors import InputError
from msae_jax.train.transforms import Transform, compiled, identity, in_latents

STEPS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""The strengths of the controllability, as multiples of the one that is used."""

MEASURED = 512
"""Windows that are measured at most, evenly spread over all."""


class Quality(NamedTuple):
    """What a method of augmentation does to series.

    Attributes:
      strength: that it was measured at, a multiple of the strengths of the chain.
      distance: the median Wasserstein distance from the original, see `wasserstein`.
      pca_ratio: in per cent, see `pca_ratio`; None where there are too few windows.
      rho, monotonic: the controllability over `STEPS`; None where there is nothing to control.
      unreached: why the method was not measured at the wanted distance; None where it was. Then it
        was measured at the strength that is given.
    """

    strength: float
    distance: float
    pca_ratio: float | None
    rho: float | None = None
    monotonic: float | None = None
    unreached: str | None = None


def measured(windows: Windows) -> Windows:
    """Returns the windows without missing values, at most `MEASURED` of them.

    Raises:
      InputError: every window has a missing value.
    """
    whole = np.arange(len(windows))
    if windows.masked:
        total = np.cumsum(np.r_[0, np.isnan(windows.values).any(axis=1)])
        begins = windows.starts
        whole = np.flatnonzero(total[begins + windows.length] == total[begins])
    if not len(whole):
        raise InputError("every window has a missing value, so that no copy can be measured.")
    rows = whole[np.linspace(0, len(whole) - 1, min(len(whole), MEASURED)).astype(int)]
    return replace(windows, starts=windows.starts[rows], masked=False)


def quality(transform: Transform, x: np.ndarray, key: jax.Array, strength: float = 1.0) -> Quality:
    """Returns what a transform at a strength does to series `[B, T, C]`."""
    transform = compiled(transform)
    made = np.asarray(transform(key, x, strength))
    distance = spread(wasserstein(x, made)).median
    try:
        ratio = pca_ratio(x, made)
    except InputError:  # too few windows, or two components rebuild them all
        ratio = None
    if strength == 0:
        return Quality(strength, distance, ratio)
    found = controllability(transform, x, [strength * step for step in STEPS], key)
    return Quality(strength, distance, ratio, found.rho, found.monotonic)


def quality_at(transform: Transform, x: np.ndarray, key: jax.Array, distance: float) -> Quality:
    """Returns what a transform does to series at the strength that moves them by a distance.

    Where none does, it is measured at its own strength, and `unreached` says why.
    """
    try:
        return quality(transform, x, key, strength_at(transform, x, distance, key).strength)
    except InputError as error:
        return quality(transform, x, key)._replace(unreached=str(error))


def transforms_of(
    model: Any, variables: Sequence[Mapping[str, Any]], x: np.ndarray, change: Transform
) -> list[Transform]:
    """Returns a transform in the latents of each model; see `model_codec`."""
    return [in_latents(*model_codec(model, one, x), change) for one in variables]


def compared(
    through: Sequence[Transform],
    latents: int,
    x: np.ndarray,
    change: Transform,
    key: jax.Array,
    *,
    direct: bool = False,
) -> dict[str, list[Quality]]:
    """Returns what a way of augmenting does, and the others at an equal distance from the data.

    The distance is that of the first method, its mean over the models.

    Args:
      through: the transform in the latents of each model.
      latents: how many each has; principal components, fitted on `x`, have as many.
      change: the transform itself.
      direct: whether it is applied to the data, instead of through latents.

    Returns:
      By method, a `Quality`; of `latents`, one a model. `reconstruction` is the model without any
      change of the latents, `reconstruction by PCA` that of principal components.
    """
    others: dict[str, list[Transform]] = {"latents": list(through), "direct": [change]}
    count = min(latents, len(x), x[0].size)
    codec = principal_components(x, count)
    others["PCA"] = [in_latents(*codec, change)]
    first = "direct" if direct else "latents"
    found = {first: [quality(transform, x, key) for transform in others.pop(first)]}
    target = float(np.mean([one.distance for one in found[first]]))
    for name, transforms in others.items():
        found[name] = [quality_at(transform, x, key, target) for transform in transforms]
    found["reconstruction"] = [quality(transform, x, key, 0.0) for transform in through]
    unchanged = in_latents(*codec, identity)
    found["reconstruction by PCA"] = [quality(unchanged, x, key, 0.0)]
    return found
