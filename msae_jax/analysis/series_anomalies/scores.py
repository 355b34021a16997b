"""From the errors of windows to a score per time stamp and per channel.

Each way of putting overlapping windows together looks only at the windows that cover a point, so a
score does not depend on where a file begins or ends, once all windows over the point are there.
"""

from __future__ import annotations

import numpy as np

from msae_jax.errors import InputError, unknown_name

AGGREGATES = {
    "centre": (
        "the mean error of the one window, of those that cover the point, whose centre is nearest "
        "(the earlier of two); points before the first centre and after the last take that window"
    ),
    "mean": "the mean, over all windows that cover the point, of the error at the point",
    "max": "the largest, over all windows that cover the point, of the error at the point",
    "last": (
        "the error at the point in the earliest window that covers it: with a stride of 1 the "
        "window that ends there, so that no later point is needed; points before the end of the "
        "first window take that window"
    ),
}
"""What the score of a point is, by the name of `aggregate`, for each channel by itself."""


def window_starts(length: int, window: int, stride: int = 1) -> np.ndarray:
    """Returns where windows begin, `[N]`, so that they cover all points of a series.

    They begin at 0, stride, 2 stride and so on; one more ends at the last point if none does.

    Raises:
      InputError: a window longer than the series, or a window or stride below 1; a stride above
        the window, which would leave points out.
    """
    if not 1 <= window <= length:
        raise InputError(f"the window must be 1 to {length} points, the series, got {window}.")
    if not 1 <= stride <= window:
        raise InputError(
            f"the stride must be 1 to {window} points, the window, got {stride}: a larger one "
            "leaves points without a score."
        )
    starts = np.arange(0, length - window + 1, stride)
    return starts if starts[-1] == length - window else np.append(starts, length - window)


def point_scores(
    errors: np.ndarray, starts: np.ndarray, length: int, aggregate: str = "centre"
) -> np.ndarray:
    """Returns the score of each point and channel, `[T, C]`.

    Args:
      errors: squared errors `[N, L, C]`, one per value of each window; NaN where it is missing.
      starts: where the windows begin, `[N]`, increasing. With `window_starts` every point has a
        score.
      length: T, the number of points of the series.
      aggregate: `centre`, `mean`, `max` or `last`; see `AGGREGATES`.

    Returns:
      float64 scores; NaN where the value is missing or no window covers the point. To the bit those
      that a `StreamingScorer` gives.

    Raises:
      InputError: an unknown aggregate; shapes that do not fit; starts that do not increase or lie
        outside the series.
    """
    errors = np.asarray(errors)
    if errors.ndim != 3:
        raise InputError(f"errors must be [N, L, C], got {list(errors.shape)}.")
    scorer = StreamingScorer(errors.shape[1], errors.shape[2], aggregate)
    return np.concatenate([scorer.add(errors, starts), scorer.finish(length)])


def combined(scores: np.ndarray) -> np.ndarray:
    """Returns one score per point, `[T]`: the mean over the channels of `[T, C]` that have one.

    A point at which no channel has a score gets NaN.
    """
    scores = np.asarray(scores, np.float64)
    observed = ~np.isnan(scores)
    total, count = np.where(observed, scores, 0).sum(axis=1), observed.sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


