"""Measures against closed forms and points made by hand."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import sqrtm

from msae_jax.data import Split
from msae_jax.errors import InputError
from msae_jax.generation import frechet_distance, manifold, measures, reference
from msae_jax.generation.classifiers import Classifier, Network

pytestmark = pytest.mark.usefixtures("all_quick_to_compile")


def with_moments(mean: np.ndarray, covariance: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Points whose mean and covariance are exactly those."""
    x = np.random.default_rng(seed).normal(size=(n, len(mean)))
    x -= x.mean(axis=0)
    x = x @ np.linalg.inv(np.linalg.cholesky(np.cov(x.T))).T
    return mean + x @ np.linalg.cholesky(covariance).T


def test_the_frechet_distance_of_two_gaussians() -> None:
    """|m_a - m_b|^2 + sum (s_a - s_b)^2 where both covariances are diagonal."""
    a = with_moments(np.array([1.0, 0.0]), np.diag([4.0, 9.0]), 50, 0)
    b = with_moments(np.array([0.0, 2.0]), np.diag([1.0, 25.0]), 70, 1)
    expected = (1 + 4) + (2 - 1) ** 2 + (3 - 5) ** 2
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(b, a) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)


def test_the_frechet_distance_where_covariances_do_not_commute() -> None:
    first, second = np.array([[2.0, 1.5], [1.5, 3.0]]), np.array([[1.0, -0.4], [-0.4, 0.5]])
    a = with_moments(np.zeros(2), first, 40, 0)
    b = with_moments(np.ones(2), second, 40, 1)
    expected = 2 + np.trace(first + second - 2 * sqrtm(first @ second).real)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)


def test_the_frechet_distance_of_sets_with_a_dead_feature() -> None:
    a = np.insert(with_moments(np.zeros(2), np.eye(2), 30, 0), 1, 0.0, axis=1)
    b = np.insert(with_moments(np.ones(2), np.eye(2), 30, 1), 1, 0.0, axis=1)
    assert frechet_distance(a, b) == pytest.approx(2, rel=1e-9)


REAL = np.array([[0.0], [1.0], [2.0], [10.0]])
"""Radii to the nearest other point: 1, 1, 1, 8."""
FAKE = np.array([[0.5], [2.5], [20.0], [21.0]])
"""Radii: 2, 2, 1, 1."""


@pytest.mark.parametrize("chunk", [1, 3, 1000])
def test_the_manifolds_of_points_made_by_hand(monkeypatch, chunk: int) -> None:
    """0.5 lies in the balls of 0 and 1, 2.5 in those of 2 and 10, the others in none.

    The ball of 0.5 holds 0, 1 and 2, that of 2.5 holds 1 and 2: 10 is in none. Each real ball holds
    0.5 or 2.5.
    """
    monkeypatch.setattr(measures, "CHUNK", chunk)
    found = manifold(REAL, FAKE, k=1)
    assert found == (0.5, 0.75, (2 + 2 + 0 + 0) / 4, 1.0)


def test_the_second_neighbour_makes_larger_balls() -> None:
    """Radii of the real points are 2, 1, 2, 9 then: 2.5 lies in 1's no more than before."""
    found = manifold(REAL, FAKE, k=2)
    # 0.5: in the balls of 0, 1, 2; 2.5: of 2 and 10; 20 and 21: 10 and 11 from 10
    assert found.precision == 0.5
    assert found.density == pytest.approx((3 + 2) / 4 / 2)


def test_a_set_against_itself_is_covered() -> None:
    x = np.random.default_rng(0).normal(size=(30, 2))
    found = manifold(x, x, k=3)
    assert (found.precision, found.recall, found.coverage) == (1, 1, 1)
    # each point lies in its own ball, too, and those who count it among their 3 nearest are 3 each
    assert found.density == pytest.approx((3 + 1) / 3)


