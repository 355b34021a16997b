"""What the page knows of each model: latents, their place in the plane, errors, a prior."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from msae_jax import data
from msae_jax.analysis.projections import project
from msae_jax.errors import InputError
from msae_jax.explorer import decoder
from msae_jax.explorer.packing import packed
from msae_jax.explorer.samples import picked
from msae_jax.train import evaluation
from msae_jax.weights import Weights

CHECKED = 8
"""Samples whose reconstruction goes into the page, which compares its own with them."""

FULL_COVARIANCE = 256
"""With more latents the Gaussian that is fitted to them has independent latents."""


class Plane(NamedTuple):
    """Where latents lie in two dimensions.

    Attributes:
      points: `[N, 2]`. method: `latent`, `pca`, `tsne` or `umap`.
      mean, components: `[D]` and `[2, D]` with points = (z - mean) components^T, where it is so.
      explained: for `pca` the share `[2]` of the variance along each axis, else None.
    """

    points: np.ndarray
    method: str
    mean: np.ndarray | None = None
    components: np.ndarray | None = None
    explained: np.ndarray | None = None


class Shown(NamedTuple):
    """One model in the page.

    Attributes:
      seed: of its run. z: latents `[N, D]`. errors: squared, mean over values, `[N]`.
      variational: whether its prior is N(0, I).
      checked: reconstructions `[CHECKED, ...]` of evenly spaced samples.
      graph: the decoder, as `decoder.as_values` gives it.
    """

    seed: int
    z: np.ndarray
    errors: np.ndarray
    variational: bool
    checked: np.ndarray
    graph: dict[str, Any]
    plane: Plane


def shown(weights: Weights, x: data.Samples, method: str) -> Shown:
    """Returns what the page shows of one model and samples `[N, ...]`.

    Raises:
      InputError: the page cannot run the decoder, or the latents cannot be projected.
    """
    graph = decoder.decoder(weights, tuple(x.shape[1:]))
    model, variables = weights.model, weights.variables
    z = evaluation.embed(model, variables, x)
    z = np.asarray(z.reshape(len(z), -1), np.float32)
    if not np.isfinite(z).all():
        raise InputError(
            f"{int((~np.isfinite(z)).any(axis=1).sum())} of {len(z)} samples have latents that are "
            "not finite: these samples do not fit the model, or its training diverged."
        )
    terms = evaluation.per_sample(model, variables, x, weights.config.objective)
    checked = evaluation.reconstruct(model, variables, picked(x, checked_rows(len(x))))
    return Shown(
        weights.config.seed,
        z,
        np.asarray(terms.mse, np.float32),
        _is_variational(weights, x),
        checked.reshape(len(checked), -1).astype(np.float32),
        graph,
        plane_of(z, method),
    )


def checked_rows(n: int) -> np.ndarray:
    """Returns which of n samples are compared."""
    return np.unique(np.linspace(0, n - 1, CHECKED).round().astype(np.int64))


def plane_of(z: np.ndarray, method: str) -> Plane:
    """Returns the plane of latents `[N, D]`: themselves where D is 2, else a projection.

    Of a single latent the second axis means nothing: it only spreads the points.
    """
    dims = z.shape[1]
    if dims == 2:
        return Plane(z, "latent", np.zeros(2), np.eye(2))
    if dims == 1:
        spread = np.modf(np.arange(len(z)) * 0.6180339887)[0] - 0.5  # evenly, in any order
        points = np.stack([z[:, 0], spread * (np.ptp(z) or 1.0) / 2], axis=1)
        return Plane(points, "latent", np.zeros(1), np.array([[1.0], [0.0]]))
    n = len(z)
    found = project(z, method, perplexity=min(30.0, (n - 1) / 3), neighbors=min(15, n - 1))
    return Plane(found.points, method, found.mean, found.components, found.explained)


def prior_of(one: Shown) -> dict[str, Any]:
    """Returns a Gaussian to draw latents from, as JSON values.

    That of a variational model is N(0, I). To the latents of another one a Gaussian is fitted: its
    mean, and a `factor` F with covariance F F^T, or standard deviations alone of many latents.
    """
    if one.variational:
        return {"kind": "normal"}
    z = one.z.astype(np.float64)
    mean = packed(z.mean(axis=0))
    if z.shape[1] > FULL_COVARIANCE or len(z) < 2:
        return {"kind": "independent", "mean": mean, "deviation": packed(z.std(axis=0))}
    values, vectors = np.linalg.eigh(np.atleast_2d(np.cov(z.T)))
    factor = vectors * np.sqrt(np.maximum(values, 0))
    return {"kind": "gaussian", "mean": mean, "factor": packed(factor)}


def as_values(one: Shown) -> dict[str, Any]:
    """Returns a model as the page reads it."""
    plane = one.plane
    linear = plane.components is not None
    return {
        "seed": one.seed,
        "latents": packed(one.z),
        "errors": packed(one.errors),
        "points": packed(plane.points),
        "method": plane.method,
        "mean": packed(plane.mean) if linear else None,
        "components": packed(plane.components) if linear else None,
        "explained": None if plane.explained is None else plane.explained.tolist(),
        "prior": prior_of(one),
        "checked": {"rows": checked_rows(len(one.z)).tolist(), "values": packed(one.checked)},
        "decoder": one.graph,
    }


def _is_variational(weights: Weights, x: data.Samples) -> bool:
    import jax

    batch = jax.ShapeDtypeStruct((1, *x.shape[1:]), np.float32)
    out: Any = jax.eval_shape(weights.model.apply, weights.variables, batch)
    return out.mu is not None
