"""The log-likelihood of variational models: the importance-weighted bound, and the ELBO.

With k latents z_i drawn from the posterior q(z | x), in nats per sample,

    log p(x)  >=  L_k = log 1/k sum_i p(x | z_i) p(z_i) / q(z_i | x)
    ELBO          = 1/k sum_i log p(x | z_i) - KL(q(z | x) || p(z)),   the KL in closed form

In expectation L_1 is the ELBO, L_k never falls as k grows, and it converges to log p(x): always
state k beside L_k. The Bernoulli likelihood is computed from logits; for grey pixels it is the
cross-entropy that training minimises, which is not a normalised density.

Source: Burda, Grosse and Salakhutdinov, "Importance weighted autoencoders" (2015).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from msae_jax import data
from msae_jax.config import Objective
from msae_jax.errors import InputError
from msae_jax.models.output import Output
from msae_jax.system.compiling import jit_inference
from msae_jax.train import losses, to_unit
from msae_jax.train.evaluation import map_batches, padded_batches

BATCH_SIZE = 100
CHUNK = 10
"""Latents of a sample that are decoded at once: BATCH_SIZE x CHUNK outputs are held in memory."""


class Bounds(NamedTuple):
    """Lower bounds of the log-likelihood in nats, float32 `[N]`; see the module for equations.

    Attributes:
      log_likelihood: importance-weighted, L_k. elbo: the evidence lower bound.
    """

    log_likelihood: np.ndarray
    elbo: np.ndarray


def bounds(
    model: nn.Module,
    variables: Mapping[str, Any],
    x: data.Samples,
    samples: int = 500,
    *,
    key: jax.Array | None = None,
    likelihood: str = "bernoulli",
    batch_size: int = BATCH_SIZE,
) -> Bounds:
    """Returns both bounds for samples `[N, ...]`, from the same latents.

    Args:
      samples: k, the latents drawn for each sample.
      key: draws the latents; `jax.random.key(0)` by default. They depend on `batch_size` too.
      likelihood: as in `config.Objective`.

    Raises:
      InputError: fewer than 1 sample; a model without a posterior; a Bernoulli likelihood for a
        model whose output is not a sigmoid.
    """
    if samples < 1:
        raise InputError(f"samples must be at least 1, got {samples}.")
    key = jax.random.key(0) if key is None else key

    objective = Objective(likelihood)

    def step(batch: Any, i: int) -> tuple[jax.Array, jax.Array]:
        return _bounds(model, objective, variables, batch, jax.random.fold_in(key, i), samples)

    return Bounds(*map_batches(step, padded_batches(x, batch_size), len(x)))


def log_likelihood(
    model: nn.Module,
    variables: Mapping[str, Any],
    x: data.Samples,
    samples: int = 500,
    **more: Any,
) -> np.ndarray:
    """Returns the importance-weighted log-likelihoods `[N]` in nats; arguments as `bounds`."""
    return bounds(model, variables, x, samples, **more).log_likelihood


def elbo(
    model: nn.Module,
    variables: Mapping[str, Any],
    x: data.Samples,
    samples: int = 500,
    **more: Any,
) -> np.ndarray:
    """Returns the evidence lower bounds `[N]` in nats; arguments as `bounds`."""
    return bounds(model, variables, x, samples, **more).elbo


@functools.partial(jit_inference, static_argnums=(0, 1))
def _bounds(
    model: nn.Module,
    objective: Objective,
    variables: Mapping[str, Any],
    batch: jax.Array,
    key: jax.Array,
    samples: jax.Array | int,
) -> tuple[jax.Array, jax.Array]:
    """Returns both bounds of a batch, each `[B]`."""
    x = to_unit(batch)

    def weigh(i: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Returns log p(x | z_i) and log p(z_i) / q(z_i | x), each `[B]`."""
        out = cast(Output, model.apply(variables, x, key=jax.random.fold_in(key, i)))
        mu, log_var = _posterior(model, out)
        noise = jnp.square(out.z - mu) * jnp.exp(-log_var)  # the constants of both densities cancel
        ratio = 0.5 * (noise + log_var - jnp.square(out.z)).sum(axis=1)
        return -losses.terms(objective, out, x).recon_nats, ratio

    def chunk(i: jax.Array, sums: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        """Adds to log sum_i of the weights, and to the mean of log p(x | z_i)."""
        index = i * CHUNK + jnp.arange(CHUNK)
        log_p, ratio = jax.vmap(weigh)(index)  # the encoder sees no index: it runs once
        used = (index < samples)[:, None]
        weights = jax.nn.logsumexp(jnp.where(used, log_p + ratio, -jnp.inf), axis=0)
        mean = jnp.where(used, log_p, 0.0).sum(axis=0) / samples
        return jnp.logaddexp(sums[0], weights), sums[1] + mean

    zero = jnp.zeros(len(x), jnp.float32)
    log_sum, log_p = jax.lax.fori_loop(0, -(-samples // CHUNK), chunk, (zero - jnp.inf, zero))
    kl = losses.kl_nats(*_posterior(model, cast(Output, model.apply(variables, x))))
    return log_sum - jnp.log(samples), log_p - kl


def _posterior(model: nn.Module, out: Output) -> tuple[jax.Array, jax.Array]:
    if out.mu is None or out.log_var is None:
        raise InputError(
            f"{type(model).__name__} has no posterior; only variational models have a likelihood."
        )
    return out.mu, out.log_var
