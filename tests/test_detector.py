from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.metrics import roc_auc_score
from sklearn.utils.estimator_checks import parametrize_with_checks

import msae_jax
from msae_jax.detector import AnomalyDetector
from msae_jax.errors import DivergedError, InputError
from msae_jax.estimator import AutoencoderEstimator


def small(**changes: Any) -> AnomalyDetector:
    settings = {"latent_dim": 2, "options": {"hidden": [8]}, "epochs": 2, "batch_size": 15}
    return AnomalyDetector(**settings | changes)


EXPECTED_FAILURES: dict[str, str] = {}  # of scikit-learn's checks, each with its reason: none


@pytest.mark.usefixtures("quick_to_compile")
@parametrize_with_checks(
    [small(batch_size=1)],  # divides any number of rows: one step to compile
    expected_failed_checks=lambda detector: EXPECTED_FAILURES,
)
def test_scikit_learns_own_checks(estimator: AnomalyDetector, check: Any) -> None:
    check(estimator)


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    """Rows [150, 6] near a plane, in float64 as users have them."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(150, 2)) @ rng.normal(size=(2, 6)) + 0.01 * rng.normal(size=(150, 6))


def test_scores_are_the_mean_over_seeds(x: np.ndarray) -> None:
    """As one estimator a seed gives them, for the same settings."""
    detector = small(seeds=3, random_state=5, contamination=0.1).fit(x)
    assert detector.seeds_ == [5, 6, 7]
    shared = {"latent_dim": 2, "options": {"hidden": [8]}, "epochs": 2, "batch_size": 15}
    each = [AutoencoderEstimator(**shared, random_state=s).fit(x) for s in (5, 6, 7)]
    expected = np.mean([one.score_samples(x) for one in each], axis=0)
    np.testing.assert_allclose(detector.score_samples(x), expected, rtol=1e-5)
    assert detector.offset_ == pytest.approx(np.quantile(expected, 0.1), rel=1e-5)
    assert (detector.predict(x) == -1).sum() == 15
    np.testing.assert_array_equal(
        detector.decision_function(x), detector.score_samples(x) - detector.offset_
    )


def test_rows_off_the_plane_are_outliers(x: np.ndarray) -> None:
    detector = small(options={"hidden": [32]}, epochs=60, learning_rate=1e-2).fit(x)
    normal = x + 0.01 * np.random.default_rng(1).normal(size=x.shape)
    off = x + np.random.default_rng(2).normal(size=x.shape)
    scores = detector.decision_function(np.concatenate([normal, off]))
    assert roc_auc_score(np.repeat([1, 0], 150), scores) > 0.97
    assert (detector.predict(off) == -1).mean() > 0.8
    assert np.array_equal(clone(detector).fit_predict(x), detector.predict(x))
    again = pickle.loads(pickle.dumps(detector))
    assert np.array_equal(again.score_samples(off), detector.score_samples(off))


def test_images(x: np.ndarray) -> None:
    """uint8 images and the same in [0, 1] have the same scores; other sizes are refused."""
    pixels = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 1)).astype(np.uint8)
    detector = AnomalyDetector("baseline-mlp", options={"hidden": [8]}, epochs=1).fit(pixels)
    scores = detector.score_samples(pixels)
    recon = msae_jax.reconstruct(detector.model_, detector.variables_[0], pixels)
    expected = -np.square(recon - pixels / np.float32(255)).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(scores, expected, rtol=1e-5)
    np.testing.assert_allclose(detector.score_samples(pixels / 255), scores, rtol=1e-5)
    with pytest.raises(InputError, match=r"samples \[4, 8, 1\], it was fitted on \[8, 8, 1\]"):
        detector.predict(pixels[:, :4])


def series(anomaly: bool = False) -> np.ndarray:
    """400 points [T, C] of two channels, in units of their own."""
    t = np.arange(400)
    rng = np.random.default_rng(0)
    a = 5000 + 300 * np.sin(t / 4) + 10 * rng.normal(size=400)
    b = 0.02 + 0.01 * np.cos(t / 4) + 0.0005 * rng.normal(size=400)
    if anomaly:
        b[200:206] += 0.03
    return np.stack([a, b], axis=1)


def test_every_point_of_a_series_has_a_score() -> None:
    detector = small(
        options={"hidden": [32]}, latent_dim=4, window=16, epochs=30, stride=2, aggregate="mean"
    ).fit(series())
    assert detector.facts_.channels == ("1", "2")
    scores = detector.score_samples(series())
    assert scores.shape == (400,)
    assert (scores < detector.offset_).sum() == 4  # one of a hundred
    found = series(anomaly=True)
    labels = np.zeros(400, bool)
    labels[200:206] = True
    assert roc_auc_score(~labels, detector.decision_function(found)) > 0.97
    assert (detector.predict(found)[labels] == -1).all()
    found[50] = np.nan
    scores = detector.score_samples(found)
    assert np.flatnonzero(np.isnan(scores)).tolist() == [50]
    assert detector.predict(found)[50] == 1


def test_a_series_of_one_channel() -> None:
    detector = small(window=8, contamination=0.05)
    column = series()[:, :1]
    assert np.array_equal(detector.fit_predict(column[:, 0]), clone(detector).fit_predict(column))
    with pytest.raises(ValueError, match="2 features, but AnomalyDetector is expecting 1"):
        detector.predict(series())


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"contamination": 0.6}, r"contamination must be in \(0, 0.5\], got 0.6"),
        ({"seeds": 0}, "seeds must be a whole number, at least 1, got 0"),
        ({"window": 1}, "window must be a whole number, at least 2, got 1"),
        ({"window": 8, "stride": 0}, "stride must be a whole number"),
        ({"window": 8, "aggregate": "mode"}, "unknown aggregate 'mode'"),
        ({"window": 8, "scaling": "zcore"}, "Did you mean 'zscore'"),
        ({"window": 500}, "expected at least a window, 500"),
    ],
)
def test_what_cannot_be_fitted(changed: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        small(**changed).fit(series())


def test_a_constant_channel_is_named() -> None:
    x = series()
    x[:, 1] = 3
    with pytest.raises(InputError, match="channel '2' is constant"):
        small(window=8).fit(x)


def test_when_every_seed_diverges(x: np.ndarray) -> None:
    with pytest.raises(DivergedError, match="A lower learning_rate may help"):
        small(seeds=2, learning_rate=1e30, optimizer="sgd", epochs=3).fit(x)
