"""A normalising flow of latents: RealNVP (Dinh, Sohl-Dickstein and Bengio, 2017).

With masks m that keep one half of the latents in turn, each layer computes

    v = m u + (1 - m) (u exp(s(m u)) + t(m u)),    log |dv / du| = sum (1 - m) s(m u)

and its inverse as easily, so that draws and densities are exact:

    log p(u) = log N(f(u); 0, I) + log |df / du|

A two-stage VAE (Dai and Wipf, 2019) would give a bound of the density in its place. The latents
are whitened first, and s and t begin as 0: the flow begins as the Gaussian with full covariance. A
tenth of the latents is held out, and the weights with the greatest density of it are kept, the
first ones included, so that a flow is no worse than that Gaussian there.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from msae_jax.config import OptimizerConfig
from msae_jax.errors import InputError
from msae_jax.generation.gaussians import Gaussians, gaussian, standard_normal, whitened
from msae_jax.train.evaluation import map_batches, padded_batches
from msae_jax.train.optimizer import make_optimizer

LAYERS, HIDDEN = 8, 64
STEPS, BLOCK, BATCH = 2000, 100, 256
OPTIMIZER = OptimizerConfig("adam", 2e-3, schedule="cosine", clip_norm=1.0)
BOUND = 2.0
"""The greatest |s|: no layer stretches by more than e^2, which keeps the training stable."""

HELD_OUT = 5000
AT_ONCE = 10_000


class Coupling(nn.Module):
    """The functions s and t of a layer: `[B, D]` each of the latents that it keeps, `[B, D]`."""

    hidden: int = HIDDEN

    @nn.compact
    def __call__(self, kept: jax.Array) -> tuple[jax.Array, jax.Array]:
        h = nn.relu(nn.Dense(self.hidden)(kept))
        h = nn.relu(nn.Dense(self.hidden)(h))
        s, t = jnp.split(nn.Dense(2 * kept.shape[1], kernel_init=nn.initializers.zeros)(h), 2, 1)
        return BOUND * jnp.tanh(s / BOUND), t


class RealNvp(nn.Module):
    """Layers of couplings; see the module.

    Attributes:
      masks: which latents each layer keeps.
    """

    masks: tuple[tuple[bool, ...], ...]

    def setup(self) -> None:
        self.couplings = [Coupling() for _ in self.masks]

    def __call__(self, u: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Returns f(u), `[B, D]`, and log |df / du|, `[B]`."""
        log_det = jnp.zeros(len(u), u.dtype)
        for mask, coupling in zip(self.masks, self.couplings, strict=True):
            s, t = self._moves(mask, coupling, u)
            u, log_det = u * jnp.exp(s) + t, log_det + s.sum(axis=1)
        return u, log_det

    def inverse(self, v: jax.Array) -> jax.Array:
        """Returns u, `[B, D]`, with f(u) = v."""
        for mask, coupling in zip(self.masks[::-1], self.couplings[::-1], strict=True):
            s, t = self._moves(mask, coupling, v)
            v = (v - t) * jnp.exp(-s)
        return v

    @staticmethod
    def _moves(
        mask: tuple[bool, ...], coupling: Coupling, u: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        kept = jnp.array(mask)
        s, t = coupling(jnp.where(kept, u, 0.0))
        return jnp.where(kept, 0.0, s), jnp.where(kept, 0.0, t)


@dataclass(frozen=True)
class Flow:
    """A fitted flow.

    Attributes:
      model: RealNVP. variables: its weights.
      start: the Gaussian that whitens what the flow sees.
    """

    model: RealNvp
    variables: Any
    start: Gaussians

    def draw(self, n: int, seed: int) -> np.ndarray:
        noise = standard_normal(n, self.start.means.shape[1], seed).astype(np.float32)
        white = map_batches(
            lambda batch, _: _inverse(self.model, self.variables, batch),
            padded_batches(noise, AT_ONCE),
            n,
        )
        return self.start.means[0] + white.astype(np.float64) @ self.start.factors[0].T

    def log_density(self, u: np.ndarray) -> np.ndarray:
        white = _whitened(self.start, u)
        found = map_batches(
            lambda batch, _: _log_density(self.model, self.variables, batch),
            padded_batches(white, AT_ONCE),
            len(u),
        )
        stretch = np.log(np.diag(self.start.factors[0])).sum()
        return found.astype(np.float64) - stretch


class _Fit(NamedTuple):
    variables: Any
    opt_state: Any
    step: jax.Array


def fit_flow(u: np.ndarray, seed: int, steps: int = STEPS) -> Flow:
    """Fits a flow to vectors `[N, D]` by maximum likelihood; the seed decides all that it draws.

    Raises:
      InputError: D is 1, where a layer has nothing to keep.
    """
    if u.shape[1] < 2:
        raise InputError(
            "a flow needs 2 latents or more that vary, got 1: take the prior 'mixture'."
        )
    rng = np.random.default_rng((seed, 2))
    order = rng.permutation(len(u))
    count = min(len(u) // 10, HELD_OUT)
    start = gaussian(u[order[count:]])
    white = _whitened(start, u)
    held_out, x = jnp.asarray(white[order[:count]]), jnp.asarray(white[order[count:]])
    model = RealNvp(_masks(u.shape[1], rng))
    key = jax.random.key(seed)
    optimizer = make_optimizer(OPTIMIZER, steps)
    variables = jax.jit(model.init)(key, x[:1])
    fit = _Fit(variables, optimizer.init(variables), jnp.zeros((), jnp.int32))
    best, most = variables, float(_log_density(model, variables, held_out).mean())
    for _ in range(max(steps // BLOCK, 1)):
        fit = _block(model, optimizer, fit, x, jax.random.fold_in(key, 1), min(steps, BLOCK))
        now = float(_log_density(model, fit.variables, held_out).mean())
        if now > most:
            best, most = fit.variables, now
    return Flow(model, jax.device_get(best), start)


def _masks(dims: int, rng: np.random.Generator) -> tuple[tuple[bool, ...], ...]:
    """Returns pairs of a random half and the other half."""
    masks: list[np.ndarray] = []
    while len(masks) < LAYERS:
        half = rng.permutation(dims) < dims // 2
        masks += [half, ~half]
    return tuple(tuple(map(bool, mask)) for mask in masks)


def _whitened(start: Gaussians, u: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(whitened(u, start.means[0], start.factors[0]), np.float32)


@functools.partial(jax.jit, static_argnums=0)
def _log_density(model: RealNvp, variables: Any, u: jax.Array) -> jax.Array:
    v, log_det = cast(tuple[jax.Array, jax.Array], model.apply(variables, u))
    return jax.scipy.stats.norm.logpdf(v).sum(axis=1) + log_det


@functools.partial(jax.jit, static_argnums=0)
def _inverse(model: RealNvp, variables: Any, v: jax.Array) -> jax.Array:
    return cast(jax.Array, model.apply(variables, v, method="inverse"))


@functools.partial(jax.jit, static_argnums=(0, 1, 5))
def _block(
    model: RealNvp,
    optimizer: optax.GradientTransformation,
    fit: _Fit,
    x: jax.Array,
    key: jax.Array,
    steps: int,
) -> _Fit:
    """Returns the fit after some more steps, each on a batch that its number draws."""

    def loss(variables: Any, batch: jax.Array) -> jax.Array:
        return -_log_density(model, variables, batch).mean()

    def step(fit: _Fit, _: None) -> tuple[_Fit, None]:
        size = min(BATCH, len(x))
        rows = jax.random.randint(jax.random.fold_in(key, fit.step), (size,), 0, len(x))
        gradient = jax.grad(loss)(fit.variables, x[rows])
        update, opt_state = optimizer.update(gradient, fit.opt_state, fit.variables)
        return _Fit(optax.apply_updates(fit.variables, update), opt_state, fit.step + 1), None

    return jax.lax.scan(step, fit, None, steps)[0]
