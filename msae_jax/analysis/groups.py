"""Tests whether configurations differ by more than their seeds do, and whether rankings agree."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from msae_jax.errors import InputError

ALPHA = 0.05
MAX_RANKED = 8  # all 40,320 permutations take a second


@dataclass(frozen=True)
class GroupEffect:
    """How k configurations with n values in all differ; see `group_effect`.

    Attributes:
      means: by configuration.
      f, p_anova: the statistic and p of the one-way analysis of variance.
      h, p_kruskal: the statistic and p of the Kruskal-Wallis test.
      eta_squared: the share of the variance that lies between configurations.
      eta_squared_by_chance: its expectation where they do not differ, (k - 1) / (n - 1).
      seed_std: the standard deviation over seeds within a configuration, pooled.
      differ: whether p_anova < 0.05.
    """

    means: Mapping[str, float]
    f: float
    p_anova: float
    h: float
    p_kruskal: float
    eta_squared: float
    eta_squared_by_chance: float
    seed_std: float
    differ: bool

    def sentence(self, unit: str) -> str:
        """Returns the conclusion; lower is better."""
        best, *_, worst = sorted(self.means, key=self.means.__getitem__)
        return (
            f"The {len(self.means)} configurations {'' if self.differ else 'do not '}differ by "
            f"more than seed noise (ANOVA p = {self.p_anova:.2g}, Kruskal-Wallis p = "
            f"{self.p_kruskal:.2g}): {100 * self.eta_squared:.0f}% of the variance lies between "
            f"them, where chance alone gives {100 * self.eta_squared_by_chance:.0f}%; from the "
            f"best mean ({best}) to the worst ({worst}) it is "
            f"{self.means[worst] - self.means[best]:.3g} {unit}, and the standard deviation over "
            f"seeds is {self.seed_std:.2g}."
        )

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def group_effect(values: Mapping[str, Sequence[float] | np.ndarray]) -> GroupEffect:
    """Tests whether configurations differ, from a value of each of their seeds.

    The one-way analysis of variance decides, at 5%; the Kruskal-Wallis test is reported beside it.
    Seeds count as independent, though configurations share them.

        eta^2 = 1 - sum_ij (x_ij - mean_j)^2 / sum_ij (x_ij - mean)^2

    Args:
      values: by configuration, the value of each seed: at least two configurations with at least
        two finite values each.

    Raises:
      InputError: there are fewer, a value is not finite, or no configuration varies over its seeds.
    """
    from scipy import stats

    groups = [np.asarray(v, np.float64) for v in values.values()]
    small = [name for name, v in values.items() if len(v) < 2 or not np.isfinite(v).all()]
    if len(groups) < 2 or small:
        raise InputError(
            f"expected two or more configurations with two or more finite values each, got "
            f"{len(groups)}" + (f"; too few values: {', '.join(small)}." if small else ".")
        )
    joined = np.concatenate(groups)
    within = sum(float(np.square(g - g.mean()).sum()) for g in groups)
    if within == 0:
        raise InputError("no configuration varies over its seeds: nothing to compare with.")
    anova, kruskal = stats.f_oneway(*groups), stats.kruskal(*groups)
    return GroupEffect(
        means={name: float(np.mean(v)) for name, v in values.items()},
        f=float(anova.statistic),
        p_anova=float(anova.pvalue),
        h=float(kruskal.statistic),
        p_kruskal=float(kruskal.pvalue),
        eta_squared=1 - within / float(np.square(joined - joined.mean()).sum()),
        eta_squared_by_chance=(len(groups) - 1) / (len(joined) - 1),
        seed_std=math.sqrt(within / (len(joined) - len(groups))),
        differ=bool(anova.pvalue < ALPHA),
    )


@dataclass(frozen=True)
class RankAgreement:
    """Spearman's correlation of two rankings, and its two-sided p over all permutations."""

    spearman: float
    p: float

    @property
    def agree(self) -> bool:
        return self.spearman > 0 and self.p < ALPHA


def rank_agreement(a: Sequence[float], b: Sequence[float]) -> RankAgreement:
    """Compares how `a` `[n]` and `b` `[n]` rank the same n configurations, n from 3 to 8.

    The p is exact: it comes from all permutations.

    Raises:
      InputError: n is outside 3 to 8, the lengths differ, or a ranking has equal values only.
    """
    from scipy import stats

    if len(a) != len(b) or not 3 <= len(a) <= MAX_RANKED or min(np.ptp(a), np.ptp(b)) == 0:
        raise InputError(
            f"expected two rankings of the same 3 to {MAX_RANKED} values, not all equal, got "
            f"{list(a)} and {list(b)}."
        )
    other = stats.rankdata(b)

    def correlation(ranks: np.ndarray) -> float:
        return float(np.corrcoef(ranks, other)[0, 1])

    test = stats.permutation_test(
        (stats.rankdata(a),),
        correlation,
        permutation_type="pairings",
        n_resamples=math.factorial(len(a)),
    )
    return RankAgreement(float(test.statistic), float(test.pvalue))
