"""The latent space of a trained model: paths between samples, arithmetic, samples of a prior.

Decoding goes through `model.decode`: what it returns is in the units of the data, after the sigmoid
where a model ends in one. Latents are those of `embed`: of a variational model, posterior means.
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
from msae_jax.errors import InputError, unknown_name
from msae_jax.models.output import Output
from msae_jax.system.compiling import jit_inference
from msae_jax.train.evaluation import BATCH_SIZE, embed, map_samples


class Decoded(NamedTuple):
    """Latents and what they decode to.

    Attributes:
      z: float32 `[N, latent_dim]`.
      x: float32 `[N, ...]`, shaped like the samples of the model.
    """

    z: np.ndarray
    x: np.ndarray


class PathMetrics(NamedTuple):
    """How evenly a path of T frames changes, in root mean squared difference per pixel.

    With the step d_k = sqrt(mean over pixels of (x_(k+1) - x_k)^2), k = 1 .. T - 1:

    Attributes:
      steps: all d_k, float64 `[T - 1]`.
      mean_step, max_step: their mean and maximum.
      length: their sum.
      chord: the same distance between the first frame and the last.
      length_ratio: length / chord: 1 for a straight line of frames, more for any detour; NaN where
        the ends are equal.
      step_ratio: max_step / mean_step: 1 at constant speed, T - 1 where one step holds all the
        change; NaN where nothing changes.
    """

    steps: np.ndarray
    mean_step: float
    max_step: float
    length: float
    chord: float
    length_ratio: float
    step_ratio: float


class Interpolation(NamedTuple):
    """A path between two samples.

    Attributes:
      t: positions from 0 to 1, `[T]`.
      z: latents, float32 `[T, latent_dim]`; x: their decoded frames, float32 `[T, ...]`.
      metrics: of the frames.
    """

    t: np.ndarray
    z: np.ndarray
    x: np.ndarray
    metrics: PathMetrics


@functools.partial(jit_inference, static_argnums=0)
def _decode(model: nn.Module, variables: Mapping[str, Any], z: jax.Array) -> jax.Array:
    return cast(jax.Array, model.apply(variables, z, method="decode"))


def decode(
    model: nn.Module,
    variables: Mapping[str, Any],
    z: np.ndarray,
    *,
    sample_shape: tuple[int, ...] | None = None,
    batch_size: int = BATCH_SIZE,
) -> np.ndarray:
    """Returns what N latents `[N, latent_dim]` decode to, float32 `[N, ...]`.

    Args:
      sample_shape: the shape of one sample; by default the shape that `model.decode` returns.

    Raises:
      InputError: `z` is not `[N, latent_dim]` with N at least 1.
    """
    z = np.asarray(z, np.float32)
    if z.ndim != 2 or not len(z):
        raise InputError(f"latents to decode must be [N, latent_dim], got {list(z.shape)}.")
    x = map_samples(_decode, model, variables, z, batch_size)
    return x if sample_shape is None else x.reshape(len(z), *sample_shape)


def linear(a: np.ndarray, b: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Returns (1 - t) a + t b, float64 `[T, D]`, of vectors `[D]` at positions `[T]`."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    t = np.asarray(t, np.float64)[:, None]
    return (1 - t) * a + t * b


def slerp(a: np.ndarray, b: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Returns the spherical interpolation, float64 `[T, D]`, of vectors `[D]` at positions `[T]`.

        slerp(a, b, t) = sin((1 - t) w) / sin(w) a + sin(t w) / sin(w) b,   w the angle of a and b

    Between vectors of equal norm the path keeps that norm and has constant angular speed. Where the
    angle is zero, or undefined because a vector is zero, it is `linear`, its limit.

    Sources: Shoemake, "Animating rotation with quaternion curves" (1985); White, "Sampling
    generative networks" (2016).

    Raises:
      InputError: the vectors are opposite, so that every great circle joins them.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    norms = float(np.linalg.norm(a) * np.linalg.norm(b))
    if norms == 0:
        return linear(a, b, t)
    angle = float(np.arccos(np.clip(a @ b / norms, -1, 1)))
    if np.pi - angle < 1e-6:
        raise InputError("spherical interpolation of opposite vectors is undefined: use 'linear'.")
    if angle < 1e-6:
        return linear(a, b, t)
    t = np.asarray(t, np.float64)[:, None]
    return (np.sin((1 - t) * angle) * a + np.sin(t * angle) * b) / np.sin(angle)


def path_metrics(frames: np.ndarray) -> PathMetrics:
    """Returns the metrics of a path of frames `[T, ...]`, T at least 2."""
    if len(frames) < 2:
        raise InputError(f"a path needs 2 frames or more, got {len(frames)}.")
    x = np.asarray(frames, np.float64).reshape(len(frames), -1)
    steps = np.sqrt(np.square(np.diff(x, axis=0)).mean(axis=1))
    chord = float(np.sqrt(np.square(x[-1] - x[0]).mean()))
    mean, largest, length = float(steps.mean()), float(steps.max()), float(steps.sum())
    return PathMetrics(
        steps,
        mean,
        largest,
        length,
        chord,
        length / chord if chord else float("nan"),
        largest / mean if mean else float("nan"),
    )


_PATHS = {"linear": linear, "spherical": slerp}


def interpolate(
    model: nn.Module,
    variables: Mapping[str, Any],
    a: np.ndarray,
    b: np.ndarray,
    steps: int = 11,
    kind: str = "linear",
    *,
    latents: bool = False,
) -> Interpolation:
    """Decodes a path between the latents of two samples, both ends included.

    Args:
      a, b: two samples `[...]`, uint8 or float32; or with `latents` two latents `[latent_dim]`.
      steps: the number of frames, at least 2.
      kind: `linear` or `spherical` (see `slerp`).

    Raises:
      InputError: an unknown kind, fewer than 2 steps, or ends that differ in shape.
    """
    if kind not in _PATHS:
        raise unknown_name("kind of interpolation", kind, _PATHS)
    if steps < 2:
        raise InputError(f"steps must be at least 2, the two ends, got {steps}.")
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape:
        raise InputError(
            f"the ends must have the same shape, got {list(a.shape)} and {list(b.shape)}."
        )
    ends = np.stack([a, b])
    if not latents:
        ends = embed(model, variables, ends)
    t = np.linspace(0, 1, steps)
    z = _PATHS[kind](ends[0], ends[1], t).astype(np.float32)
    x = decode(model, variables, z, sample_shape=None if latents else a.shape)
    return Interpolation(t, z, x, path_metrics(x))


def arithmetic(
    model: nn.Module,
    variables: Mapping[str, Any],
    a: data.Samples,
    b: data.Samples,
    c: data.Samples,
) -> Decoded:
    """Decodes mean(z_a) - mean(z_b) + mean(z_c), the means over groups of samples.

    Args:
      a, b, c: samples `[N, ...]`, each group of its own size.

    Returns:
      One latent `[1, latent_dim]` and its sample `[1, ...]`.

    Source: Radford et al., "Unsupervised representation learning with DCGANs" (2015), section 6.3.
    """
    means = []
    for name, group in (("a", a), ("b", b), ("c", c)):
        if not len(group):
            raise InputError(f"group {name} has no samples.")
        means.append(embed(model, variables, group).mean(axis=0, dtype=np.float64))
    z = (means[0] - means[1] + means[2])[None].astype(np.float32)
    return Decoded(z, decode(model, variables, z, sample_shape=tuple(a.shape[1:])))


def sample(
    model: nn.Module,
    variables: Mapping[str, Any],
    n: int,
    key: jax.Array,
    *,
    fit_to: data.Samples | None = None,
) -> Decoded:
    """Decodes n latents drawn from the prior N(0, I), or from a Gaussian fitted to latents.

    Args:
      key: a typed PRNG key, the only randomness.
      fit_to: samples `[N, ...]`, N at least 2, to whose latents the Gaussian (mean, and full
        covariance with the divisor N - 1) is fitted: for models without a prior, or whose latents
        do not follow theirs (Ghosh et al., "From variational to deterministic autoencoders", 2020).

    Raises:
      InputError: the model has no prior, or does not tell its `sample_shape`, and `fit_to` is
        missing; or n or N is too small.
    """
    if n < 1:
        raise InputError(f"the number of samples must be at least 1, got {n}.")
    if fit_to is None:
        name = type(model).__name__
        if getattr(model, "sample_shape", None) is None:
            raise InputError(
                f"{name} has no property sample_shape, the shape of one sample: add it, or give "
                "fit_to= samples."
            )
        shape = tuple(cast(Any, model).sample_shape)
        x = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
        out = cast(Output, jax.eval_shape(model.apply, variables, x))  # computes nothing
        if out.mu is None:
            raise InputError(
                f"{name} has no prior to sample from: give fit_to= the samples to whose latents a "
                "Gaussian is to be fitted."
            )
        z = np.asarray(jax.random.normal(key, (n, out.z.shape[1]), jnp.float32))
    else:
        shape = tuple(fit_to.shape[1:])
        mean, root = _gaussian(embed(model, variables, fit_to))
        noise = np.asarray(jax.random.normal(key, (n, len(mean)), jnp.float32), np.float64)
        z = (mean + noise @ root).astype(np.float32)
    return Decoded(z, decode(model, variables, z, sample_shape=shape))


def _gaussian(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the mean `[D]` of latents `[N, D]` and the square root `[D, D]` of their covariance.

    The root is symmetric; a singular covariance, of units that never fire, has one too.
    """
    if len(z) < 2:
        raise InputError(f"fitting a Gaussian needs 2 samples or more, got {len(z)}.")
    covariance = np.atleast_2d(np.cov(z.astype(np.float64), rowvar=False))
    values, vectors = np.linalg.eigh(covariance)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    return z.mean(axis=0, dtype=np.float64), root
