"""Per-example reconstruction and KL terms in nats, and the scalar that training minimises.

With x the data, D its values ("pixels") per sample and r the reconstruction:

    bernoulli  recon = -sum_d x log r + (1 - x) log(1 - r),   r = sigmoid(logits)
    gaussian   recon = 1/2 sum_d (x - r)^2 + D/2 log(2 pi),   unit variance
    KL(N(mu, sigma^2) || N(0, I)) = 1/2 sum (mu^2 + sigma^2 - 1 - log sigma^2)
    negative beta-ELBO = recon + beta KL

Sources: Kingma and Welling, "Auto-Encoding Variational Bayes" (2013), appendix B; Higgins et al.,
"beta-VAE" (2017).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from msae_jax.config import Objective
from msae_jax.errors import InputError
from msae_jax.models.output import Output


class Terms(NamedTuple):
    """Per-example terms, each `[B]`.

    Attributes:
      recon_nats: the negative log-likelihood of the sample given its latent, in nats.
      kl_nats: the KL divergence of the posterior from N(0, I), in nats; 0 without a posterior.
      mse: the squared error, mean per pixel.
    """

    recon_nats: jax.Array
    kl_nats: jax.Array
    mse: jax.Array


def _flat(a: jax.Array) -> jax.Array:
    return a.reshape(a.shape[0], -1)


def squared_error(recon: jax.Array, x: jax.Array) -> jax.Array:
    """Returns `[B]` squared errors of `[B, ...]` arrays, mean per pixel."""
    return jnp.square(_flat(recon) - _flat(x)).mean(axis=1)


def bernoulli_nats(logits: jax.Array, x: jax.Array) -> jax.Array:
    """Returns `[B]` cross-entropies in nats, summed over pixels, stable for any finite logit.

    With l the logit, -x log r - (1 - x) log(1 - r) = max(l, 0) - x l + log(1 + exp(-|l|)): one
    exponential and one logarithm a pixel, where a log-sigmoid for each of the two terms takes five
    times as long on CPU.
    """
    logits, x = _flat(logits), _flat(x)
    positive = logits > 0  # one condition for both, so that the gradient is right at 0, too
    size = jnp.where(positive, logits, -logits)
    nats = jnp.where(positive, logits, 0.0) - x * logits + jnp.log1p(jnp.exp(-size))
    return nats.sum(axis=1)


def kl_nats(mu: jax.Array, log_var: jax.Array) -> jax.Array:
    """Returns `[B]` divergences of N(mu, exp(log_var)) from N(0, I), in nats over all latents."""
    return 0.5 * (jnp.square(mu) + jnp.exp(log_var) - 1.0 - log_var).sum(axis=1)


def terms(objective: Objective, out: Output, x: jax.Array) -> Terms:
    """Returns the per-example terms of a model's output on `x` of `[B, ...]`.

    The reconstruction is compared with `out.target` where the model has set it, else with `x`.

    Raises:
      InputError: a Bernoulli likelihood for a model whose output is not a sigmoid.
    """
    x = x if out.target is None else out.target
    mse = squared_error(out.recon, x)
    if objective.likelihood == "bernoulli":
        if out.logits is None:
            raise InputError(
                "the bernoulli likelihood needs a sigmoid output, but this model's is the "
                "identity: build it with output='sigmoid', or use likelihood 'gaussian'."
            )
        recon = bernoulli_nats(out.logits, x)
    else:
        pixels = math.prod(x.shape[1:])
        recon = 0.5 * pixels * (mse + math.log(2 * math.pi))
    kl = jnp.zeros_like(mse)
    if out.mu is not None and out.log_var is not None:
        kl = kl_nats(out.mu, out.log_var)
    return Terms(recon, kl, mse)


def scalar(
    objective: Objective, terms: Terms, pixels: int, beta: jax.Array | float | None = None
) -> jax.Array:
    """Reduces the per-example terms of a batch, samples of `pixels` values, to the loss.

    `mean` is the negative beta-ELBO rescaled so that its reconstruction term is PyTorch's
    `MSELoss` or `BCELoss`: divided by D (bernoulli), or by D/2 after dropping the constant
    (gaussian); the KL term is divided by the same number, so that beta means the same everywhere.
    """
    loss = per_example(objective, terms, pixels, beta)
    return loss.sum() if objective.reduction == "sum" else loss.mean()


def per_example(
    objective: Objective, terms: Terms, pixels: int, beta: jax.Array | float | None = None
) -> jax.Array:
    """Returns the objective of each sample, before the reduction over the batch.

    Args:
      beta: instead of the objective's.
    """
    beta = objective.beta if beta is None else beta
    if objective.reduction != "mean":
        return terms.recon_nats + beta * terms.kl_nats
    if objective.likelihood == "bernoulli":
        return (terms.recon_nats + beta * terms.kl_nats) / pixels
    return terms.mse + beta * terms.kl_nats * (2.0 / pixels)
