"""How good samples are: distances of their features from those of real samples.

Features are those of a stated classifier (`msae_jax.generation.classifiers`); another one gives
other numbers. All measures depend on the number of samples: both sides have the same, and as many
other real samples, measured likewise, are the floor below which no generator need come.

Sources: Heusel et al., "GANs trained by a two time-scale update rule converge to a local Nash
equilibrium" (2017); Kynkäänniemi et al., "Improved precision and recall metric for assessing
generative models" (2019); Naeem et al., "Reliable fidelity and diversity metrics for generative
models" (2020).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from msae_jax.data import Samples, Split
from msae_jax.data.dataset import take
from msae_jax.errors import InputError
from msae_jax.generation.classifiers import Classifier, classifier

NEIGHBOURS = 5
MOST = 5000
CHUNK = 1000
"""Rows of a matrix of distances that are held at once."""


class Manifold(NamedTuple):
    """How two sets of points `[N, F]`, real and fake, cover each other.

    The ball of a point reaches to its k-th nearest neighbour among the others of its set.

    Attributes:
      precision: share of fake points that lie in the ball of any real point.
      recall: share of real points that lie in the ball of any fake point.
      density: how many balls of real points a fake point lies in, mean over fake points, divided by
        k; it may be above 1.
      coverage: share of real points with a fake point in their ball.
    """

    precision: float
    recall: float
    density: float
    coverage: float


class Measures(NamedTuple):
    """What samples are like, in features; see the module.

    Attributes:
      frechet: `frechet_distance`, in squared units of the features. The others: see `Manifold`.
      recognised: share of the samples that the classifier takes for the class that was asked for;
        None where none was.
      n: samples on each side. k: of the neighbours.
    """

    frechet: float
    precision: float
    recall: float
    density: float
    coverage: float
    recognised: float | None
    n: int
    k: int


@dataclass(frozen=True)
class Reference:
    """Real samples that others are measured against; made by `reference`.

    Attributes:
      classifier: whose features are compared.
      features: of the n real samples, `[n, F]`.
      k: of the neighbours.
      accuracy: the share of the 2 n real samples whose class the classifier recognises; None where
        their classes are not known.
      floor: n other real samples, measured as `measure` does.
    """

    classifier: Classifier
    features: np.ndarray
    k: int
    accuracy: float | None
    floor: Measures

    @property
    def n(self) -> int:
        """How many real samples there are."""
        return len(self.features)

    def measure(self, x: Samples, y: np.ndarray | None = None) -> Measures:
        """Measures n samples `[n, H, W, C]`, uint8 or float32 in [0, 1].

        Args:
          y: the classes `[n]` that were asked for, where there were such.

        Raises:
          InputError: they are not n, or not images that the classifier knows.
        """
        return _measured(self.classifier, self.features, x, y, self.k)


def reference(
    name: str | Classifier,
    real: Split,
    n: int | None = None,
    *,
    k: int = NEIGHBOURS,
    seed: int = 0,
) -> Reference:
    """Takes real samples to measure others against, and as many other ones for the floor.

    Args:
      name: of a shipped classifier (`classifiers.names()`), or one.
      real: samples that the autoencoder was not trained on: the test split.
      n: how many of each; by default half of them, at most `MOST`.
      k: of the neighbours.
      seed: draws which samples are taken.

    Raises:
      InputError: there are fewer than 2 n real samples, or n is not above k.
    """
    own = classifier(name) if isinstance(name, str) else name
    size = min(len(real.x) // 2, MOST) if n is None else n
    if 2 * size > len(real.x):
        raise InputError(
            f"measuring {size} samples needs {2 * size} real ones, {size} of them for the floor, "
            f"got {len(real.x)}."
        )
    rows = np.random.default_rng(seed).permutation(len(real.x))[: 2 * size]
    x = take(real.x, rows)
    y = None if real.y is None else real.y[rows]
    found = own.outputs(x[:size])
    floor = _measured(own, found.features, x[size:], None if y is None else y[size:], k)
    accuracy = None
    if y is not None:
        assert floor.recognised is not None
        accuracy = (float(np.mean(found.classes == y[:size])) + floor.recognised) / 2
    return Reference(own, found.features, k, accuracy, floor)


def _measured(
    own: Classifier, real: np.ndarray, x: Samples, y: np.ndarray | None, k: int
) -> Measures:
    if len(x) != len(real):
        raise InputError(
            f"{len(x)} samples cannot be measured against {len(real)} real ones: the measures "
            f"depend on the numbers, which must be the same: give {len(real)}."
        )
    if y is not None and np.shape(y) != (len(x),):
        raise InputError(f"classes must be [{len(x)}], got {list(np.shape(y))}.")
    found = own.outputs(x)
    recognised = None if y is None else float(np.mean(found.classes == np.asarray(y)))
    near = manifold(real, found.features, k)
    return Measures(
        frechet_distance(real, found.features), *near, recognised=recognised, n=len(x), k=k
    )


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Returns the squared Fréchet distance of the Gaussians with the moments of two sets.

        |m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a^(1/2) C_b C_a^(1/2))^(1/2))

    with means m and covariances C (divisor N - 1). It grows as N falls, for sets of the same
    distribution, too. In the features of an Inception network it is known as FID; in others it is
    another number.

    Args:
      a, b: points `[N, F]` and `[M, F]`, N and M at least 2.

    Source: Dowson and Landau, "The Fréchet distance between multivariate normal distributions"
    (1982); Heusel et al. (2017).

    Raises:
      InputError: the sets are not such.
    """
    a, b = _points(a, b, least=2)
    dims = a.shape[1]
    cov_a, cov_b = (np.cov(x, rowvar=False).reshape(dims, dims) for x in (a, b))
    values, vectors = np.linalg.eigh(cov_a)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    shared = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ cov_b @ root), 0)).sum()
    means = np.square(a.mean(axis=0) - b.mean(axis=0)).sum()
    return max(0.0, float(means + np.trace(cov_a) + np.trace(cov_b) - 2 * shared))


