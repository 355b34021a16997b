from __future__ import annotations

import itertools
import time
from collections.abc import Callable

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from msae_jax.analysis import series_anomalies
from msae_jax.errors import InputError
from tests.analysis.series_anomalies.oracle import ROWS, Row

Nab = Callable[[str], tuple[np.ndarray, np.ndarray]]


def scored(nab: Nab, row: Row) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns a series, its scores and its labels."""
    x, labels = nab(f"{row.series}.csv")
    scores = {
        "z": np.abs((x - x.mean()) / x.std()),
        "step": np.abs(np.diff(x, prepend=x[0])),
        "random": np.random.RandomState(0).rand(len(x)),
    }
    return x, scores[row.score], labels


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.series.split('/')[1]}-{row.score}")
def test_numbers_of_the_reference_implementation(nab: Nab, row: Row) -> None:
    x, scores, labels = scored(nab, row)
    got = series_anomalies.series_detection(scores, labels, row.period)
    expected = (row.vus_pr, row.vus_roc, row.auc_pr, row.auc_roc)
    np.testing.assert_allclose(
        (got.vus_pr, got.vus_roc, got.auc_pr, got.auc_roc), expected, rtol=0, atol=1e-9
    )
    assert series_anomalies.period(x) == got.period == row.period
    adjusted = max(
        series_anomalies.point_adjusted_f1(scores, labels, threshold, seeds=1).f1
        for threshold in np.linspace(scores.min(), scores.max(), 100)
    )
    assert adjusted == pytest.approx(row.point_adjusted, abs=1e-9)


def slow_volume(scores: np.ndarray, labels: np.ndarray, period: int, thresholds: int) -> list:
    """Returns the volumes (PR, ROC) by their definition, one sum at a time."""
    size, areas = len(scores), []
    found = series_anomalies.ranges(labels)
    falling = sorted(scores, reverse=True)
    for window in range(period + 1):
        half, share, widened = window // 2, labels.astype(float), []
        for start, end in found:
            for t in range(size):
                away = max(start - t, t - (end - 1))
                if 0 < away <= half:
                    share[t] += np.sqrt(1 - away / window)
            if widened and start - half <= widened[-1][1] + half:
                widened[-1][1] = end - 1
            else:
                widened.append([start, end - 1])
        share = np.minimum(share, 1)
        curve = [(0.0, 0.0, 1.0)]
        for k in np.linspace(0, size - 1, thresholds).astype(int):
            alarm = scores >= falling[k]
            hit = sum(share[alarm])
            positives = labels.sum() + sum(share[alarm & ~labels]) / 2
            touched = [any(alarm[max(a - half, 0) : b + half + 1]) for a, b in widened]
            recall = min(hit / positives, 1) * np.mean(touched)
            curve.append((recall, (alarm.sum() - hit) / (size - positives), hit / alarm.sum()))
        pr = sum((b[0] - a[0]) * b[2] for a, b in itertools.pairwise(curve))
        curve.append((1.0, 1.0, 0.0))
        roc = sum((b[1] - a[1]) * (a[0] + b[0]) / 2 for a, b in itertools.pairwise(curve))
        areas.append((pr, roc))
    return np.mean(areas, axis=0).tolist()


@pytest.mark.parametrize("seed", range(6))
def test_volumes_where_ranges_touch_and_stand_at_the_edges(seed: int) -> None:
    """Short ranges close together, at the first and the last point too; scores with ties."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(60, bool)
    for start in rng.choice(60, 7, replace=False):
        labels[start : start + rng.integers(1, 4)] = True
    labels[[0, 59]] = seed % 2 == 0
    scores = rng.integers(0, 25, 60).astype(float)
    got = series_anomalies.volume(scores, labels, 21, thresholds=17)
    np.testing.assert_allclose(got, slow_volume(scores, labels, 21, 17), rtol=1e-12)


def test_volumes_of_long_series_are_fast() -> None:
    rng = np.random.default_rng(0)
    labels = np.zeros(100_000, bool)
    for start in rng.integers(0, 100_000, 2000):
        labels[start : start + 3] = True
    begun = time.process_time()
    series_anomalies.volume(rng.random(100_000), labels, 300)
    assert time.process_time() - begun < 5


