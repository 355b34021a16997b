"""Gaussians and mixtures of them, to draw from and with their densities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import logsumexp

RIDGE = 1e-6
"""Added to the variances of scaled latents, so that latents that hang together have a density."""


@dataclass(frozen=True)
class Gaussians:
    """A mixture of K Gaussians; with K = 1 a Gaussian.

    Attributes:
      weights: `[K]`, of sum 1. means: `[K, D]`.
      factors: lower triangular F `[K, D, D]` with covariances F F^T.
    """

    weights: np.ndarray
    means: np.ndarray
    factors: np.ndarray

    def draw(self, n: int, seed: int) -> np.ndarray:
        of = np.random.default_rng((seed, 0)).choice(len(self.weights), n, p=self.weights)
        noise = standard_normal(n, self.means.shape[1], seed)
        drawn = self.means[of]
        for k, factor in enumerate(self.factors):
            drawn[of == k] += noise[of == k] @ factor.T
        return drawn

    def log_density(self, u: np.ndarray) -> np.ndarray:
        terms = []
        for weight, mean, factor in zip(self.weights, self.means, self.factors, strict=True):
            noise = whitened(u, mean, factor)
            constant = np.log(np.diag(factor)).sum() + 0.5 * len(mean) * np.log(2 * np.pi)
            terms.append(np.log(weight) - constant - 0.5 * np.square(noise).sum(axis=1))
        return logsumexp(terms, axis=0)


def gaussian(u: np.ndarray) -> Gaussians:
    """Returns a Gaussian with the mean and the covariance (divisor N - 1) of vectors `[N, D]`."""
    dims = u.shape[1]
    covariance = np.cov(u, rowvar=False).reshape(dims, dims) + RIDGE * np.eye(dims)
    return Gaussians(np.ones(1), u.mean(axis=0)[None], np.linalg.cholesky(covariance)[None])


def whitened(u: np.ndarray, mean: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Returns F^-1 (u - mean), `[N, D]`, of vectors `[N, D]` and a lower triangular F."""
    return solve_triangular(factor, (u - mean).T, lower=True).T


def standard_normal(n: int, dims: int, seed: int) -> np.ndarray:
    """Returns draws of N(0, I), float64 `[n, dims]`; the first ones do not depend on n."""
    return np.random.default_rng((seed, 1)).normal(size=(n, dims))