def manifold(real: np.ndarray, fake: np.ndarray, k: int = NEIGHBOURS) -> Manifold:
    """Returns precision, recall, density and coverage of points `[N, F]` and `[M, F]`.

    A point at exactly the radius of a ball lies in it.

    Raises:
      InputError: the sets are not such, or have no k neighbours.
    """
    if k < 1:
        raise InputError(f"k must be at least 1, got {k}.")
    real, fake = _points(real, fake, least=k + 1)
    of_real, of_fake = _radii(real, k), _radii(fake, k)
    counts = np.zeros(len(fake))
    recalled, covered = [], []
    for start in range(0, len(real), CHUNK):
        chunk = slice(start, start + CHUNK)
        distances = _squared(real[chunk], fake)
        inside = distances <= of_real[chunk, None]
        counts += inside.sum(axis=0)
        covered.append(inside.any(axis=1))
        recalled.append((distances <= of_fake).any(axis=1))
    return Manifold(
        float(np.mean(counts > 0)),
        float(np.concatenate(recalled).mean()),
        float(counts.mean() / k),
        float(np.concatenate(covered).mean()),
    )


def _radii(x: np.ndarray, k: int) -> np.ndarray:
    """Returns the squared distance `[N]` of each point from its k-th nearest other point."""
    radii = []
    for start in range(0, len(x), CHUNK):
        distances = _squared(x[start : start + CHUNK], x)
        rows = np.arange(len(distances))
        distances[rows, start + rows] = np.inf
        radii.append(np.partition(distances, k - 1, axis=1)[:, k - 1])
    return np.concatenate(radii)


def _squared(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns the squared distances `[N, M]` of points."""
    squares = np.square(a).sum(axis=1)[:, None] + np.square(b).sum(axis=1)
    return np.maximum(squares - 2 * a @ b.T, 0)


def _points(a: np.ndarray, b: np.ndarray, least: int) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < least:
        raise InputError(
            f"expected two sets of points [N, F], N at least {least}, got {list(a.shape)} and "
            f"{list(b.shape)}."
        )
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise InputError("some features are not finite numbers.")
    return a, b
