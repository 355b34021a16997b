"""Per-example reconstruction and KL terms in nats, and the scalar that training minimises.

With x the data, D its values ("pixels") per sample and r the reconstruction:

    bernoulli  recon = -sum_d x log r + (1 - x) log(1 - r),   r = sigmoid(logits)
    gaussian   recon = 1/2 sum_d (x - r)^2 + D/2 log(2 pi),   unit variance
    KL(N(mu, sigma^2) || N(0, I)) = 1/2 sum (mu^2 + sigma^2 - 1 - log sigma^2)
    negative beta-ELBO = recon + beta KL

A `Likelihood` is a record of one such reconstruction term; `register` gives one of your own a name,
and `Objective.likelihood` takes it as `package.module:name` without that.

Sources: Kingma and Welling, "Auto-Encoding Variational Bayes" (2013), appendix B; Higgins et al.,
"beta-VAE" (2017).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from msae_jax import config
from msae_jax.config import Objective
from msae_jax.errors import InputError
from msae_jax.models.output import Output
from msae_jax.system import names


class Terms(NamedTuple):
    """Per-example terms, each `[B]`; a new metric is a field and a row of `config.METRIC_KINDS`.

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


def _divided_by_pixels(terms: Terms, beta: jax.Array | float, pixels: int) -> jax.Array:
    return (terms.recon_nats + beta * terms.kl_nats) / pixels


def _gaussian_nats(recon: jax.Array, x: jax.Array) -> jax.Array:
    pixels = math.prod(x.shape[1:])
    return 0.5 * pixels * (squared_error(recon, x) + math.log(2 * math.pi))


def _gaussian_mean(terms: Terms, beta: jax.Array | float, pixels: int) -> jax.Array:
    return terms.mse + beta * terms.kl_nats * (2.0 / pixels)


@dataclass(frozen=True)
class Likelihood:
    """The distribution of the data given the latent, which gives the reconstruction term.

    Attributes:
      nats: a function, written in JAX, of a prediction and the data, both `[B, ...]`; returns the
        negative log-likelihoods `[B]` in nats, summed over a sample.
      reads: what the prediction is: the model's `recon`, or the `logits` below its sigmoid.
      low, high: the range that the data must lie in; images count as [0, 1].
      mean: a function of the terms, beta and the pixels D of a sample; returns the objectives `[B]`
        under `reduction="mean"`. The default is the negative beta-ELBO divided by D.
    """

    nats: Callable[[jax.Array, jax.Array], jax.Array]
    reads: Literal["recon", "logits"] = "recon"
    low: float = -math.inf
    high: float = math.inf
    mean: Callable[[Terms, jax.Array | float, int], jax.Array] = _divided_by_pixels

    def __post_init__(self) -> None:
        if self.reads not in ("recon", "logits"):
            raise InputError(f"a likelihood reads 'recon' or 'logits', got {self.reads!r}.")


_LIKELIHOODS = {
    "gaussian": Likelihood(_gaussian_nats, mean=_gaussian_mean),
    "bernoulli": Likelihood(bernoulli_nats, reads="logits", low=0.0, high=1.0),
}


def register(name: str, likelihood: Likelihood) -> None:
    """Names a likelihood of your own.

    Raises:
      InputError: the name is taken, or it is no `Likelihood`.
    """
    if not isinstance(likelihood, Likelihood):
        raise names.wrong_kind("likelihood", name, likelihood, "losses.Likelihood")
    names.add("likelihood", name, likelihood, _LIKELIHOODS)
    config.LIKELIHOODS.append(name)


def find(name: str) -> Likelihood:
    """Returns a likelihood by its registered name or its `package.module:name`.

    Raises:
      InputError: there is none, or the name comes from a file (`names.check_named`).
    """
    found = names.find("likelihood", name, _LIKELIHOODS)
    if not isinstance(found, Likelihood):
        raise names.wrong_kind("likelihood", name, found, "losses.Likelihood")
    return found


