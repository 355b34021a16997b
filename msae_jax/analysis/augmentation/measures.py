"""How near augmented series are to the original, whether strength steers them, and their use.

An exact copy is nearest by every distance, so that a distance alone ranks nothing: compare methods
at an equal distance (`strength_at`), beside the identity and principal components.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from msae_jax.analysis.forecasting import forecast_probe
from msae_jax.analysis.probes import probe
from msae_jax.errors import InputError
from msae_jax.train.transforms import Transform, compiled

Array = np.ndarray | jax.Array
Distance = Callable[[Array, Array], np.ndarray]

LARGEST_STRENGTH = 2.0**20


class Controllability(NamedTuple):
    """Whether a larger strength has a larger effect, series by series.

    Attributes:
      rho: Spearman's rank correlation of strength and effect, mean over the series; 1 is perfect.
      monotonic: the share of the series whose effect never falls from a strength to the next.
      effects: `[strengths]`, the median effect over the series.
    """

    rho: float
    monotonic: float
    effects: np.ndarray


class Spread(NamedTuple):
    """The median and the interquartile range of a quantity over series."""

    median: float
    iqr: float


class Transfer(NamedTuple):
    """The squared error of a predictor on real series, by what it was trained on.

    Attributes:
      original: trained on the original series.
      augmented: trained on the augmented series.
    """

    original: float
    augmented: float


class Match(NamedTuple):
    """The strength at which a transform has moved series by some distance, and that distance."""

    strength: float
    distance: float


def spread(values: np.ndarray) -> Spread:
    """Returns the median and the interquartile range of `[n]` values."""
    low, middle, high = np.percentile(values, [25, 50, 75])
    return Spread(float(middle), float(high - low))


def wasserstein(original: Array, augmented: Array) -> np.ndarray:
    """Returns how far the values of each series moved, `[B * C]`, regardless of their order.

    It is the Wasserstein distance of order 1 between the values of a series before and after, in
    standard deviations of the original series (a constant one: in its unit).

    Args:
      original, augmented: series `[B, T, C]`, one beside the other.

    Raises:
      InputError: shapes that differ, or values that are not finite.
    """
    a, b = _pair(original, augmented)
    if a.ndim != 3:
        raise InputError(f"series must be [B, T, C], got {list(a.shape)}.")
    deviation = a.std(axis=1)
    moved = np.abs(np.sort(a, axis=1) - np.sort(b, axis=1)).mean(axis=1)
    return (moved / np.where(deviation > 0, deviation, 1)).ravel()


def rms(original: Array, augmented: Array) -> np.ndarray:
    """Returns the root mean squared change of each sample, `[B]`, in the unit of the series."""
    a, b = _pair(original, augmented)
    return np.sqrt(((a - b) ** 2).reshape(len(a), -1).mean(axis=1))


def pca_ratio(original: Array, augmented: Array, components: int = 2) -> float:
    """Returns how much worse a few principal components rebuild augmented samples, in per cent.

    100 times the squared error with which the augmented samples are rebuilt from their own first
    principal components, over that of the original samples from theirs. 100 is what a copy has.

    Args:
      original, augmented: samples `[N, ...]`, one a row.

    Raises:
      InputError: shapes that differ, values that are not finite, or too few samples or values.
    """
    a, b = (x.reshape(len(x), -1) for x in _pair(original, augmented))
    if not 1 <= components < min(a.shape):
        raise InputError(
            f"{components} principal components need more samples and values, got {list(a.shape)}."
        )
    before, after = (_left_out(x, components) for x in (a, b))
    if before == 0:
        raise InputError(f"{components} principal components rebuild the original without error.")
    return 100 * after / before


def _left_out(x: np.ndarray, components: int) -> float:
    spectrum = np.linalg.svd(x - x.mean(axis=0), compute_uv=False)
    return float((spectrum[components:] ** 2).sum())


def discriminative_score(
    original: Array, augmented: Array, kind: str = "svm", *, seed: int = 0, **settings: Any
) -> float:
    """Returns how well a classifier tells augmented samples from original ones, 0 to 0.5.

    |accuracy - 0.5| on a random third of the samples, after training on the others; an original and
    its augmented copy are always on the same side (Yoon et al., "TimeGAN", NeurIPS 2019). 0 means
    that they cannot be told apart.

    Args:
      original, augmented: samples `[N, ...]`, N at least 3.
      kind, settings: of `msae_jax.analysis.probe`.
      seed: draws the third.

    Raises:
      InputError: shapes that differ, values that are not finite, too few samples, an unknown kind.
    """
    a, b = (x.reshape(len(x), -1) for x in _pair(original, augmented))
    if len(a) < 3:
        raise InputError(f"the discriminative score needs 3 samples or more, got {len(a)}.")
    order = np.random.default_rng(seed).permutation(len(a))
    test, train = order[: len(a) // 3], order[len(a) // 3 :]
    sides = [
        (np.concatenate([a[part], b[part]]), np.repeat([0, 1], len(part))) for part in (train, test)
    ]
    return abs(probe(*sides[0], *sides[1], kind, **settings).accuracy - 0.5)


def transfer_error(
    original: Array, augmented: Array, test: Array, *, lags: int = 10, penalty: float = 1.0
) -> Transfer:
    """Returns the error on real series of a predictor trained on augmented ones, and on real ones.

    The predictor is a ridge regression of the next value on the `lags` before it, the same for all
    channels ("train on synthetic, test on real": Esteban et al., arXiv 1706.02633).

    Args:
      original: training series `[B, T, C]`, T above `lags`.
      augmented: the same after a transform.
      test: series `[M, T', C]` that neither was made from.

    Raises:
      InputError: shapes that do not fit, values that are not finite, or series that are too short.
    """
    a, b = _pair(original, augmented)
    x_test, y_test = _lagged(np.asarray(test, np.float64), lags)
    errors = [
        forecast_probe(*_lagged(x, lags), x_test, y_test, penalty=penalty).mse for x in (a, b)
    ]
    return Transfer(*errors)


def _lagged(x: np.ndarray, lags: int) -> tuple[np.ndarray, np.ndarray]:
    if x.ndim != 3 or not 1 <= lags < x.shape[1]:
        raise InputError(f"{lags} lags need series [B, T, C] with T above it, got {list(x.shape)}.")
    windows = np.lib.stride_tricks.sliding_window_view(x, lags + 1, axis=1).reshape(-1, lags + 1)
    return windows[:, :-1], windows[:, -1:]


def controllability(
    transform: Transform,
    x: Array,
    strengths: Sequence[float],
    key: jax.Array,
    *,
    distance: Distance = wasserstein,
) -> Controllability:
    """Returns whether the effect of a transform on series `[B, T, C]` follows its strength.

    The effect is the distance from the original. Each strength has its own random numbers, so that
    also a direct transform can miss.

    Args:
      strengths: 2 or more, increasing.
      distance: of each series, such as `wasserstein` or `rms`.

    Raises:
      InputError: strengths that do not increase.
    """
    s = np.asarray(strengths, np.float64)
    if len(s) < 2 or (np.diff(s) <= 0).any():
        raise InputError(f"strengths must be 2 or more and increase, got {list(strengths)}.")
    x = jnp.asarray(x)
    effects = np.stack(
        [
            distance(x, transform(jax.random.fold_in(key, i), x, float(strength)))
            for i, strength in enumerate(s)
        ]
    )
    rho = [_spearman(s, effect) for effect in effects.T]
    monotonic = (np.diff(effects, axis=0) >= 0).all(axis=0)
    return Controllability(float(np.mean(rho)), float(monotonic.mean()), np.median(effects, axis=1))


def _spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Returns the rank correlation, 0 where one does not vary."""
    from scipy.stats import rankdata

    x, y = (rankdata(v) - (len(v) + 1) / 2 for v in (a, b))
    scale = np.sqrt((x**2).sum() * (y**2).sum())
    return float((x * y).sum() / scale) if scale > 0 else 0.0


