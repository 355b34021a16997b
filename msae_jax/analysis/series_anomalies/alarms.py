"""From scores to alarms: a threshold from training data alone, and intervals above it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from msae_jax.analysis import anomaly
from msae_jax.analysis.series_anomalies.surface import ranges
from msae_jax.errors import InputError

QUANTILE = 0.99


class Alarm(NamedTuple):
    """An interval of points that score above the threshold.

    Attributes:
      start, end: its first point, and the one after its last.
      peak: the point with the highest score.
      score: that score.
    """

    start: int
    end: int
    peak: int
    score: float


def alarm_threshold(training_scores: np.ndarray, quantile: float = QUANTILE) -> float:
    """Returns the quantile of the scores `[T]` of the training part, without NaN ones, of gaps.

    No test point and no label takes part. By the default one of a hundred training points lies
    above it, so expect about that share of false alarms on data like the training part.

    Raises:
      InputError: no scores, or a quantile outside [0, 1].
    """
    scores = np.asarray(training_scores, np.float64)
    return anomaly.threshold(scores[~np.isnan(scores)], quantile)


def find_alarms(scores: np.ndarray, threshold: float, gap: int = 0) -> list[Alarm]:
    """Returns the intervals in which scores `[T]` lie above a threshold, in order.

    Args:
      scores: a NaN, the score of a gap in the data, never raises an alarm.
      gap: two alarms with fewer than this many points between them are one, which then has those
        points too; 0 merges none.

    Raises:
      InputError: scores that are not `[T]`, a negative gap, or a threshold that is NaN.
    """
    scores = np.asarray(scores, np.float64)
    if scores.ndim != 1:
        raise InputError(f"scores must be [T], got {list(scores.shape)}: combine channels first.")
    if gap < 0 or np.isnan(threshold):
        raise InputError(f"alarms need a gap of 0 or more and a threshold, got {gap}, {threshold}.")
    found = ranges(scores > threshold)
    apart = found[1:, 0] - found[:-1, 1] >= gap
    keep = np.r_[True, apart][: len(found)], np.r_[apart, True][: len(found)]
    result = []
    for start, end in zip(found[keep[0], 0], found[keep[1], 1], strict=True):
        peak = int(start + np.nanargmax(scores[start:end]))
        result.append(Alarm(int(start), int(end), peak, float(scores[peak])))
    return result