def check_range(objective: Objective, x: np.ndarray) -> None:
    """Checks that samples `[N, ...]` lie where the likelihood is defined; uint8 counts as [0, 1].

    Raises:
      InputError: they do not.
    """
    likelihood = find(objective.likelihood)
    if (likelihood.low, likelihood.high) == (-math.inf, math.inf):
        return
    low, high = (0, 1) if x.dtype == np.uint8 else (float(x.min()), float(x.max()))
    if low < likelihood.low or high > likelihood.high:
        raise InputError(
            f"the {objective.likelihood} likelihood needs data in [{likelihood.low:g}, "
            f"{likelihood.high:g}], got [{low:.4g}, {high:.4g}]: rescale the data, or use "
            "likelihood 'gaussian'."
        )


def terms(objective: Objective, out: Output, x: jax.Array, mask: jax.Array | None = None) -> Terms:
    """Returns the per-example terms of a model's output on `x` of `[B, ...]`.

    The reconstruction is compared with `out.target` where the model has set it, else with `x`.

    Args:
      mask: of the values that are known, `[B, ...]` as `x`; the others touch neither terms nor
        gradients. The squared error is then the mean over the known values of a sample.

    Raises:
      InputError: a likelihood that reads logits, for a model whose output is not a sigmoid; one
        that does not return one number per sample; or a mask, for a model that sets `out.target`.
    """
    if mask is not None and out.target is not None:
        raise InputError(
            "this model reconstructs something else than its input, so that missing values cannot "
            "be masked: fill the gaps, or use another model."
        )
    x = x if out.target is None else out.target
    likelihood = find(objective.likelihood)
    prediction = out.logits if likelihood.reads == "logits" else out.recon
    if prediction is None:
        raise InputError(
            f"the {objective.likelihood} likelihood needs a sigmoid output, but this model's is "
            "the identity: build it with output='sigmoid', or use likelihood 'gaussian'."
        )
    if mask is None:
        mse, recon = squared_error(out.recon, x), likelihood.nats(prediction, x)
    else:
        mse, recon = _of_known(likelihood, out.recon, prediction, x, mask)
    if recon.shape != mse.shape:
        raise InputError(
            f"the {objective.likelihood} likelihood must return one number per sample, "
            f"{list(mse.shape)}, got {list(recon.shape)}: sum over the values of a sample."
        )
    kl = jnp.zeros_like(mse)
    if out.mu is not None and out.log_var is not None:
        kl = kl_nats(out.mu, out.log_var)
    return Terms(recon, kl, mse)


def _of_known(
    likelihood: Likelihood, recon: jax.Array, prediction: jax.Array, x: jax.Array, mask: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Returns the squared errors and the nats `[B]` of the known values of each sample.

    Prediction and data are 0 where no value is known. Such a value adds no squared error, and the
    same nats in every sample, which are taken off: the likelihood is a sum over the values.
    """
    known = _flat(mask)
    recon, prediction, x = (jnp.where(known, _flat(a), 0.0) for a in (recon, prediction, x))
    size, count = known.shape[1], known.sum(axis=1).astype(x.dtype)
    nothing = likelihood.nats(jnp.zeros_like(x), jnp.zeros_like(x)) / size
    mse = squared_error(recon, x) * (size / jnp.maximum(count, 1.0))
    return mse, likelihood.nats(prediction, x) - (size - count) * nothing


def with_nats_of(sampled: Terms, mean: Terms) -> Terms:
    """Returns the nats of a posterior sample, and all other terms of the posterior mean."""
    return mean._replace(recon_nats=sampled.recon_nats, kl_nats=sampled.kl_nats)


def scalar(
    objective: Objective, terms: Terms, pixels: int, beta: jax.Array | float | None = None
) -> jax.Array:
    """Reduces the per-example terms of a batch, samples of `pixels` values, to the loss.

    `mean` is the negative beta-ELBO rescaled so that its reconstruction term is PyTorch's
    `MSELoss` or `BCELoss`: divided by D (bernoulli, and others by default), or by D/2 after
    dropping the constant (gaussian); the KL term is divided by the same number, so that beta means
    the same everywhere.
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
    if objective.reduction == "mean":
        return find(objective.likelihood).mean(terms, beta, pixels)
    return terms.recon_nats + beta * terms.kl_nats


def metrics(loss: float, means: Terms) -> dict[str, float]:
    """Returns the value of each of `config.METRIC_KINDS` by name.

    Args:
      means: of the terms over samples, floats.
    """
    values = means._asdict() | {"loss": loss, "nats": means.recon_nats + means.kl_nats}
    return {metric.name: values[metric.name] for metric in config.METRIC_KINDS}