def test_a_window_of_one_point_is_the_plain_curve() -> None:
    """With a threshold a point and one labelled range, touched at the first true alarm."""
    rng = np.random.default_rng(3)
    labels = np.arange(200) // 20 == 4
    scores = rng.random(200) + 0.2 * labels
    got = series_anomalies.volume(scores, labels, 1, thresholds=200)
    assert got.pr == pytest.approx(average_precision_score(labels, scores), rel=1e-12)
    assert got.roc == pytest.approx(roc_auc_score(labels, scores), rel=1e-12)
    assert series_anomalies.auc_pr(scores, labels) == average_precision_score(labels, scores)
    assert series_anomalies.auc_roc(scores, labels) == roc_auc_score(labels, scores)
    both = series_anomalies.vus_pr(scores, labels, 9), series_anomalies.vus_roc(scores, labels, 9)
    assert series_anomalies.volume(scores, labels, 9) == both


def test_perfect_scores_and_the_default_period() -> None:
    labels = np.arange(2000) // 100 == 7
    got = series_anomalies.series_detection(labels.astype(float), labels)
    assert (got.auc_pr, got.auc_roc, got.prevalence, got.period) == (1, 1, 0.05, 125)
    assert got.vus_pr == pytest.approx(1, abs=0.05)


def test_missing_scores_are_the_lowest() -> None:
    labels = np.array([0, 1, 1, 0, 0])
    scores = np.array([0.5, np.nan, 2, 1, 0.5])
    assert series_anomalies.auc_roc(scores, labels) == roc_auc_score(labels, [0.5, 0.5, 2, 1, 0.5])


def test_f1_is_that_of_the_points_above() -> None:
    rng = np.random.default_rng(1)
    labels, scores = rng.random(300) < 0.2, rng.random(300)
    expected = f1_score(labels, scores > 0.7)
    assert series_anomalies.f1(scores, labels, 0.7) == pytest.approx(expected, rel=1e-12)
    assert series_anomalies.f1(scores, labels, 2.0) == 0


def test_point_adjustment_by_hand() -> None:
    """One of the two ranges is touched: 4 points found, 1 false, 2 missed."""
    labels = np.array([0, 1, 1, 1, 1, 0, 0, 1, 1, 0])
    scores = np.array([0, 0, 0, 1, 0, 1, 0, 0, 0, 0.0])
    got = series_anomalies.point_adjusted_f1(scores, labels, 0.5)
    assert got.f1 == pytest.approx(2 * 4 / (5 + 6))
    assert got.seeds == 10


def test_point_adjustment_flatters_random_scores() -> None:
    """2% random alarms find about 2% of a range of 400 points, and all of it once adjusted."""
    labels = np.arange(4000) // 400 == 5
    scores = np.random.default_rng(7).random(4000)
    got = series_anomalies.point_adjusted_f1(scores, labels, 0.98)
    assert series_anomalies.f1(scores, labels, 0.98) < 0.1
    assert got.f1 > 0.85
    assert got.random_f1 > 0.85


@pytest.mark.parametrize(("length", "expected"), [(5, 125), (7, 7), (40, 40), (310, 125)])
def test_the_period_of_a_wave(length: int, expected: int) -> None:
    """The peak at the period is the highest; a lag below 6 or above 303 is none."""
    t = np.arange(5000)
    x = np.sin(2 * np.pi * t / length)
    assert series_anomalies.period(x) == expected
    x[100:120] = np.nan
    assert series_anomalies.period(x + 3) == expected


def test_the_period_of_short_series_and_of_nothing() -> None:
    assert series_anomalies.period(np.arange(4.0)) == 125
    assert series_anomalies.period(np.full(900, 0.1)) == 125
    assert series_anomalies.period(np.full(10, np.nan)) == 125
    with pytest.raises(InputError, match=r"got \[3, 1\]"):
        series_anomalies.period(np.ones((3, 1)))


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        ([1, 2], [0, 0], "all 2 points are 0"),
        ([1, 2], [1, 1], "all 2 points are 1"),
        ([1, 2], [0, 2], "0 and 1"),
        ([1, 2], [0, 1, 1], r"\[2\] and .* \[3\]"),
        ([1, np.inf], [0, 1], "1 scores are not finite"),
        ([np.nan, np.nan], [0, 1], "2 scores are not finite"),
    ],
)
def test_what_cannot_be_measured(scores: list, labels: list, message: str) -> None:
    with pytest.raises(InputError, match=message):
        series_anomalies.series_detection(np.array(scores), np.array(labels))


def test_wrong_settings() -> None:
    scores, labels = np.arange(4.0), np.array([0, 1, 0, 0])
    with pytest.raises(InputError, match="whole number of points, 0 or more, got -1"):
        series_anomalies.volume(scores, labels, -1)
    with pytest.raises(InputError, match="2 thresholds or more, got 1"):
        series_anomalies.volume(scores, labels, 3, thresholds=1)
    with pytest.raises(InputError, match="1 seed"):
        series_anomalies.point_adjusted_f1(scores, labels, 1, seeds=0)
