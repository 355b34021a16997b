from __future__ import annotations

import sys

import numpy as np
import pytest

from msae_jax.analysis import project
from msae_jax.errors import InputError


@pytest.fixture(scope="module")
def clusters() -> np.ndarray:
    """Two groups of 30 latents [60, 5], far apart."""
    z = np.random.default_rng(0).normal(size=(60, 5))
    z[30:] += 20
    return z


def neighbours_agree(points: np.ndarray) -> bool:
    """Whether the nearest point of each is of its own group."""
    distance = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    return bool(np.array_equal(distance.argmin(axis=1) < 30, np.arange(60) < 30))


def test_pca_finds_the_axes_it_was_built_from() -> None:
    """Scores of variance 9 : 1 along two orthogonal axes of three, about an offset."""
    scores = np.array([[3, 1], [3, -1], [-3, 1], [-3, -1]], float)
    axes = np.array([[1, 1, 0], [1, -1, 0]]) / np.sqrt(2)
    got = project(scores @ axes + np.array([5, 6, 7]))
    np.testing.assert_allclose(np.abs(got.points), np.abs(scores), atol=1e-12)
    assert abs(np.corrcoef(got.points[:, 0], scores[:, 0])[0, 1]) == pytest.approx(1)
    np.testing.assert_allclose(got.explained, [0.9, 0.1], atol=1e-12)
    assert got.method == "pca"


def test_tsne_keeps_clusters_and_its_seed(clusters: np.ndarray) -> None:
    got = project(clusters, "tsne", seed=3, perplexity=10)
    assert got.points.shape == (60, 2)
    assert got.explained is None
    assert neighbours_agree(got.points)
    assert np.array_equal(got.points, project(clusters, "tsne", seed=3, perplexity=10).points)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_tsne_takes_any_unit(clusters: np.ndarray, scale: float) -> None:
    """Squares of these values are beyond float32, in which scikit-learn crashes."""
    assert neighbours_agree(project(clusters * scale, "tsne", perplexity=10).points)


def test_umap_keeps_clusters_where_it_is_installed(clusters: np.ndarray) -> None:
    pytest.importorskip("umap", reason="umap-learn is not installed")
    assert neighbours_agree(project(clusters, "umap", neighbors=10).points)


def test_umap_is_optional(clusters: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(InputError, match=r"pip install 'msae-jax\[umap\]'"):
        project(clusters, "umap")


@pytest.mark.parametrize(
    ("z", "settings", "message"),
    [
        (np.ones((20, 5)), {"method": "t-sne"}, "Did you mean 'tsne'"),
        (np.eye(20), {"method": "tsne"}, "below the 20 samples, got 30"),
        (np.ones((20, 5)), {}, "all 20 latents are the same"),
        (np.ones((20, 5)), {"method": "tsne", "perplexity": 5}, "all 20 latents are the same"),
        (np.ones((20, 1)), {}, r"got \[20, 1\]"),
        (np.ones(20), {}, r"got \[20\]"),
    ],
)
def test_what_cannot_be_projected(z: np.ndarray, settings: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        project(z, **settings)
