"""What an objective may add for its latents, and how the weight of the KL term rises.

With z the latents `[B, d]` of a batch and e the encoder,

    free bits    sum_j max(lambda, mean over the batch of KL_j)    instead of the KL term
    MMD          E k(z, z') + E k(p, p') - 2 E k(z, p),   p ~ N(0, I), z and z' two samples
    L1           mean over the batch of sum_j |z_j|
    contractive  mean over the batch of ||de/dx||_F^2
    equivariance mean of |D(T z) - T(D z)|^2, of a decoder D and a transformation T

All but the first are added to the loss in the loss's own units, times their weights. Logged metrics
and the test loss have none of them: the training loss is larger by them.

Sources: Bowman et al. (2016), annealing; Kingma et al. (2016), free bits; Tolstikhin et al.,
"Wasserstein Auto-Encoders" (2018), MMD; Rifai et al. (2011), contractive; Roque et al., "L-GTA"
(2025), equivariance.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from msae_jax.config import Objective
from msae_jax.errors import InputError
from msae_jax.models.output import Output
from msae_jax.train import transforms
from msae_jax.train.losses import Terms


def annealed(objective: Objective, beta: jax.Array | float, step: jax.Array) -> jax.Array | float:
    """Returns the weight of the KL term at a step: it rises linearly from 0 in `anneal_steps`."""
    if not objective.anneal_steps:
        return beta
    return beta * jnp.minimum(step.astype(jnp.float32) / objective.anneal_steps, 1.0)


def free_bits(mu: jax.Array, log_var: jax.Array, least: float) -> jax.Array:
    """Returns the KL term of a batch `[B, d]` in which each latent counts `least` nats or more."""
    each = 0.5 * (jnp.square(mu) + jnp.exp(log_var) - 1.0 - log_var)
    return jnp.maximum(each.mean(axis=0), least).sum()


def mmd(z: jax.Array, prior: jax.Array, kernel: str) -> jax.Array:
    """Returns the unbiased estimate of the squared MMD between two sets `[n, d]` of samples.

    With s = |a - b|^2 and C = 2 d, the mean of s between two samples of N(0, I), the kernel is
    C / (C + s) (`imq`, inverse multiquadratic) or exp(-s / C) (`rbf`).
    """
    n, size = len(z), 2.0 * z.shape[1]
    apart = ~jnp.eye(n, dtype=bool)

    def similarity(a: jax.Array, b: jax.Array) -> jax.Array:
        squared = jnp.square(a[:, None] - b[None]).sum(axis=2)
        return size / (size + squared) if kernel == "imq" else jnp.exp(-squared / size)

    def within(a: jax.Array) -> jax.Array:
        return jnp.where(apart, similarity(a, a), 0.0).sum() / (n * (n - 1))

    return within(z) + within(prior) - 2.0 * similarity(z, prior).mean()


def l1(z: jax.Array) -> jax.Array:
    """Returns the mean over a batch `[B, d]` of the sum of absolute latents."""
    return jnp.abs(z).sum(axis=1).mean()


def contractive(encode: Callable[[jax.Array], jax.Array], x: jax.Array) -> jax.Array:
    """Returns the mean over a batch `[B, ...]` of the encoder's squared Jacobian, summed."""

    def of_one(sample: jax.Array) -> jax.Array:
        return jnp.square(jax.jacrev(lambda a: encode(a[None])[0])(sample)).sum()

    return jax.vmap(of_one)(x).mean()


def equivariance(
    decode: Callable[[jax.Array], jax.Array],
    of_latents: Callable[[jax.Array], jax.Array],
    of_data: Callable[[jax.Array], jax.Array],
    z: jax.Array,
) -> jax.Array:
    """Returns the mean of |D(T z) - T(D z)|^2 over all values of a batch `[B, ...]` of latents.

    Args:
      decode: D. of_latents, of_data: the same transformation T, of latents and of data.
    """
    return jnp.square(decode(of_latents(z)) - of_data(decode(z))).mean()


def counted(objective: Objective, terms: Terms, out: Output) -> Terms:
    """Returns the terms `[B]` with the KL that training counts: under free bits, the batch's."""
    if not objective.free_bits or out.mu is None or out.log_var is None:
        return terms
    kl = free_bits(out.mu, out.log_var, objective.free_bits)
    return terms._replace(kl_nats=jnp.broadcast_to(kl, terms.kl_nats.shape))


def check_equivariance(model: nn.Module, objective: Objective) -> None:
    """Checks that a model has latents for each time step.

    Raises:
      InputError: it has not, or the transforms are not written as `jitter:0.1,drift:0.2`.
    """
    if not transforms.parse(objective.equivariance_transform):
        raise InputError("equivariance needs transforms, got an empty equivariance_transform.")
    grid = getattr(model, "latent_grid", None)
    length = getattr(model, "sample_shape", (None,))[0]  # your own model may have neither
    if grid is None or grid[0] != length:
        raise InputError(
            "equivariance needs a model with latents for each time step, such as lgta; "
            f"{type(model).__name__} has none."
        )


def penalised(
    objective: Objective,
    loss: jax.Array,
    model: nn.Module,
    apply: Callable[..., Any],
    z: jax.Array,
    x: jax.Array,
    prior_key: jax.Array,
    transform_key: jax.Array,
) -> jax.Array:
    """Returns the loss of a batch with what the objective adds; under `sum`, for each sample.

    Args:
      apply: of an input and a `method`, what the model with its variables makes of it.
      z: the latents `[B, d]` that were decoded.
      x: what the model was given, `[B, ...]`.
      prior_key: of the samples of the prior. transform_key: of the transforms of equivariance.
    """
    added: list[jax.Array] = []
    if objective.mmd and len(z) > 1:  # one sample has no distance
        prior = jax.random.normal(prior_key, z.shape, z.dtype)
        added.append(objective.mmd * mmd(z, prior, objective.mmd_kernel))
    if objective.l1:
        added.append(objective.l1 * l1(z))
    if objective.contractive:
        added.append(objective.contractive * contractive(partial(apply, method="encode"), x))
    if objective.equivariance:
        decode, grid = partial(apply, method="decode"), model.latent_grid
        term = _equivariance_of(objective, decode, grid, z, transform_key)
        added.append(objective.equivariance * term)
    times = len(z) if objective.reduction == "sum" else 1
    for penalty in added:
        loss = loss + times * penalty
    return loss


def _equivariance_of(
    objective: Objective,
    decode: Callable[[jax.Array], jax.Array],
    latent_grid: tuple[int, int],
    z: jax.Array,
    key: jax.Array,
) -> jax.Array:
    """Returns the term of latents `[B, T d]`, `latent_grid` (T, d), changed by one draw of T."""
    count, length = len(z), latent_grid[0]
    steps = transforms.parse(objective.equivariance_transform)
    a, b = transforms.factors(steps, key, (count, length))

    def decoded(timed: jax.Array) -> jax.Array:
        return decode(timed.reshape(z.shape)).reshape(count, length, -1)

    def change(timed: jax.Array) -> jax.Array:
        return a * timed + b

    return equivariance(decoded, change, change, z.reshape(count, *latent_grid))
