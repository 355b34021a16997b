"""What a trained model does to a set of samples: its metrics, latents and reconstructions.

All run batch by batch, so that sets of any size fit. Batches are alike in size and the last is
padded to the size of the others, the padding dropped, so that one compiled program serves them all.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from msae_jax import data, losses
from msae_jax.config import Objective
from msae_jax.data.dataset import take
from msae_jax.models.output import Output
from msae_jax.train import to_unit

BATCH_SIZE = 500

EVALUATION = 2**32 - 1
"""Folded into a run's noise key for its evaluations; no training step has this number."""


@functools.partial(jax.jit, static_argnums=(0, 1))
def eval_step(
    model: nn.Module,
    objective: Objective,
    variables: Mapping[str, Any],
    batch: jax.Array,
    key: jax.Array,
    i: int,
) -> losses.Terms:
    """Returns the terms of each sample of the i-th batch `[B, ...]` of a set.

    The squared error is that of the posterior mean. The nats of a variational model are those of
    one posterior sample drawn from the fold of `key` with i, an unbiased estimate of its negative
    ELBO.
    """
    return sample_terms(model, objective, variables, batch, jax.random.fold_in(key, i))


def sample_terms(
    model: nn.Module,
    objective: Objective,
    variables: Mapping[str, Any],
    batch: jax.Array,
    key: jax.Array,
    rows: int | None = None,
) -> losses.Terms:
    """`eval_step` to be traced, of one batch and its own key.

    Args:
      rows: take so many samples after others, in less memory; all at once where it is None. The
        posterior samples of a variational model are drawn and decoded for the whole batch, so that
        they are the same.
    """
    x = to_unit(batch)

    def mean_terms(x: jax.Array) -> tuple[losses.Terms, jax.Array | None]:
        out = _apply(model, variables, x)
        return losses.terms(objective, out, x), out.mu

    terms, mu = mean_terms(x) if rows is None else _in_parts(mean_terms, x, rows)
    if mu is None:
        return terms
    sampled = losses.terms(objective, _apply(model, variables, x, key=key), x)
    return sampled._replace(mse=terms.mse)


def _in_parts(fn: Callable[[jax.Array], Any], x: jax.Array, rows: int) -> Any:
    """Returns fn(x), whose results have the leading axis of x, some rows after others."""
    if len(x) <= rows:
        return fn(x)
    whole = len(x) // rows * rows
    parts = jax.lax.map(fn, x[:whole].reshape(-1, rows, *x.shape[1:]))
    found = jax.tree.map(lambda a: a.reshape(whole, *a.shape[2:]), parts)
    if whole == len(x):
        return found
    return jax.tree.map(lambda *a: jnp.concatenate(a), found, fn(x[whole:]))


@functools.partial(jax.jit, static_argnums=0)
def _encode(model: nn.Module, variables: Mapping[str, Any], batch: jax.Array) -> jax.Array:
    return _apply(model, variables, to_unit(batch)).z


@functools.partial(jax.jit, static_argnums=0)
def _reconstruct(model: nn.Module, variables: Mapping[str, Any], batch: jax.Array) -> jax.Array:
    return _apply(model, variables, to_unit(batch)).recon


def even_size(n: int, batch_size: int) -> int:
    """Returns the size, at most `batch_size`, at which as few batches as can be hold n samples."""
    return -(-n // -(-n // batch_size))


def _padded_batches(x: data.Samples, batch_size: int) -> Iterator[np.ndarray]:
    n = len(x)
    size = even_size(n, batch_size)
    for start in range(0, n, size):
        yield take(x, np.arange(start, start + size) % n)


def _apply(model: nn.Module, variables: Mapping[str, Any], x: jax.Array, **kwargs: Any) -> Output:
    return cast(Output, model.apply(variables, x, **kwargs))


def _map(fn: Callable[[Any, int], Any], x: data.Samples, batch_size: int) -> Any:
    parts, running = [], None
    for i, batch in enumerate(_padded_batches(x, batch_size)):
        ahead = fn(batch, i)  # runs while the results of the batch before it are fetched
        if running is not None:
            parts.append(jax.device_get(running))
        running = ahead
    parts.append(jax.device_get(running))
    return jax.tree.map(lambda *arrays: np.concatenate(arrays)[: len(x)], *parts)


def per_sample(
    model: nn.Module,
    variables: Mapping[str, Any],
    x: data.Samples,
    objective: Objective,
    *,
    key: jax.Array | None = None,
    batch_size: int = BATCH_SIZE,
) -> losses.Terms:
    """Returns the terms of each of N samples, NumPy arrays `[N]`; see `eval_step`.

    Args:
      key: of the posterior samples of a variational model; `jax.random.key(0)` by default.
    """
    key = jax.random.key(0) if key is None else key

    def step(batch: Any, i: int) -> losses.Terms:
        return eval_step(model, objective, variables, batch, key, i)

    return _map(step, x, batch_size)


def evaluate(
    model: nn.Module,
    variables: Mapping[str, Any],
    x: data.Samples,
    objective: Objective,
    *,
    key: jax.Array | None = None,
    batch_size: int = BATCH_SIZE,
) -> dict[str, float]:
    """Returns the mean over N samples of each metric.

    Returns:
      `loss` (the objective; nats per sample under the `sum` reduction), `nats` per sample
      (reconstruction + KL), `recon_nats`, `kl_nats`, `mse` per pixel, and `n`.
    """
    terms = per_sample(model, variables, x, objective, key=key, batch_size=batch_size)
    return summary(objective, terms, tuple(x.shape[1:]))


def summary(
    objective: Objective, terms: losses.Terms, sample_shape: tuple[int, ...]
) -> dict[str, float]:
    """Returns `evaluate`'s means of the terms `[N]` of samples of `sample_shape`."""
    loss = losses.per_example(objective, terms, math.prod(sample_shape))
    recon, kl, mse = (float(np.mean(a, dtype=np.float64)) for a in terms)
    return {
        "loss": float(np.mean(loss, dtype=np.float64)),
        "nats": recon + kl,
        "recon_nats": recon,
        "kl_nats": kl,
        "mse": mse,
        "n": len(terms.mse),
    }


def embed(
    model: nn.Module,
    variables: Mapping[str, Any],
    x: data.Samples,
    *,
    batch_size: int = BATCH_SIZE,
) -> np.ndarray:
    """Returns the latents `[N, latent_dim]` of N samples; of a variational model, their means."""
    return _map(lambda batch, _: _encode(model, variables, batch), x, batch_size)


def reconstruct(
    model: nn.Module,
    variables: Mapping[str, Any],
    x: data.Samples,
    *,
    batch_size: int = BATCH_SIZE,
) -> np.ndarray:
    """Returns the float32 reconstructions `[N, ...]` of N samples, uint8 ones scaled to [0, 1]."""
    return _map(lambda batch, _: _reconstruct(model, variables, batch), x, batch_size)
