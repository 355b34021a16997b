"""Arithmetic of latents in the page, against `msae_jax.analysis` and NumPy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from msae_jax.analysis import latents as reference
from msae_jax.analysis.projections import project
from msae_jax.explorer.latents import Plane, Shown, plane_of, prior_of
from tests.explorer import node

RNG = np.random.default_rng(3)
Z = (RNG.normal(size=(40, 5)) @ RNG.normal(size=(5, 5)) + 2).astype(np.float32)


def shown(z: np.ndarray, variational: bool) -> Shown:
    nothing = np.zeros(len(z), np.float32)
    return Shown(0, z, nothing, variational, nothing[:, None], {}, Plane(z[:, :2], "latent"))


@pytest.fixture(scope="module")
def computed() -> Any:
    plane = project(Z, "pca")
    assert plane.mean is not None
    assert plane.components is not None
    given = {
        "z": Z.ravel().tolist(),
        "points": plane.points.ravel().tolist(),
        "mean": plane.mean.tolist(),
        "components": plane.components.ravel().tolist(),
        "normal": prior_of(shown(Z, True)),
        "gaussian": prior_of(shown(Z, False)),
    }
    return node.run(
        (Path(__file__).parent / "use_latents.mjs").read_text(),
        given,
    )


def test_a_latent_has_its_place_and_moves_in_the_plane_alone(computed: Any) -> None:
    plane = project(Z, "pca")
    assert plane.components is not None
    np.testing.assert_allclose(computed["placed"], plane.points[3], atol=1e-5)
    assert computed["nowhere"] is None
    change = np.array([1, -2]) - plane.points[3]
    np.testing.assert_allclose(computed["moved"], Z[3] + change @ plane.components, atol=1e-5)


def test_between_points_without_a_plane_neighbours_are_averaged(computed: Any) -> None:
    np.testing.assert_array_equal(np.array(computed["stays"], np.float32), Z[3])
    points = project(Z, "pca").points.astype(np.float32)
    distance = np.square(points - [0.1, 0.2]).sum(axis=1)
    near = np.argsort(distance)[:8]
    weights = 1 / distance[near]
    np.testing.assert_allclose(computed["mixed"], weights @ Z[near] / weights.sum(), rtol=1e-4)


def test_paths_are_those_of_the_analysis(computed: Any) -> None:
    t = np.array([0.3])
    np.testing.assert_allclose(computed["linear"], reference.linear(Z[0], Z[1], t)[0], rtol=1e-5)
    np.testing.assert_allclose(computed["spherical"], reference.slerp(Z[0], Z[1], t)[0], rtol=1e-5)
    assert computed["opposite"] is None


def test_the_nearest_and_the_moments(computed: Any) -> None:
    assert computed["nearest"] == [7, 9]
    np.testing.assert_allclose(computed["moments"], [Z.mean(axis=0), Z.std(axis=0)], rtol=1e-5)
    assert computed["inside"] == [True, False, False]


def test_priors_have_the_moments_that_they_should(computed: Any) -> None:
    """20,000 draws: five standard errors of a mean, and 6% of a covariance."""
    draws, covariance = np.array(computed["draws"]), np.cov(Z.T)
    error = np.sqrt(np.diag(covariance) / 20_000)
    assert (np.abs(draws.mean(axis=0) - Z.mean(axis=0)) < 5 * error).all()
    scale = np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)))
    assert (np.abs(np.cov(draws.T) - covariance) < 0.06 * scale).all()
    normal = np.array(computed["normal"])
    np.testing.assert_allclose(np.cov(normal.T), np.eye(5), atol=0.06)


def test_two_latents_are_their_own_plane_and_one_is_spread() -> None:
    two = plane_of(Z[:, :2], "tsne")
    assert two.method == "latent"
    np.testing.assert_array_equal(two.points, Z[:, :2])
    one = plane_of(Z[:, :1], "pca")
    np.testing.assert_array_equal(one.points[:, 0], Z[:, 0])
    assert np.ptp(one.points[:, 1]) > 0.4 * np.ptp(Z[:, 0])
