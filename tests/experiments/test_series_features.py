from __future__ import annotations

from pathlib import Path

import numpy as np

from msae_jax.analysis.forecasting import ETT_HOURLY
from msae_jax.experiments import series_features_classes as classes
from msae_jax.experiments import series_features_forecasts as forecasts
from msae_jax.experiments.study import Setup

TS = "@problemName x\n@timeStamps false\n@univariate true\n@classLabel true a b\n@data\n"


def test_series_and_classes_of_both_kinds_of_file(tmp_path: Path) -> None:
    folder = tmp_path / "aeon" / "GunPoint"
    folder.mkdir(parents=True)
    (folder / "GunPoint_TRAIN.ts").write_text(f"{TS}1,2,3:b\n4,5,6:a\n")
    (folder / "GunPoint_TEST.ts").write_text(f"{TS}7,8,9:b\n")
    found = classes.read(tmp_path, "GunPoint")
    np.testing.assert_array_equal(found.x, [[1, 2, 3], [4, 5, 6]])
    np.testing.assert_array_equal(found.x_test, [[7, 8, 9]])
    assert (found.y.tolist(), found.y_test.tolist()) == ([1, 0], [1])
    (tmp_path / "ecg5000").mkdir()
    (tmp_path / "ecg5000" / "ECG5000_TRAIN.txt").write_text("  1.0  2.5  3.5\n  4.0  5.5  6.5\n")
    np.save(tmp_path / "ecg5000" / "ECG5000_TEST.npy", np.array([[4, 0.5, 1.5]], np.float32))
    found = classes.read(tmp_path, "ECG5000")
    np.testing.assert_array_equal(found.x, [[2.5, 3.5], [5.5, 6.5]])
    np.testing.assert_array_equal(found.x_test, [[0.5, 1.5]])
    assert (found.y.tolist(), found.y_test.tolist()) == ([1, 4], [4])


def test_published_accuracies_stand_beside_those_of_the_same_features(tmp_path: Path) -> None:
    rows = [{"svm-cv": 0.93604, "linear": 0.9, "knn": 0.8}]
    found = {"raw series": rows, "pca": rows, "pyramid": rows * 2}
    setup = Setup(3, tmp_path, tmp_path)
    claims = {claim.id: claim for claim in classes._claims(setup, "ECG5000", found)}
    exact = claims["series-ecg5000-pca-svm-cv"]
    assert (exact.published, list(exact.values), exact.verdict) == (
        0.936,
        [0.936] * 3,
        "reproduced",
    )
    assert claims["series-ecg5000-pyramid-svm-cv"].published == 0.934
    assert claims["series-ecg5000-raw-series-svm-cv"].published is None
    assert claims["series-ecg5000-pca-knn"].detail


def test_autoencoders_see_no_hour_of_the_test_part() -> None:
    hours = ETT_HOURLY.train + ETT_HOURLY.validation + ETT_HOURLY.test
    series = np.zeros((hours, 2))
    series[:, 1] = np.arange(hours)
    series[ETT_HOURLY.train + ETT_HOURLY.validation :] = np.nan  # would be seen
    dataset = forecasts.windows(series)
    for split in (dataset.train, dataset.test):
        assert np.isfinite(split.x).all()
        np.testing.assert_array_equal(split.x[1], np.arange(-335, 1))  # minus the last value
    first = (ETT_HOURLY.train - 336) // 8 + 1
    assert dataset.train.x.shape == (2 * first, 336)


def test_latents_and_raw_lags_are_of_the_same_windows() -> None:
    hours = ETT_HOURLY.train + ETT_HOURLY.validation + ETT_HOURLY.test
    series = np.random.default_rng(0).normal(size=(hours, 1))
    (lags, targets), (lags_test, _) = forecasts.rows(series, 96, 8)
    assert len(lags) == -(-(ETT_HOURLY.train - 336 - 96 + 1) // 8)
    np.testing.assert_allclose(lags[1], series[8 : 8 + 336, 0] - series[8 + 335, 0])
    np.testing.assert_allclose(targets[1], series[344 : 344 + 96, 0] - series[8 + 335, 0])
    assert len(lags_test) == (ETT_HOURLY.test - 96 + 1) // 32 * 32
