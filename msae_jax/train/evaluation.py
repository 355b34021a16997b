"""What a trained model does to a set of samples: its metrics, latents and reconstructions.

All work batch by batch, so that data sets of any size fit. All batches have one size, so that one
compiled program serves them all: the last one is padded, and the results of the padding dropped.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar, cast

import flax.linen as nn
import jax
import numpy as np

from msae_jax import data
from msae_jax.config import Objective
from msae_jax.data.dataset import take
from msae_jax.data.samples import as_input
from msae_jax.data.series import Windows
from msae_jax.errors import InputError
from msae_jax.models.output import Output
from msae_jax.system import distributed
from msae_jax.system.compiling import jit_inference
from msae_jax.train import losses, observed, to_unit
from msae_jax.train.blocks import in_blocks

T = TypeVar("T")

BATCH_SIZE = 500

EVALUATION = 2**32 - 1
"""Folded into a run's noise key for its evaluations; no training step has this number."""


def noise_key(key: jax.Array) -> jax.Array:
    """Returns the key of a run's evaluations, from the noise key of the run."""
    return jax.random.fold_in(key, EVALUATION)


def sample_terms(
    model: nn.Module,
    objective: Objective,
    variables: Mapping[str, Any],
    batch: jax.Array,
    key: jax.Array,
    i: jax.Array | int,
    masked: bool = False,
) -> losses.Terms:
    """Returns the terms of each sample of the i-th batch `[B, ...]` of a set; to be traced.

    The squared error is that of the posterior mean. The nats of a variational model are those of
    one posterior sample drawn from the fold of `key` with i, an unbiased estimate of its negative
    ELBO.

    Args:
      masked: whether values may be missing, as NaN; they count as 0 and for nothing in the terms.
    """

    def of_block(block: jax.Array, number: jax.Array | None) -> losses.Terms:
        x, mask = observed(to_unit(block), masked)
        out = _apply(model, variables, x)
        terms = losses.terms(objective, out, x, mask)
        if out.mu is None:
            return terms
        noise = jax.random.fold_in(key, i)
        noise = noise if number is None else jax.random.fold_in(noise, number)
        sampled = losses.terms(objective, _apply(model, variables, x, key=noise), x, mask)
        return losses.with_nats_of(sampled, terms)

    return _in_blocks(model, of_block, batch)


eval_step = jit_inference(sample_terms, static_argnums=(0, 1, 6))


@functools.partial(jit_inference, static_argnums=0)
def _encode(model: nn.Module, variables: Mapping[str, Any], batch: jax.Array) -> jax.Array:
    def of_block(block: jax.Array, _: jax.Array | None) -> jax.Array:
        z = _apply(model, variables, to_unit(block)).z
        if z is None:
            raise InputError(
                "the latent of this program is not certain: say which value it is, --set z=encoder "
                "(a module's path, or an output's number from 0)."
            )
        return z

    return _in_blocks(model, of_block, batch)


@functools.partial(jit_inference, static_argnums=0)
def _reconstruct(model: nn.Module, variables: Mapping[str, Any], batch: jax.Array) -> jax.Array:
    def of_block(block: jax.Array, _: jax.Array | None) -> jax.Array:
        return _apply(model, variables, to_unit(block)).recon

    return _in_blocks(model, of_block, batch)


def _in_blocks(model: nn.Module, fn: Callable[..., T], batch: jax.Array) -> T:
    """Returns `in_blocks`, or of a program that may mix the samples of a batch all at once."""
    if getattr(model, "mixes_samples", False):
        return fn(batch, None)
    return cast(T, in_blocks(fn, batch))


