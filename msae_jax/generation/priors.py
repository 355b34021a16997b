"""Distributions of latents, fitted to those of a trained autoencoder, to draw new ones from.

An autoencoder is trained to reconstruct: far from the latents of samples it decodes anything. A
prior that is fitted after training says where latents lie, for any autoencoder (Ghosh et al., "From
variational to deterministic autoencoders", 2020):

    standard   N(0, I), which the objective of a variational model asks for; nothing is fitted
    gaussian   one Gaussian with full covariance
    mixture    Gaussians with full covariances, by expectation maximisation (scikit-learn's)
    flow       a RealNVP that begins as `gaussian`; see `msae_jax.generation.flow`

All but `standard` are fitted to latents that are scaled to mean 0 and deviation 1. A latent that
never varies, such as a unit that never fires, is held at its value; the density is of the others.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from msae_jax.errors import InputError, unknown_name
from msae_jax.generation import flow
from msae_jax.generation.gaussians import RIDGE, Gaussians, gaussian

KINDS = ("standard", "gaussian", "mixture", "flow")
COMPONENTS = 10
CONSTANT = 1e-6
"""A latent whose deviation is at most this share of the greatest one never varies."""


class Density(Protocol):
    """A distribution of vectors `[D]`."""

    def draw(self, n: int, seed: int) -> np.ndarray:
        """Returns n draws, `[n, D]`; the first ones do not depend on n."""

    def log_density(self, u: np.ndarray) -> np.ndarray:
        """Returns the log density `[N]`, in nats, of vectors `[N, D]`."""


@dataclass(frozen=True)
class Prior:
    """A distribution of latents.

    Attributes:
      kind: one of `KINDS`.
      mean, deviation: of the latents that it was fitted to, float64 `[D]`; 0 and 1 of `standard`.
      varies: which latents vary, bool `[D]`.
      scaled: the distribution of those, scaled.
    """

    kind: str
    mean: np.ndarray
    deviation: np.ndarray
    varies: np.ndarray
    scaled: Density

    @property
    def latent_dim(self) -> int:
        """The number of latents D."""
        return len(self.mean)

    def draw(self, n: int, seed: int = 0) -> np.ndarray:
        """Returns n latents, float32 `[n, D]`; the first ones do not depend on n.

        Raises:
          InputError: n is below 1.
        """
        if n < 1:
            raise InputError(f"the number of samples must be at least 1, got {n}.")
        z = np.tile(self.mean, (n, 1))
        z[:, self.varies] += self.deviation[self.varies] * self.scaled.draw(n, seed)
        return z.astype(np.float32)

    def log_density(self, z: np.ndarray) -> np.ndarray:
        """Returns the log density `[N]`, in nats, of latents `[N, D]`; of those that vary.

        Its mean over latents of held-out samples compares priors of the same latents.

        Raises:
          InputError: the latents are not `[N, D]` finite numbers.
        """
        z = checked(z)
        if z.shape[1] != self.latent_dim:
            raise InputError(f"the prior is of {self.latent_dim} latents, got {list(z.shape)}.")
        u = ((z - self.mean) / self.deviation)[:, self.varies]
        return self.scaled.log_density(u) - np.log(self.deviation[self.varies]).sum()


def fit_prior(
    z: np.ndarray,
    kind: str = "gaussian",
    seed: int = 0,
    *,
    components: int = COMPONENTS,
    steps: int = flow.STEPS,
) -> Prior:
    """Fits a distribution to latents `[N, D]`, such as `embed` gives them of training samples.

    Args:
      kind: one of `KINDS`; see the module.
      seed: of what the fit of `mixture` and `flow` draws.
      components: Gaussians of a `mixture`. steps: of the training of a `flow`.

    Raises:
      InputError: an unknown kind; latents that are not `[N, D]` finite numbers; too few of them.
    """
    if kind not in KINDS:
        raise unknown_name("prior", kind, KINDS)
    z = checked(z)
    if kind == "standard":
        return standard(z.shape[1])
    least = {"gaussian": 2, "mixture": max(2, components), "flow": 20}[kind]
    if len(z) < least:
        raise InputError(f"the prior {kind!r} needs {least} latents or more, got {len(z)}.")
    if components < 1:
        raise InputError(f"a mixture has 1 component or more, got {components}.")
    mean, deviation = z.mean(axis=0), z.std(axis=0)
    varies = deviation > CONSTANT * deviation.max()
    if not varies.any():
        raise InputError("no latent varies: there is nothing to fit, and the model has no code.")
    deviation = np.where(varies, deviation, 1.0)
    u = ((z - mean) / deviation)[:, varies]
    if kind == "gaussian":
        scaled: Density = gaussian(u)
    elif kind == "mixture":
        scaled = _mixture(u, components, seed)
    else:
        scaled = flow.fit_flow(u, seed, steps)
    return Prior(kind, mean, deviation, varies, scaled)


def standard(latent_dim: int) -> Prior:
    """Returns N(0, I), the prior of a variational model."""
    scaled = Gaussians(np.ones(1), np.zeros((1, latent_dim)), np.eye(latent_dim)[None])
    all_vary = np.ones(latent_dim, bool)
    return Prior("standard", np.zeros(latent_dim), np.ones(latent_dim), all_vary, scaled)


def _mixture(u: np.ndarray, components: int, seed: int) -> Gaussians:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    found = GaussianMixture(components, reg_covar=RIDGE, max_iter=200, random_state=seed)
    with warnings.catch_warnings():  # where it stops early the density tells how good it is
        warnings.simplefilter("ignore", ConvergenceWarning)
        found.fit(u)
    return Gaussians(found.weights_, found.means_, np.linalg.cholesky(found.covariances_))


def checked(z: np.ndarray) -> np.ndarray:
    """Returns latents as float64 `[N, D]`.

    Raises:
      InputError: they are not that, or not finite.
    """
    z = np.asarray(z, np.float64)
    if z.ndim != 2 or 0 in z.shape:
        raise InputError(f"latents must be [N, latent_dim], got {list(z.shape)}.")
    bad = int((~np.isfinite(z)).any(axis=1).sum())
    if bad:
        raise InputError(f"{bad} of {len(z)} latents are not finite: was the training sound?")
    return z
