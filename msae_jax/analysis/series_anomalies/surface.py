"""The volume under the surface: a measure of scores per time stamp that forgives rough labels.

Points beside a labelled anomaly are no plain mistakes: labels are rough, and detectors that look at
windows answer a little early or late. The volume under the surface (VUS) therefore widens each
anomaly by w / 2 points on either side, where a point at distance d counts as sqrt(1 - d / w) of an
anomaly, and takes the mean area under the curve over all w from 0 to the period of the series.

Source: Paparrizos et al., "Volume under the surface: a new accuracy evaluation measure for
time-series anomaly detection", VLDB 2022; the numbers are those of its reference implementation in
TSB-AD (Liu and Paparrizos, NeurIPS 2024).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from msae_jax.analysis.series_anomalies.periodicity import DEFAULT_PERIOD
from msae_jax.errors import InputError

THRESHOLDS = 250
"""How many thresholds the reference implementation puts on each curve of the volume."""


class Volume(NamedTuple):
    """The volumes under the precision-recall (`pr`) and the ROC (`roc`) surface."""

    pr: float
    roc: float


def vus_pr(scores: np.ndarray, labels: np.ndarray, period: int = DEFAULT_PERIOD) -> float:
    """Returns the volume under the precision-recall surface; see `volume`."""
    return volume(scores, labels, period).pr


def vus_roc(scores: np.ndarray, labels: np.ndarray, period: int = DEFAULT_PERIOD) -> float:
    """Returns the volume under the ROC surface; see `volume`."""
    return volume(scores, labels, period).roc


def volume(
    scores: np.ndarray,
    labels: np.ndarray,
    period: int = DEFAULT_PERIOD,
    thresholds: int = THRESHOLDS,
) -> Volume:
    """Returns the volumes under both surfaces for scores `[T]` and labels `[T]`.

    For each window w from 0 to `period`, let l(t) be 1 at a labelled point, sqrt(1 - d / w) at a
    point with one labelled range at a distance d of at most w / 2, and 1 where two are so near.
    Over thresholds, spread evenly over the sorted scores, with P labelled points and the alarms A:

        TP = sum of l over A        P_w = P + (sum of l over the unlabelled points of A) / 2
        recall = min(TP / P_w, 1) * (share of the widened anomalies that A touches)
        precision = TP / |A|        false positive rate = (|A| - TP) / (T - P_w)

    The time grows with T times the period: 100,000 points and a period of 300 take a second.

    Raises:
      InputError: shapes that differ, labels that are all alike, infinite scores, a period below 0.
    """
    scores, positive = checked(scores, labels)
    if period < 0 or period != int(period):
        raise InputError(f"the period must be a whole number of points, 0 or more, got {period}.")
    if thresholds < 2:
        raise InputError(f"the volume needs 2 thresholds or more, got {thresholds}.")
    first, counts = _first_alarm(scores, thresholds)
    surface = _Surface(positive, first, np.cumsum(counts))
    areas = [surface.areas(window) for window in range(int(period) + 1)]
    roc, pr = np.mean(areas, axis=0)
    return Volume(float(pr), float(roc))


def _first_alarm(scores: np.ndarray, thresholds: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns at which threshold each point `[T]` becomes an alarm, and how many do at each."""
    falling = -np.sort(-scores)[np.linspace(0, len(scores) - 1, thresholds).astype(int)]
    first = np.searchsorted(-falling, -scores)
    return first, np.bincount(first, minlength=thresholds)


class _Surface:
    """What the windows of a volume share: the labelled ranges, and each point's distances to them.

    All alarms at a threshold are alarms at every lower one, so that each sum over alarms is a
    cumulative sum over the thresholds at which points first become one.
    """

    def __init__(self, positive: np.ndarray, first: np.ndarray, alarms: np.ndarray) -> None:
        self.begins, self.ends = ranges(positive).T  # the ends are not included
        self.first, self.alarms = first, alarms
        self.labelled = int(positive.sum())
        self.found = np.cumsum(np.bincount(first[positive], minlength=len(alarms)))
        outside = np.flatnonzero(~positive)
        self.outside_first = first[outside]
        self.nearest, self.second = self._distances(outside)

    def _distances(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the distances of points to the nearest and the second nearest labelled range."""
        far = np.iinfo(np.int64).max
        last = np.concatenate([[far, far], self.ends - 1, [far, far]])
        begin = np.concatenate([[far, far], self.begins, [far, far]])
        right = np.searchsorted(self.begins, points) + 2  # the first range that begins after them
        found = []
        for ranges_at, side in ((last, -1), (last, -2), (begin, 0), (begin, 1)):
            at = ranges_at[right + side]
            found.append(np.where(at == far, far, np.abs(at - points)))
        both = np.sort(np.stack(found), axis=0)
        return both[0], both[1]

    def areas(self, window: int) -> tuple[float, float]:
        """Returns the areas under the ROC and the precision-recall curve of one window."""
        half = window // 2
        # At most half a window away a point counts 0.7 or more: two such ranges make it a whole.
        share = np.zeros(half + 2)
        share[: half + 1] = np.sqrt(1 - np.arange(half + 1) / max(window, 1))
        near = share[np.minimum(self.nearest, half + 1)]
        near[self.second <= half] = 1
        beside = np.cumsum(
            np.bincount(self.outside_first, weights=near, minlength=len(self.alarms))
        )
        found, positives = self.found + beside, self.labelled + beside / 2
        recall = np.minimum(found / positives, 1) * self._touched(half)
        false_rate = (self.alarms - found) / (len(self.first) - positives)
        precision = found / self.alarms
        roc = np.trapezoid(np.r_[0, recall, 1], np.r_[0, false_rate, 1])
        return float(roc), float(np.dot(np.diff(recall, prepend=0), precision))

    def _touched(self, half: int) -> np.ndarray:
        """Returns the share of the widened ranges with an alarm, `[thresholds]`."""
        apart = self.ends[:-1] - 1 + half < self.begins[1:] - half  # else they melt into one
        begins = np.maximum(self.begins[np.r_[True, apart]] - half, 0)
        ends = np.minimum(self.ends[np.r_[apart, True]] + half, len(self.first))
        bounds = np.stack([begins, ends], axis=1).ravel()
        padded = np.append(self.first, len(self.alarms))  # so that T itself is an index
        earliest = np.minimum.reduceat(padded, bounds)[::2]
        return np.cumsum(np.bincount(earliest, minlength=len(self.alarms))) / len(begins)


def ranges(marked: np.ndarray) -> np.ndarray:
    """Returns the ranges `[n, 2]` in which booleans `[T]` are true; their ends are not included."""
    edges = np.diff(np.r_[False, np.asarray(marked, bool), False].astype(np.int8))
    return np.stack([np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)], axis=1)


def checked(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns scores in double precision, NaN replaced by the lowest, and boolean labels."""
    scores, given = np.asarray(scores, np.float64), np.asarray(labels)
    positive = given.astype(bool)
    if scores.ndim != 1 or given.shape != scores.shape or not np.array_equal(given, positive):
        raise InputError(
            f"scores must be [T] and labels [T] of 0 and 1, got {list(scores.shape)} and "
            f"{given.dtype} {list(given.shape)}."
        )
    if positive.all() or not positive.any():
        raise InputError(
            f"the labels of all {len(positive)} points are {int(positive[:1].any())}: measuring "
            "needs normal and anomalous points."
        )
    if np.isinf(scores).any() or np.isnan(scores).all():
        raise InputError(f"{int((~np.isfinite(scores)).sum())} scores are not finite.")
    return np.where(np.isnan(scores), np.nanmin(scores), scores), positive
