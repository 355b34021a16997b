"""Means over seeds with their intervals, and the test of a published number against them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from msae_jax.errors import InputError

Values = Sequence[float] | np.ndarray
ClaimVerdict = Literal["reproduced", "not reproduced", "not enough seeds"]


@dataclass(frozen=True)
class Interval:
    """A 95% interval, both ends included."""

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    def to_dict(self) -> dict[str, Any]:
        return to_json(asdict(self))


@dataclass(frozen=True)
class Mean:
    """A mean over `n` seeds, its standard deviation (n - 1) and Student's t 95% interval."""

    mean: float
    std: float
    low: float
    high: float
    n: int

    @property
    def interval(self) -> Interval:
        return Interval(self.low, self.high)

    def to_dict(self) -> dict[str, Any]:
        return to_json(asdict(self))


def mean_interval(values: Values) -> Mean:
    """Returns the mean of `[n]` values and its 95% interval, mean +- t std / sqrt(n).

    The spread of one value is NaN.

    Raises:
      InputError: no values, or values that are not finite.
    """
    x = finite(values, "values")
    mean, std = float(x.mean()), deviation(x)
    half = _student_t(len(x)) * std / math.sqrt(len(x))
    return Mean(mean, std, mean - half, mean + half, len(x))


def prediction_interval(values: Values) -> Interval:
    """Returns where one more seed falls 95% of the time, mean +- t std sqrt(1 + 1/n)."""
    x = finite(values, "values")
    mean = float(x.mean())
    half = _student_t(len(x)) * deviation(x) * math.sqrt(1 + 1 / len(x))
    return Interval(mean - half, mean + half)


def claim_verdict(
    values: Values, published: float, *, null: float | None = 0.0, single_run: bool = False
) -> ClaimVerdict:
    """Says whether the values over our seeds, `[n]`, reproduce a published number.

    One rule, fixed before any run. Let I be Student's 95% interval of our mean, and J the interval
    that the published number must lie in: I itself, or, if it came from a `single_run`, the 95%
    prediction interval of one more seed, since one run scatters as widely as ours do.

    1. Fewer than two seeds: `not enough seeds`.
    2. J leaves out the published number, or I lies wholly beyond `null`, on the other side from
       the published number: `not reproduced`.
    3. I leaves out `null`: `reproduced`. Without a null (None: a plain number, no effect), if the
       half width of I is at most 25% of |published|: `reproduced`.
    4. Otherwise: `not enough seeds`.

    A published number that is true is called `not reproduced` 5% of the time. The null is always
    compared with I, which narrows with more seeds; J of a single run stays at least as wide as the
    spread of the seeds. So `reproduced` for a single run says that there is an effect and that the
    published run is an ordinary one, not that its size is typical: quote our mean beside it.

    Args:
      published: in the unit of the values.
      null: what the values would be on average if the claim were false, e.g. a reduction of 0%.

    Raises:
      InputError: a value that is not finite, or a published number equal to its null.
    """
    if not math.isfinite(published) or published == null:
        raise InputError(
            f"got the published value {published} and null {null}; expected a finite number other "
            "than the null (null=None for a claim that is not about an effect)."
        )
    if len(values) < 2:
        return "not enough seeds"
    ours = mean_interval(values)
    plausible = prediction_interval(values) if single_run else ours.interval
    if published not in plausible:
        return "not reproduced"
    if null is None:
        known = (ours.high - ours.low) / 2 <= 0.25 * abs(published)
        return "reproduced" if known else "not enough seeds"
    if null in ours.interval:
        return "not enough seeds"
    return "reproduced" if (ours.mean > null) == (published > null) else "not reproduced"


def finite(values: Values, name: str) -> np.ndarray:
    """Returns `[n]` values in double precision; raises InputError unless all are finite."""
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or not x.size:
        raise InputError(f"{name} has shape {list(x.shape)}, expected [n]: one value a seed.")
    bad = np.flatnonzero(~np.isfinite(x))
    if bad.size:
        raise InputError(
            f"{name} is not finite at positions {bad.tolist()}: leave out the seeds that diverged, "
            "from both methods, and say so."
        )
    return x


def deviation(x: np.ndarray) -> float:
    """Returns the standard deviation (n - 1); NaN of one value."""
    return float(x.std(ddof=1)) if len(x) > 1 else math.nan


def _student_t(n: int) -> float:
    from scipy import special  # every run of many seeds needs it; scipy.stats takes 50 MB more

    return float(special.stdtrit(n - 1, 0.975)) if n > 1 else math.nan


def to_json(value: Any) -> Any:
    """Returns nested dicts in which None replaces numbers that are not finite: JSON has none."""
    if isinstance(value, dict):
        return {key: to_json(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
