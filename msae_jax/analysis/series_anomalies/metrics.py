"""How well a score per time stamp finds the labelled anomalies of a series.

Everywhere a higher score is more anomalous.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from msae_jax.analysis.anomaly import detection
from msae_jax.analysis.series_anomalies.periodicity import DEFAULT_PERIOD
from msae_jax.analysis.series_anomalies.surface import checked, ranges, volume
from msae_jax.errors import InputError


class SeriesDetection(NamedTuple):
    """How well scores find the labelled points of a series; 1 is perfect.

    Attributes:
      vus_pr, vus_roc: the volumes under the precision-recall and the ROC surface.
      auc_pr, auc_roc: average precision, and the area under the ROC curve, point by point.
      prevalence: the fraction of labelled points, which is the `auc_pr` of guessing.
      period: the widest window of the volumes, in points.
    """

    vus_pr: float
    vus_roc: float
    auc_pr: float
    auc_roc: float
    prevalence: float
    period: int


class PointAdjusted(NamedTuple):
    """The point-adjusted F1 of a detector beside that of random scores: alone it says nothing.

    Attributes:
      f1: every point of a labelled anomaly counts as found if one of its points was.
      random_f1: the mean over `seeds` of the same for uniform random scores that raise the alarm at
        as many points.
      seeds: the number of random score series.
    """

    f1: float
    random_f1: float
    seeds: int


def series_detection(
    scores: np.ndarray, labels: np.ndarray, period: int | None = None
) -> SeriesDetection:
    """Returns all measures that need no threshold, for scores `[T]` and labels `[T]`.

    Args:
      scores: a NaN, the score of a gap, counts as the lowest of all: it never raises an alarm.
      labels: booleans or 0 and 1; 1 is an anomaly.
      period: the widest window of the volumes; 125 by default. `period` of a series finds it.

    Raises:
      InputError: shapes that differ, labels that are all alike, infinite scores, a period below 0.
    """
    width = DEFAULT_PERIOD if period is None else period
    scores, positive = checked(scores, labels)
    points, volumes = detection(scores, positive), volume(scores, positive, width)
    return SeriesDetection(
        volumes.pr, volumes.roc, points.auprc, points.auroc, points.prevalence, width
    )


def auc_pr(scores: np.ndarray, labels: np.ndarray) -> float:
    """Returns the average precision of scores `[T]` for labels `[T]`, point by point."""
    return detection(*checked(scores, labels)).auprc


def auc_roc(scores: np.ndarray, labels: np.ndarray) -> float:
    """Returns the area under the ROC curve of scores `[T]` for labels `[T]`, point by point."""
    return detection(*checked(scores, labels)).auroc


def f1(scores: np.ndarray, labels: np.ndarray, threshold: float) -> float:
    """Returns the F1 of the alarms (scores `[T]` above the threshold) for labels `[T]`.

    F1 = 2 TP / (2 TP + FP + FN), point by point.

    Raises:
      InputError: shapes that differ, labels that are all alike, infinite scores.
    """
    scores, positive = checked(scores, labels)
    return _f1(scores > threshold, positive)


def point_adjusted_f1(
    scores: np.ndarray, labels: np.ndarray, threshold: float, *, seeds: int = 10
) -> PointAdjusted:
    """Returns the point-adjusted F1 beside that of random scores.

    Point adjustment counts all points of an anomaly as found if one was. One lucky alarm in a long
    anomaly is enough, so random scores do well (Kim et al., "Towards a rigorous evaluation of
    time-series anomaly detection", AAAI 2022): the number means nothing alone.

    Raises:
      InputError: shapes that differ, labels that are all alike, infinite scores, no seeds.
    """
    scores, positive = checked(scores, labels)
    if seeds < 1:
        raise InputError(f"point-adjusted F1 needs 1 seed of random scores or more, got {seeds}.")
    alarms = scores > threshold
    randoms = []
    for seed in range(seeds):
        order = np.random.default_rng(seed).permutation(len(scores))
        randoms.append(_f1(_adjusted(order < alarms.sum(), positive), positive))
    return PointAdjusted(_f1(_adjusted(alarms, positive), positive), float(np.mean(randoms)), seeds)


def _adjusted(alarms: np.ndarray, positive: np.ndarray) -> np.ndarray:
    adjusted = alarms.copy()
    for begin, end in ranges(positive):
        adjusted[begin:end] |= alarms[begin:end].any()
    return adjusted


def _f1(alarms: np.ndarray, positive: np.ndarray) -> float:
    return float(2 * (alarms & positive).sum() / (alarms.sum() + positive.sum()))