class StreamingScorer:
    """Gives the scores of points, in order, as soon as no later window can change them.

    Windows come in order and in pieces of any size. Only points that are not final are kept: at
    most a window, beside what the latest piece spans. With `last` a point is final when the first
    window that covers it has come, with `centre` half a window later, with `mean` and `max` when a
    window that begins there, or later, has come.

    Attributes:
      position: the number of points whose scores have been given: the next one's index.
    """

    def __init__(self, window: int, channels: int = 1, aggregate: str = "centre") -> None:
        """Prepares for windows `[window, channels]`; see `AGGREGATES`.

        Raises:
          InputError: an unknown aggregate, a window or channels below 1.
        """
        if aggregate not in AGGREGATES:
            raise unknown_name("aggregate", aggregate, AGGREGATES)
        if window < 1 or channels < 1:
            raise InputError(f"windows need 1 point and channel, got {window} and {channels}.")
        self.window, self.channels, self.aggregate = window, channels, aggregate
        self.position = 0
        self._last_start = -1
        self._values = np.empty((0, channels))
        self._weights = np.empty((0, channels))
        offset = np.arange(window)
        # Of two windows over a point, the one with the lower rank there gives the score.
        self._rank = np.abs(2 * offset - (window - 1)) if aggregate == "centre" else -offset

    def add(self, errors: np.ndarray, starts: np.ndarray) -> np.ndarray:
        """Takes further windows and returns the scores `[m, C]` of the points that became final.

        Args:
          errors: squared errors `[n, L, C]`; NaN where a value is missing.
          starts: where they begin, `[n]`, increasing, after those of all windows before.

        Raises:
          InputError: shapes that do not fit, or starts that do not increase.
        """
        errors, starts = self._checked(errors, starts)
        if not len(starts):
            return np.empty((0, self.channels))
        self._reserve(int(starts[-1]) + self.window - self.position)
        at = starts - self.position
        if self.aggregate == "centre":  # one value a window and channel, where the point has one
            missing = np.isnan(errors)
            count = np.maximum((~missing).sum(axis=1), 1)
            mean = np.where(missing, 0, errors).sum(axis=1) / count
            errors = np.where(missing, np.nan, mean[:, None])
        if len(starts) < self.window:
            for row, begin in zip(errors, at, strict=True):
                done = max(-begin, 0)  # points of this window that are final already
                points = slice(begin + done, begin + self.window)
                self._fold(points, row[done:], self._rank[done:, None])
        else:  # from the last point of each window to the first, each point meets them in order
            for offset in range(self.window)[::-1]:
                done = np.searchsorted(at, -offset)  # windows whose point there is final already
                self._fold(at[done:] + offset, errors[done:, offset], self._rank[offset])
        self._last_start = int(starts[-1])
        return self._give(self._final())

    def finish(self, length: int | None = None) -> np.ndarray:
        """Returns the scores `[m, C]` of all points that are left, up to the end of the series.

        Args:
          length: the number of points of the whole series, by default up to the end of the last
            window; NaN where no window covers a point.

        Raises:
          InputError: a series that ends before a window did.
        """
        covered = self._last_start + self.window if self._last_start >= 0 else 0
        length = covered if length is None else length
        if length < max(covered, self.position):
            raise InputError(f"the series has {length} points, but a window ended at {covered}.")
        self._reserve(length - self.position)
        return self._give(length)

    def _final(self) -> int:
        """Returns before which point no later window can change a score."""
        ahead = {"last": self.window, "centre": self.window // 2 + 1}.get(self.aggregate, 1)
        return self._last_start + ahead

    def _fold(self, at: np.ndarray | slice, values: np.ndarray, rank: np.ndarray) -> None:
        """Puts one value `[..., C]` of a window at each of some points, all of them different."""
        before, weight = self._values[at], self._weights[at]
        observed = ~np.isnan(values)
        if self.aggregate == "mean":
            self._values[at] = before + np.where(observed, values, 0)
            self._weights[at] = weight + observed
        elif self.aggregate == "max":
            self._values[at] = np.where(observed, np.fmax(before, values), before)
            self._weights[at] = np.maximum(weight, observed)
        else:
            better = observed & (rank < weight)
            self._values[at] = np.where(better, values, before)
            self._weights[at] = np.where(better, rank, weight)

    def _reserve(self, size: int) -> None:
        missing = size - len(self._values)
        if missing > 0:
            value, weight = {"mean": (0.0, 0.0), "max": (-np.inf, 0.0)}.get(
                self.aggregate, (np.nan, np.inf)
            )
            padding = ((0, missing), (0, 0))
            self._values = np.pad(self._values, padding, constant_values=value)
            self._weights = np.pad(self._weights, padding, constant_values=weight)

    def _give(self, until: int) -> np.ndarray:
        """Returns the scores up to a point, and forgets them."""
        count = until - self.position
        values, weights = self._values[:count], self._weights[:count]
        if self.aggregate == "mean":
            scores = np.where(weights > 0, values / np.maximum(weights, 1), np.nan)
        elif self.aggregate == "max":
            scores = np.where(weights > 0, values, np.nan)
        else:
            scores = values.copy()
        self._values, self._weights = self._values[count:].copy(), self._weights[count:].copy()
        self.position = until
        return scores

    def _checked(self, errors: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        errors, starts = np.asarray(errors, np.float64), np.asarray(starts)
        expected = (len(starts), self.window, self.channels)
        if starts.ndim != 1 or errors.shape != expected:
            raise InputError(
                f"errors must be [n, {self.window}, {self.channels}] and starts [n], got "
                f"{list(errors.shape)} and {list(starts.shape)}."
            )
        if not np.issubdtype(starts.dtype, np.integer) and len(starts):
            raise InputError(f"starts must be whole numbers, got {starts.dtype}.")
        starts = starts.astype(np.int64)
        wrong = np.flatnonzero(np.diff(starts, prepend=self._last_start) <= 0)
        if wrong.size:
            before = starts[wrong[0] - 1] if wrong[0] else self._last_start
            raise InputError(
                f"windows must begin one after the other, got {starts[wrong[0]]} after {before}."
            )
        return errors, starts