def strength_at(
    transform: Transform,
    x: Array,
    target: float,
    key: jax.Array,
    *,
    distance: Distance = wasserstein,
    tolerance: float = 1e-3,
) -> Match:
    """Returns the strength at which a transform moves series `[B, T, C]` by a distance.

    Bisection with one key, so that the same call gives the same strength. Methods compared at the
    strengths of one target are compared at an equal distance from the data.

    Args:
      target: the median distance over the series that is wanted.
      tolerance: how far the distance may be from the target, as a share of it.

    Raises:
      InputError: the transform is already farther at strength 0 (as a model that reconstructs badly
        is), or no strength reaches the target (as none of the identity does).
    """
    if not target > 0:
        raise InputError(f"the target distance must be above 0, got {target}.")
    x = jnp.asarray(x)
    moved = compiled(transform)

    def median(strength: float) -> float:
        return spread(distance(x, moved(key, x, strength))).median

    low, high, start = 0.0, 1.0, median(0.0)
    if start > target * (1 + tolerance):
        raise InputError(f"at strength 0 the distance is {start:.4g}, above the target {target:g}.")
    while (reached := median(high)) < target:
        low, high = high, 2 * high
        if high > LARGEST_STRENGTH:
            raise InputError(f"no strength reaches the distance {target:g}, got {reached:.4g}.")
    for _ in range(60):
        middle = (low + high) / 2
        reached = median(middle)
        if abs(reached - target) <= tolerance * target:
            break
        low, high = (middle, high) if reached < target else (low, middle)
    return Match(middle, reached)


def _pair(original: Array, augmented: Array) -> tuple[np.ndarray, np.ndarray]:
    a, b = (np.asarray(x, np.float64) for x in (original, augmented))
    if a.shape != b.shape or a.ndim < 2 or not a.size:
        raise InputError(
            f"original and augmented samples must be of one shape, got {list(a.shape)} and "
            f"{list(b.shape)}."
        )
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise InputError("the samples have values that are not finite: fill or leave out gaps.")
    return a, b
