"""How time grows with size: slopes, where it is linear, and what of it is fixed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

TOLERANCE = 0.2  # of a local slope: a quarter more or less time at four times the size is 0.2


class Growth(NamedTuple):
    """Seconds as a function of size.

    Attributes:
      slope: d log t / d log size, least squares over all sizes.
      local: the same between neighbouring sizes.
      linear: the sizes, first and last, of the longest run whose local slopes are all within
        `TOLERANCE` of the ideal one; None where there is none.
      fixed, unit: seconds of t = fixed + unit * size.
    """

    slope: float
    local: list[float]
    linear: tuple[int, int] | None
    fixed: float
    unit: float

    @property
    def half(self) -> float:
        """The size at which the fixed part takes half of the time."""
        return self.fixed / self.unit if self.unit else float("inf")


def growth(sizes: Sequence[int], seconds: Sequence[float], ideal: float = 1.0) -> Growth:
    """Fits what was measured at two or more sizes, in increasing order."""
    x, y = np.log(sizes), np.log(seconds)
    slope = float(np.polyfit(x, y, 1)[0])
    local = (np.diff(y) / np.diff(x)).tolist()
    run = longest_run([abs(found - ideal) <= TOLERANCE for found in local])
    linear = None if run is None else (sizes[run[0]], sizes[run[1]])
    return Growth(slope, local, linear, *fixed_and_unit(sizes, seconds))


def longest_run(good: Sequence[bool]) -> tuple[int, int] | None:
    """Returns the ends, as points, of the longest run of good intervals; the last of equal ones."""
    best, start = None, 0
    for i, is_good in enumerate(good):
        if not is_good:
            start = i + 1
        elif best is None or i + 1 - start >= best[1] - best[0]:
            best = (start, i + 1)
    return best


def fixed_and_unit(sizes: Sequence[int], seconds: Sequence[float]) -> tuple[float, float]:
    """Returns a, b >= 0 that minimise sum_i ((a + b size_i) / seconds_i - 1)^2."""
    from scipy.optimize import nnls

    t, n = np.asarray(seconds, np.float64), np.asarray(sizes, np.float64)
    scale = n.max()
    (a, b), _ = nnls(np.stack([1 / t, n / scale / t], axis=1), np.ones(len(t)))
    return float(a), float(b / scale)
