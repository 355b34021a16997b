"""Random changes of series that keep what they are about: the direct transforms, and in latents.

A transform is a pure function of a key, series `[B, T, C]` and a strength, which returns series of
the same shape; its strength is a standard deviation, and 0 changes nothing. It can be jitted,
vmapped and differentiated. The strengths of `jitter`, `drift` and `trend` are in the unit of the
series, so standardise those first; factors of `scaling` and `magnitude-warp` have no unit. "A
series" below is one channel of one sample: each draws its own numbers.

Source: Um et al., "Data augmentation of wearable sensor data", ICMI 2017; the five that L-GTA uses
(Roque, Soares, Cerqueira and Torgo, arXiv 2507.23615).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from msae_jax.errors import InputError, unknown_name
from msae_jax.system import names as naming

Strength = float | jax.Array
Transform = Callable[[jax.Array, jax.Array, Strength], jax.Array]
Step = tuple[str | Transform, float]

INNER_KNOTS = 4
"""How many knots the factors of `magnitude_warp` have between the first point and the last."""


def identity(key: jax.Array, x: jax.Array, strength: Strength) -> jax.Array:
    """Returns the series unchanged: the control of every comparison."""
    del key, strength
    return x


def jitter(key: jax.Array, x: jax.Array, strength: Strength) -> jax.Array:
    """Returns x + strength * n with n from N(0, 1), one for each value."""
    return x + strength * jax.random.normal(key, x.shape, x.dtype)


def scaling(key: jax.Array, x: jax.Array, strength: Strength) -> jax.Array:
    """Returns x * (1 + strength * n) with n from N(0, 1), one for each series."""
    return x * (1 + strength * jax.random.normal(key, (x.shape[0], 1, x.shape[2]), x.dtype))


def magnitude_warp(key: jax.Array, x: jax.Array, strength: Strength) -> jax.Array:
    """Returns x times a smooth curve of factors about 1, one curve for each series.

    The curve is the cubic spline (not-a-knot) through factors from N(1, strength) at the first
    point, the last, and `INNER_KNOTS` evenly between.
    """
    curves = jnp.asarray(_spline(x.shape[1]), x.dtype)
    factors = jax.random.normal(key, (x.shape[0], curves.shape[1], x.shape[2]), x.dtype)
    return x * (1 + strength * jnp.einsum("tk,bkc->btc", curves, factors))


def drift(key: jax.Array, x: jax.Array, strength: Strength) -> jax.Array:
    """Returns x plus a random walk with steps from N(0, strength^2 / T), one for each series.

    Its standard deviation grows to `strength` at the last point.
    """
    steps = jax.random.normal(key, x.shape, x.dtype) / np.sqrt(x.shape[1]).item()
    return x + strength * jnp.cumsum(steps, axis=1)


def trend(key: jax.Array, x: jax.Array, strength: Strength) -> jax.Array:
    """Returns x + strength * n * (t + 1) / T for points t = 0 .. T - 1, an n for each series.

    The slopes n are from N(0, 1), up or down.
    """
    slopes = jax.random.normal(key, (x.shape[0], 1, x.shape[2]), x.dtype)
    line = jnp.arange(1, x.shape[1] + 1, dtype=x.dtype) / x.shape[1]
    return x + strength * slopes * line[:, None]


TRANSFORMS: dict[str, Transform] = {
    "identity": identity,
    "jitter": jitter,
    "scaling": scaling,
    "magnitude-warp": magnitude_warp,
    "drift": drift,
    "trend": trend,
}
"""The transforms by the names of the command line."""


def named(transform: str | Transform) -> Transform:
    """Returns the transform of a name, or the one given.

    Args:
      transform: a name of `TRANSFORMS`, a `package.module:name` of your own, or a transform.

    Raises:
      InputError: the name is unknown or cannot be imported, or stands for no function.
    """
    if not isinstance(transform, str):
        return transform
    found = naming.find("transform", transform, TRANSFORMS)
    if not callable(found):
        raise naming.wrong_kind("transform", transform, found, "a function of key, x and strength")
    return found


def chain(steps: Sequence[Step]) -> Transform:
    """Returns one transform that applies several, each with its own strength and its own key.

    Args:
      steps: transforms, or their names, with their strengths, in order. The strength of the chain
        multiplies them all: 1 leaves them as they are.

    Raises:
      InputError: no steps, an unknown name, or a strength that is negative or not finite.
    """
    if not steps:
        raise InputError("a chain needs one transform or more, got none.")
    for name, strength in steps:
        if not (np.isfinite(strength) and strength >= 0):
            raise InputError(f"the strength of {name} must be 0 or more, got {strength}.")
    found = [(named(transform), strength) for transform, strength in steps]

    def chained(key: jax.Array, x: jax.Array, strength: Strength) -> jax.Array:
        for position, (transform, own) in enumerate(found):
            x = transform(jax.random.fold_in(key, position), x, strength * own)
        return x

    return chained


def parse(text: str) -> list[Step]:
    """Returns the steps of `jitter:0.1,drift:0.2`; of an empty text none.

    A configuration may come from a stranger, so that only names of `TRANSFORMS` are taken.

    Raises:
      InputError: an unknown name, or a strength that is not a number of 0 or more.
    """
    steps: list[Step] = []
    for part in filter(None, text.split(",")):
        name, _, strength = part.strip().partition(":")
        if name not in TRANSFORMS:
            raise unknown_name("transform", name, TRANSFORMS)
        try:
            steps.append((name, float(strength)))
        except ValueError as error:
            raise InputError(f"augment takes NAME:STRENGTH,..., got {part!r}.") from error
    if steps:
        chain(steps)  # refuses strengths that cannot be
    return steps


def factors(
    steps: Sequence[Step], key: jax.Array, shape: tuple[int, int]
) -> tuple[jax.Array, jax.Array]:
    """Returns a and b, `[B, T, 1]`, of a chain of named transforms: T(x) = a x + b.

    Every transform of `TRANSFORMS` is of this form. With a and b in hand, the same change can be
    made of any number of channels, latents among them.

    Args:
      shape: (B, T).
    """
    changed = chain(steps)
    zeros = jnp.zeros((*shape, 1), jnp.float32)
    offset = changed(key, zeros, 1.0)
    return changed(key, zeros + 1.0, 1.0) - offset, offset


def in_latents(
    encode: Callable[[jax.Array], jax.Array],
    decode: Callable[[jax.Array], jax.Array],
    transform: str | Transform,
) -> Transform:
    """Returns the transform that changes the latents of series and decodes them.

    Args:
      encode: from series `[B, T, C]` to latents `[B, D]` or, with one per time step, `[B, W, D]`.
        Latents `[B, D]` have no time: each of them is then a series of one point.
      decode: from such latents to series `[B, T, C]`. Strength 0 gives the reconstruction.

    Where both are a `jax.tree_util.Partial`, so is the transform.
    """
    latents = _InLatents(named(transform))
    if isinstance(encode, Partial) and isinstance(decode, Partial):
        return Partial(latents, encode, decode)
    return functools.partial(latents, encode, decode)


@dataclass(frozen=True)
class _InLatents:
    """`in_latents` of a transform: equal for all that differ in encoder and decoder alone."""

    change: Transform

    def __call__(
        self,
        encode: Callable[[jax.Array], jax.Array],
        decode: Callable[[jax.Array], jax.Array],
        key: jax.Array,
        x: jax.Array,
        strength: Strength,
    ) -> jax.Array:
        z = encode(x)
        timed = z if z.ndim == 3 else z[:, None]
        return decode(self.change(key, timed, strength).reshape(z.shape))


def compiled(transform: Transform) -> Callable[..., jax.Array]:
    """Returns a transform compiled.

    Those that are a `jax.tree_util.Partial`, as `in_latents` of a `model_codec` is, share a program
    where they differ in arrays alone: it is compiled for the first seed of a model and serves all.
    """
    if isinstance(transform, Partial):
        return functools.partial(_applied, transform)
    return jax.jit(transform)


@jax.jit
def _applied(transform: Transform, key: jax.Array, x: jax.Array, strength: Strength) -> jax.Array:
    return transform(key, x, strength)


@functools.lru_cache(maxsize=32)
def _spline(length: int) -> np.ndarray:
    """Returns the matrix `[T, knots]` from values at the knots to the spline at the points."""
    from scipy.interpolate import CubicSpline

    knots = np.linspace(0, 1, INNER_KNOTS + 2)
    points = np.arange(length) / max(length - 1, 1)
    return CubicSpline(knots, np.eye(len(knots)))(points)