def test_two_samples_of_one_distribution_have_the_coverage_of_the_closed_form() -> None:
    """E[coverage] = 1 - prod (n - i) / (2 n - i), i to k; E[density] = 1 (Naeem et al., 2020)."""
    n, k = 300, 5
    rng = np.random.default_rng(1)
    found = [manifold(*rng.normal(size=(2, n, 4)), k=k) for _ in range(8)]
    expected = 1 - math.prod((n - i) / (2 * n - i) for i in range(1, k + 1))
    assert np.mean([f.coverage for f in found]) == pytest.approx(expected, abs=0.012)
    assert np.mean([f.density for f in found]) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: manifold(REAL, FAKE, k=4), r"N at least 5, got \[4, 1\] and \[4, 1\]"),
        (lambda: manifold(REAL, FAKE, k=0), "k must be at least 1, got 0"),
        (lambda: frechet_distance(REAL[:1], FAKE), "N at least 2"),
        (lambda: frechet_distance(REAL, np.zeros((4, 2))), r"\[4, 1\] and \[4, 2\]"),
        (lambda: frechet_distance(REAL * np.nan, FAKE), "not finite"),
    ],
)
def test_what_cannot_be_measured_is_said(call, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()


@pytest.fixture(scope="module")
def untrained() -> Classifier:
    network = Network((2, 3), 4, 3)
    variables = network.init(jax.random.key(0), jnp.zeros((1, 6, 5, 1)))
    return Classifier("some", (6, 5, 1), 0.5, {}, network, jax.device_get(variables))


@pytest.fixture(scope="module")
def real() -> Split:
    rng = np.random.default_rng(2)
    return Split(rng.integers(0, 256, (41, 6, 5, 1), np.uint8), rng.integers(0, 3, 41))


def test_the_floor_is_of_other_real_samples(untrained: Classifier, real: Split) -> None:
    found = reference(untrained, real, k=3, seed=4)
    assert (found.n, found.floor.n, found.k) == (20, 20, 3)
    rows = np.random.default_rng(4).permutation(41)
    first, second = rows[:20], rows[20:40]
    outputs = untrained.outputs(real.x)
    np.testing.assert_allclose(found.features, outputs.features[first], rtol=1e-5)
    expected = manifold(outputs.features[first], outputs.features[second], 3)
    assert found.floor[1:5] == pytest.approx(expected, abs=0.051)  # a distance may tie
    assert found.floor.frechet == pytest.approx(
        frechet_distance(outputs.features[first], outputs.features[second]), rel=1e-4
    )
    right = outputs.classes == real.y
    assert found.accuracy == pytest.approx(right[rows[:40]].mean())
    assert found.floor.recognised == pytest.approx(right[second].mean())


def test_the_same_samples_are_at_no_distance(untrained: Classifier, real: Split) -> None:
    found = reference(untrained, Split(real.x), 20, k=3, seed=4)
    assert found.accuracy is None
    assert found.floor.recognised is None
    again = real.x[np.random.default_rng(4).permutation(41)[:20]]
    same = found.measure(again.reshape(20, 30).astype(np.float32) / 255)
    assert same.frechet == pytest.approx(0, abs=1e-5)
    assert (same.precision, same.recall, same.coverage, same.recognised) == (1, 1, 1, None)
    other = found.measure(1 - again.astype(np.float32) / 255)
    assert other.frechet > found.floor.frechet


def test_sizes_must_be_the_same(untrained: Classifier, real: Split) -> None:
    with pytest.raises(InputError, match=r"measuring 21 samples needs 42 real ones.* got 41"):
        reference(untrained, real, 21)
    found = reference(untrained, real, 10, k=3)
    with pytest.raises(InputError, match="11 samples cannot be measured against 10 real ones"):
        found.measure(real.x[:11])
    with pytest.raises(InputError, match=r"classes must be \[10\], got \[3\]"):
        found.measure(real.x[:10], np.zeros(3))
