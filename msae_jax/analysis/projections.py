"""Latents in two dimensions: PCA, t-SNE, UMAP."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from msae_jax.errors import InputError, unknown_name

METHODS = ("pca", "tsne", "umap")


class Projection(NamedTuple):
    """Points in the plane.

    Attributes:
      points: float64 `[N, 2]`: for `pca` centred principal components, else without a unit.
      explained: for `pca` the share `[2]` of the variance along each axis, else None.
      method: `pca`, `tsne` or `umap`.
      mean, components: for `pca` float64 `[D]` and `[2, D]` with points = (z - mean) components^T,
        else None.
    """

    points: np.ndarray
    explained: np.ndarray | None
    method: str
    mean: np.ndarray | None = None
    components: np.ndarray | None = None


def project(
    z: np.ndarray,
    method: str = "pca",
    *,
    seed: int = 0,
    perplexity: float = 30.0,
    neighbors: int = 15,
    min_dist: float = 0.1,
) -> Projection:
    """Projects N latents `[N, D]` to two dimensions.

    Args:
      method: `pca` (exact), `tsne` (van der Maaten and Hinton, 2008; started from the PCA) or
        `umap` (McInnes et al., 2018), which needs the extra `umap`. One seed gives one picture.
      seed: used by `tsne` and `umap`.
      perplexity: used by `tsne` only, below N.
      neighbors, min_dist: used by `umap` only; neighbors below N.

    Raises:
      InputError: an unknown method, one that is not installed, too few samples or dimensions, or
        latents that are all the same.
    """
    if method not in METHODS:
        raise unknown_name("projection", method, METHODS)
    z = np.asarray(z, np.float64)
    if z.ndim != 2 or min(z.shape) < 2:
        raise InputError(
            f"projecting needs [N, D] latents, N and D 2 or more, got {list(z.shape)}."
        )
    if not np.ptp(z, axis=0).any():
        raise InputError(
            f"all {len(z)} latents are the same, expected some that differ: the samples are all "
            "alike, or the encoder ignores them. Take other samples or other weights."
        )
    if method == "pca":
        return _pca(z)
    if method == "tsne":
        return Projection(_tsne(z, seed, perplexity), None, method)
    return Projection(_umap(z, seed, neighbors, min_dist), None, method)


def _pca(z: np.ndarray) -> Projection:
    from sklearn.decomposition import PCA

    pca = PCA(2, svd_solver="full")
    points = pca.fit_transform(z)
    return Projection(points, pca.explained_variance_ratio_, "pca", pca.mean_, pca.components_)


def _tsne(z: np.ndarray, seed: int, perplexity: float) -> np.ndarray:
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    if not 0 < perplexity < len(z):
        raise InputError(
            f"perplexity must be above 0 and below the {len(z)} samples, got {perplexity:g}."
        )
    spread = np.abs(z - z.mean(axis=0)).max()
    if not 1e-15 < spread < 1e15:  # its squares leave float32, in which t-SNE computes
        z = (z - z.mean(axis=0)) / spread
    tsne = TSNE(2, perplexity=perplexity, init="pca", learning_rate="auto", random_state=seed)
    with threadpool_limits(2, user_api="openmp"):  # of more, the order of a sum is never the same
        return tsne.fit_transform(z).astype(np.float64)


def _umap(z: np.ndarray, seed: int, neighbors: int, min_dist: float) -> np.ndarray:
    try:
        from umap import UMAP
    except ImportError:
        raise InputError(
            "umap needs umap-learn, not installed: pip install 'msae-jax[umap]' (in a checkout: "
            "pip install -e '.[umap]'), or use 'pca' or 'tsne'."
        ) from None
    if not 2 <= neighbors < len(z):
        raise InputError(
            f"neighbors must be at least 2 and below the {len(z)} samples, got {neighbors}."
        )
    umap = UMAP(n_neighbors=neighbors, min_dist=min_dist, random_state=seed, n_jobs=1)
    return umap.fit_transform(z).astype(np.float64)