def even_size(n: int, batch_size: int) -> int:
    """Returns the smallest size with which n samples need no more batches than `batch_size`."""
    return -(-n // -(-n // batch_size))


def padded_batches(x: data.Samples, batch_size: int = BATCH_SIZE) -> Iterator[np.ndarray]:
    """Yields a set `[N, ...]` in as few batches of equal size as can be.

    The last one is filled up from the start of the set.
    """
    n = len(x)
    size = even_size(n, batch_size)
    for start in range(0, n, size):
        if isinstance(x, np.ndarray) and start + size <= n:  # a view, without a copy
            yield x[start : start + size]
        else:
            yield take(x, np.arange(start, start + size) % n)


def _apply(model: nn.Module, variables: Mapping[str, Any], x: jax.Array, **kwargs: Any) -> Output:
    return cast(Output, model.apply(variables, x, **kwargs))


def map_batches(
    fn: Callable[[Any, int], Any], batches: Iterable[Any], n: int, axis: int = 0
) -> Any:
    """Returns `fn(batch, i)` of all padded batches, NumPy arrays joined to `n` along `axis`."""
    fetch = jax.device_get if jax.process_count() == 1 else distributed.to_host
    parts, running = [], None
    for i, batch in enumerate(batches):
        ahead = fn(batch, i)  # runs while the results of the batch before it are fetched
        if running is not None:
            parts.append(fetch(running))
        running = ahead
    parts.append(fetch(running))
    first_n = (slice(None),) * axis + (slice(n),)
    return jax.tree.map(lambda *arrays: np.concatenate(arrays, axis)[first_n], *parts)


def map_samples(
    fn: Any, model: nn.Module, variables: Mapping[str, Any], x: data.Samples, batch_size: int
) -> np.ndarray:
    """Returns `fn(model, variables, batch)` of N samples, batch by batch, joined.

    What is missing in windows of series is 0, as in training.
    """
    batches = padded_batches(x, batch_size)
    if isinstance(x, Windows) and x.masked:
        batches = map(np.nan_to_num, batches)
    return map_batches(lambda batch, _: fn(model, variables, batch), batches, len(x))


def per_sample(
    model: nn.Module,
    variables: Mapping[str, Any],
    x: data.Samples,
    objective: Objective,
    *,
    key: jax.Array | None = None,
    batch_size: int = BATCH_SIZE,
) -> losses.Terms:
    """Returns the terms of each of N samples, NumPy arrays `[N]`; see `sample_terms`.

    Args:
      key: of the posterior samples of a variational model; `jax.random.key(0)` by default.
    """
    key = jax.random.key(0) if key is None else key
    x = as_input(x)
    masked = isinstance(x, Windows) and x.masked

    def step(batch: Any, i: int) -> losses.Terms:
        return eval_step(model, objective, variables, batch, key, i, masked)

    return map_batches(step, padded_batches(x, batch_size), len(x))


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

    Raises:
      InputError: the samples are none, not finite, or outside the range of the objective's
        likelihood.
    """
    x = as_input(x)
    if isinstance(x, np.ndarray):
        losses.check_range(objective, x)
    terms = per_sample(model, variables, x, objective, key=key, batch_size=batch_size)
    return summary(objective, terms, tuple(x.shape[1:]))


def summary(
    objective: Objective, terms: losses.Terms, sample_shape: tuple[int, ...]
) -> dict[str, float]:
    """Returns `evaluate`'s means of the terms `[N]` of samples of `sample_shape`."""
    loss = losses.per_example(objective, terms, math.prod(sample_shape))
    means = jax.tree.map(lambda a: float(np.mean(a, dtype=np.float64)), terms)
    found = losses.metrics(float(np.mean(loss, dtype=np.float64)), means)
    return found | {"n": len(terms.mse)}


def error_of_mean(x: data.Samples) -> float:
    """Returns the squared error per value of taking the mean sample of N for each of them.

    It is the variance over samples, mean over values; what is missing in series is left out. A
    model whose error is larger does not know these samples.
    """
    x, total, squares, count = as_input(x), 0.0, 0.0, 0
    for start in range(0, len(x), BATCH_SIZE):
        batch = take(x, np.arange(start, min(start + BATCH_SIZE, len(x))))
        batch = batch.astype(np.float64) / (255 if batch.dtype == np.uint8 else 1)
        total = total + np.nansum(batch, axis=0)
        squares = squares + np.nansum(np.square(batch), axis=0)
        count = count + np.sum(~np.isnan(batch), axis=0)
    known = np.maximum(count, 1)
    return float(np.mean(squares / known - np.square(total / known)))


def embed(
    model: nn.Module,
    variables: Mapping[str, Any],
    x: data.Samples,
    *,
    batch_size: int = BATCH_SIZE,
) -> np.ndarray:
    """Returns the latents `[N, latent_dim]` of N samples; of a variational model, their means."""
    return map_samples(_encode, model, variables, as_input(x), batch_size)


def reconstruct(
    model: nn.Module,
    variables: Mapping[str, Any],
    x: data.Samples,
    *,
    batch_size: int = BATCH_SIZE,
) -> np.ndarray:
    """Returns the float32 reconstructions `[N, ...]` of N samples, uint8 ones scaled to [0, 1]."""
    return map_samples(_reconstruct, model, variables, as_input(x), batch_size)
