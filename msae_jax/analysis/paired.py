"""Comparing two methods over paired seeds.

Lower is better: values are errors. Seed i of `a` and seed i of `b` share data and random numbers,
so the differences d_i = a_i - b_i are what is tested:

    d_z   = mean(d) / deviation(d)                                 std with n - 1 throughout
    d     = (mean(a) - mean(b)) / sqrt((var(a) + var(b)) / 2)
    P     = (#{a_i < b_j} + #{a_i = b_j} / 2) / n^2          the Mann-Whitney U of all pairs
    p     = share of the sign patterns s with |sum s_i d_i| >= |sum d_i|

The permutation test is exact if d is symmetric about 0 when there is no difference. It is when a
and b have the same distribution, however skewed. If only their means are equal, and one of them is
both wider and skewed, the test finds a difference in more than 5% of comparisons: at n = 10, in 7%
for lognormals with log-stds of 0.1 and 0.5, in 15% for 0.1 and 1.

Sources: Cohen, "Statistical Power Analysis" (1988); Lakens, "Calculating and reporting effect
sizes" (2013), for d_z; Agarwal et al., "Deep RL at the edge of the statistical precipice" (2021),
for the probability of improvement and its bootstrap over seeds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from msae_jax.analysis.statistics import (
    Interval,
    Mean,
    Values,
    deviation,
    finite,
    mean_interval,
    to_json,
)
from msae_jax.errors import InputError

MAX_SEEDS_NEEDED = 1_000_000
_MAX_EXACT_PATTERNS = 20_000
_RESAMPLES = 9_999
_RNG_SEED = 0


@dataclass(frozen=True)
class Comparison:
    """What paired seeds say about two methods; the module's docstring has the equations.

    Attributes:
      difference: of a - b, in the unit of the values; negative if `a` is better.
      reduction_percent: of 100 (1 - a_i / b_i); NaN unless every b is positive.
      improvement: the probability P that a run of `a` is better than a run of `b`.
      improvement_interval: its bootstrap percentile interval, resampling seeds. Where every a is
        better than every b it is a single point, which is too narrow.
      d_z: Cohen's d of the paired differences, infinite if they are constant, 0 if all are 0.
      d_pooled: Cohen's d by the pooled standard deviation.
      p: two-sided, by sign-flip permutation: exact up to 14 seeds, else from 9,999 resamples.
      p_wilcoxon: the p of Wilcoxon's signed-rank test; the verdict does not use it.
      smallest_p: the smallest p that this number of seeds can give.
      seeds_needed: see `seeds_needed`.
      verdict: the better method if p < alpha, else `none`.
    """

    a: Mean
    b: Mean
    difference: Mean
    reduction_percent: Mean
    improvement: float
    improvement_interval: Interval
    d_z: float
    d_pooled: float
    p: float
    p_wilcoxon: float
    smallest_p: float
    seeds_needed: int | None
    alpha: float
    verdict: Literal["a", "b", "none"]

    @property
    def enough_seeds(self) -> bool:
        """Whether any outcome over this number of seeds could have reached p < alpha."""
        return self.smallest_p < self.alpha

    def to_dict(self) -> dict[str, Any]:
        """Returns JSON values; None where a number is not finite."""
        return to_json(asdict(self))


def compare(a: Values, b: Values, *, alpha: float = 0.05) -> Comparison:
    """Compares the errors `a` `[n]` and `b` `[n]` of two methods at the same n seeds.

    Raises:
      InputError: fewer than two seeds, unequal numbers of them, values that are not finite, or an
        alpha outside 0.001 to 0.2.
    """
    from scipy import stats

    x, y = finite(a, "a"), finite(b, "b")
    n = len(x)
    if n != len(y):
        raise InputError(
            f"the values are paired by seed, but a has {n} and b has {len(y)}: "
            "give both for the same seeds, in the same order."
        )
    if n < 2:
        raise InputError("got 1 seed, expected at least 2: one seed is never a result.")
    _check_alpha(alpha)
    d = x - y
    difference = mean_interval(d)
    d_z = _ratio(difference.mean, difference.std)
    p = float(permutation_p(d))
    better: Literal["a", "b"] = "a" if difference.mean < 0 else "b"
    improvement, improvement_interval = _improvement(x, y)
    return Comparison(
        a=mean_interval(x),
        b=mean_interval(y),
        difference=difference,
        reduction_percent=_reduction(x, y),
        improvement=improvement,
        improvement_interval=improvement_interval,
        d_z=d_z,
        d_pooled=_ratio(difference.mean, math.sqrt((deviation(x) ** 2 + deviation(y) ** 2) / 2)),
        p=p,
        p_wilcoxon=float(stats.wilcoxon(d).pvalue) if d.any() else 1.0,
        smallest_p=smallest_p(n),
        seeds_needed=seeds_needed(d_z, alpha=alpha),
        alpha=alpha,
        verdict=better if p < alpha else "none",
    )


def permutation_p(differences: np.ndarray) -> np.ndarray:
    """Returns the two-sided sign-flip p of each row of paired differences `[..., n]`.

    All 2^n sign patterns if they are at most 20,000; else (1 + hits) / (1 + 9,999) of random ones.
    """
    n = differences.shape[-1]
    exact = 2**n <= _MAX_EXACT_PATTERNS
    if exact:  # a pattern and its opposite give one |sum|: the last sign stays
        bits = np.arange(2 ** (n - 1))[:, None] >> np.arange(n) & 1
    else:
        bits = np.random.default_rng(_RNG_SEED).integers(0, 2, (_RESAMPLES, n))
    sums = np.abs(differences @ (2.0 * bits.T - 1.0))
    rounding = 1e-12 * np.abs(differences).sum(axis=-1)  # equal sums differ by less
    observed = np.abs(differences.sum(axis=-1)) - rounding
    hits = (sums >= observed[..., None]).sum(axis=-1)
    return hits / len(bits) if exact else (1 + hits) / (1 + len(bits))


def holm(p: Sequence[float]) -> np.ndarray:
    """Returns p-values `[n]` corrected for n tests: any below alpha holds at alpha for all.

    Source: Holm, "A simple sequentially rejective multiple test procedure" (1979).
    """
    values = np.asarray(p, float)
    order = np.argsort(values)
    stepwise = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    corrected = np.empty_like(values)
    corrected[order] = np.minimum(stepwise, 1.0)
    return corrected


def smallest_p(n: int) -> float:
    """Returns the smallest p that `permutation_p` can give for `n` seeds: 2 / 2^n if exact."""
    return 2 / 2**n if 2**n <= _MAX_EXACT_PATTERNS else 1 / (1 + _RESAMPLES)


def seeds_needed(d_z: float, *, alpha: float = 0.05, power: float = 0.8) -> int | None:
    """Returns how many paired seeds show an effect of size `d_z` with this power.

    The power is that of a two-sided paired t test (the noncentral t distribution). The number is
    never below the fewest seeds with which `permutation_p` can reach alpha: 6 at 5%. It is None for
    no effect, and at most 1,000,000, which stands for "at least that many".
    """
    from scipy import stats

    _check_alpha(alpha)
    if d_z == 0:
        return None
    effect = min(abs(d_z), 10.0)  # beyond it the fewest seeds suffice
    # The normal approximation is a lower bound, short by a few seeds.
    normal = (stats.norm.isf(alpha / 2) + stats.norm.ppf(power)) / effect
    if normal >= math.sqrt(MAX_SEEDS_NEEDED):
        return MAX_SEEDS_NEEDED
    n = max(int(normal**2), 2)
    while smallest_p(n) >= alpha or _t_test_power(effect, n, alpha) < power:
        n += 1
    return min(n, MAX_SEEDS_NEEDED)


def sentence(name_a: str, name_b: str, comparison: Comparison, metric: str) -> str:
    """Returns the comparison as one sentence to quote, e.g. with `metric` "test MSE"."""
    c = comparison
    if not c.enough_seeds:
        verdict = f"there are not enough seeds to tell whether {name_a} beats {name_b}"
    else:
        relation = {"a": "beats", "b": "is beaten by", "none": "does not beat"}[c.verdict]
        verdict = f"{name_a} {relation} {name_b}"
    tested = f"{c.difference.n} seeds, p {_p_text(c.p)}"
    remarks = [f"it is better in {100 * c.improvement:.0f}% of pairs"]
    if not c.enough_seeds:
        remarks.append(f"p cannot fall below {c.smallest_p:.3g} with {c.difference.n} seeds")
    needed = c.seeds_needed
    if c.verdict == "none" and needed is not None and needed > c.difference.n:
        about = "more than" if needed == MAX_SEEDS_NEEDED else "about"
        remarks.append(f"{about} {needed:,} seeds would be needed to see a difference of this size")
    remark = ", and ".join([", ".join(remarks[:-1]), remarks[-1]] if remarks[1:] else remarks)
    return f"{verdict}: its {metric} is {_difference_text(c, tested)}; {remark}."


def _check_alpha(alpha: float) -> None:
    if not 0.001 <= alpha <= 0.2:
        raise InputError(f"got alpha {alpha}, expected 0.001 to 0.2.")


def _ratio(difference: float, std: float) -> float:
    """Returns difference / std: infinite for a std of 0, but 0 if the difference is 0 too."""
    if difference == 0:
        return 0.0
    return difference / std if std > 0 else math.copysign(math.inf, difference)


def _reduction(a: np.ndarray, b: np.ndarray) -> Mean:
    if (b > 0).all():
        return mean_interval(100 * (1 - a / b))
    return Mean(math.nan, math.nan, math.nan, math.nan, len(a))


def _improvement(a: np.ndarray, b: np.ndarray) -> tuple[float, Interval]:
    """Returns P(a < b) over all pairs, ties counting half, and its interval over seeds."""
    n = len(a)
    wins = (a[:, None] < b) + 0.5 * (a[:, None] == b)
    # Counts how often each seed is drawn, its a and its b together. scipy.stats.bootstrap with
    # paired=True draws the same, but cannot count, and takes seconds for 200 seeds.
    drawn = np.random.default_rng(_RNG_SEED).multinomial(n, np.full(n, 1 / n), _RESAMPLES)
    shares = ((drawn @ wins) * drawn).sum(axis=1) / n**2
    low, high = np.percentile(shares, [2.5, 97.5])
    return float(wins.mean()), Interval(float(low), float(high))


def _t_test_power(effect: float, n: int, alpha: float) -> float:
    from scipy import stats

    critical = stats.t.isf(alpha / 2, n - 1)
    shift = effect * math.sqrt(n)
    return float(stats.nct.sf(critical, n - 1, shift) + stats.nct.cdf(-critical, n - 1, shift))


def _difference_text(c: Comparison, tested: str) -> str:
    """Returns e.g. `8.6% lower on average (95% interval -3.1% to 20.3%, {tested})`.

    The text is in the unit of the values where the reduction in per cent is undefined, or where
    seeds with a small b give it another sign than the difference, or an interval that holds 0 while
    that of the difference does not, or the reverse.
    """
    reduction, d = c.reduction_percent, c.difference
    percent = np.sign(reduction.mean) == -np.sign(d.mean) and (
        (0 in reduction.interval) == (0 in d.interval)
    )
    text = _percent_text if percent else "{:.3g}".format
    mean, low, high, word = -d.mean, -d.high, -d.low, "lower"
    if percent:
        mean, low, high = reduction.mean, reduction.low, reduction.high
    if mean < 0:
        low, high, word = -high, -low, "higher"
    size = text(abs(mean))
    amount = "the same" if mean == 0 else f"{size} {word}" if percent else f"{word} by {size}"
    interval = f"{text(low + 0.0)} to {text(high + 0.0)}"  # no -0
    return f"{amount} on average (95% interval {interval}, {tested})"


def _percent_text(value: float) -> str:
    return f"{value:.1f}%" if abs(value) >= 0.05 or value == 0 else f"{value:.1g}%"


def _p_text(p: float) -> str:
    return f"= {p:.3g}" if p >= 0.001 else "< 0.001"
