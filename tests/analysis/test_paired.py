"""Paired comparisons, against hand-computed values, SciPy and simulation."""

import json
import math
import warnings

import numpy as np
import pytest
from scipy import stats

from msae_jax.analysis import paired
from msae_jax.analysis.paired import compare, holm, sentence
from msae_jax.analysis.statistics import Interval
from msae_jax.errors import InputError
from tests.analysis.samples import binomial_range, with_mean_and_std

# --- the p-value


def test_permutation_p_by_enumeration():
    # The 16 signed sums of 1, 2, 3, 4 are, up to sign, 10, 8, 6, 4, 4, 2, 2, 0; five reach 4.
    assert paired.permutation_p(np.array([1.0, 2.0, -3.0, 4.0])) == 10 / 16
    # Those that reach 8: 10 and 8.
    assert paired.permutation_p(np.array([-1.0, 2.0, 3.0, 4.0])) == 4 / 16
    # A sum of 0 is reached by all.
    assert paired.permutation_p(np.array([1.0, -2.0, -3.0, 4.0])) == 1.0


@pytest.mark.parametrize("n", [2, 5, 10, 14])
def test_exact_permutation_p_is_scipys(n):
    rng = np.random.default_rng(n)
    a, b = rng.lognormal(0.0, 1.0, n), rng.lognormal(0.5, 1.0, n)
    reference = stats.permutation_test(
        (a, b),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=20_000,
    )
    assert paired.permutation_p(a - b) == pytest.approx(reference.pvalue, abs=1e-12)
    assert compare(a, b).p == paired.permutation_p(a - b)


def test_random_permutation_p_is_near_scipys_and_repeatable():
    rng = np.random.default_rng(1)
    a, b = rng.normal(0.0, 1.0, 30), rng.normal(0.4, 1.0, 30)
    reference = stats.permutation_test(
        (a, b),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=99_999,
        batch=10_000,
        random_state=np.random.default_rng(2),
    )
    p = float(paired.permutation_p(a - b))
    assert 0.01 < p < 0.5
    assert p == pytest.approx(reference.pvalue, abs=4 * math.sqrt(p * (1 - p) / 9_999))
    assert p == paired.permutation_p(a - b)


def test_rows_of_differences_are_independent():
    d = np.random.default_rng(0).normal(size=(5, 8))
    rows = paired.permutation_p(d)
    assert rows.tolist() == [float(paired.permutation_p(row)) for row in d]


@pytest.mark.parametrize(("n", "p"), [(2, 0.5), (5, 0.0625), (6, 0.03125), (14, 2**-13)])
def test_smallest_p_is_reached(n, p):
    assert paired.smallest_p(n) == p == paired.permutation_p(np.arange(1.0, n + 1))


def test_smallest_p_of_random_patterns():
    assert paired.smallest_p(40) == 1e-4 == paired.permutation_p(np.arange(1.0, 41))


@pytest.mark.parametrize("kind", ["normal", "lognormal", "cauchy"])
@pytest.mark.parametrize("n", [8, 10])
def test_false_positive_rate(kind, n):
    """2,000 comparisons of a method with itself at 5%: within 3.5 to 6.5%, however skewed."""
    rng = np.random.default_rng(n)
    draw = {
        "normal": lambda: rng.normal(1.0, 0.1, (2_000, n)),
        "lognormal": lambda: rng.lognormal(0.0, 1.0, (2_000, n)),
        "cauchy": lambda: rng.standard_cauchy((2_000, n)),
    }[kind]
    shared = rng.normal(size=(2_000, n))  # what a seed does to both
    rate = np.mean(paired.permutation_p((draw() + shared) - (draw() + shared)) < 0.05)
    assert 0.035 <= rate <= 0.065


def test_false_positive_rate_of_the_whole_comparison():
    rng = np.random.default_rng(5)
    runs = rng.lognormal(0.0, 0.5, (300, 2, 8))
    verdicts = [compare(a, b).verdict for a, b in runs]
    low, high = binomial_range(300, 12 / 256)  # the largest multiple of 2/256 below 5%
    assert low <= np.mean([v != "none" for v in verdicts]) <= high


@pytest.mark.parametrize(("log_std", "rate"), [(0.5, 0.073), (1.0, 0.15)])
def test_the_stated_limit_of_the_permutation_test(log_std, rate):
    """Equal means, unequal and skewed spreads: the rates that the module's docstring admits."""
    rng = np.random.default_rng(0)
    a = rng.lognormal(-(log_std**2) / 2, log_std, (20_000, 10))
    b = rng.lognormal(-(0.1**2) / 2, 0.1, (20_000, 10))
    found = np.mean(paired.permutation_p(a - b) < 0.05)
    assert found == pytest.approx(rate, abs=0.01)


# --- effect sizes and power


def test_comparison_by_hand():
    c = compare([1.0, 2.0, 3.0, 6.0], [2.0, 4.0, 4.0, 6.0])
    # d = -1, -2, -1, 0: mean -1, variance 2/3.
    assert c.difference.mean == -1.0
    assert c.d_z == pytest.approx(-1 / math.sqrt(2 / 3), rel=1e-12)
    # var a = (4 + 1 + 0 + 9) / 3, var b = (4 + 0 + 0 + 4) / 3
    assert c.d_pooled == pytest.approx(-1 / math.sqrt((14 / 3 + 8 / 3) / 2), rel=1e-12)
    # Pairs with a < b: 4 of 1; 3 of 2 and a tie; 3 of 3; 0 of 6 and a tie.
    assert c.improvement == (10 + 1.0) / 16
    assert c.reduction_percent.mean == pytest.approx((50 + 50 + 25 + 0) / 4, rel=1e-12)
    assert c.p == 4 / 16  # 1, 2, 1, 0: |sum| = 4 needs three equal signs
    assert (c.a.mean, c.b.mean, c.verdict) == (3.0, 4.0, "none")


def test_improvement_is_the_mann_whitney_u():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 9, 12), rng.integers(2, 9, 12)  # with ties
    assert compare(a, b).improvement == stats.mannwhitneyu(b, a).statistic / 144


def test_improvement_interval_is_scipys_paired_bootstrap():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.0, 1.0, 12), rng.normal(0.5, 1.0, 12)
    reference = stats.bootstrap(
        (a, b),
        lambda x, y, axis: (x[..., :, None] < y[..., None, :]).mean(axis=(-1, -2)),
        paired=True,
        vectorized=True,
        method="percentile",
        random_state=np.random.default_rng(1),
    ).confidence_interval
    # A ten-thousandth of resamples moves a 2.5% end by about 1% of the range.
    found = compare(a, b).improvement_interval
    assert found.low == pytest.approx(reference.low, abs=0.015)
    assert found.high == pytest.approx(reference.high, abs=0.015)
    assert found.low < compare(a, b).improvement < found.high


def test_wilcoxon_by_enumeration():
    d = np.array([-1.0, -2.0, -3.0, 4.0, -5.0, -6.0])
    # The positive ranks sum to 4; sets of ranks 1..6 that sum to at most 4: {}, 1, 2, 3, 4, 12, 13.
    c = compare(d + 10.0, np.full(6, 10.0))
    assert c.p_wilcoxon == pytest.approx(2 * 7 / 64, rel=1e-12)


@pytest.mark.parametrize(
    ("d_z", "n"), [(0.2, 199), (0.5, 34), (-0.5, 34), (0.8, 15), (1.0, 10), (9.0, 6)]
)
def test_seeds_needed_of_the_tables(d_z, n):
    """The paired t test at 5% and 80%, as G*Power gives; 6 is the fewest that reach 5%."""
    assert paired.seeds_needed(d_z) == n


@pytest.mark.parametrize("alpha", [0.001, 0.01, 0.05, 0.2])
def test_the_fewest_seeds_are_those_that_reach_alpha(alpha):
    fewest = paired.seeds_needed(math.inf, alpha=alpha)
    assert paired.smallest_p(fewest) < alpha <= paired.smallest_p(fewest - 1)


def test_seeds_needed_at_its_ends():
    assert paired.seeds_needed(0.0) is None
    assert paired.seeds_needed(1e-9) == paired.MAX_SEEDS_NEEDED
    # The largest n that is not capped, against the normal approximation.
    assert paired.seeds_needed(0.003) == pytest.approx((2.801585 / 0.003) ** 2, rel=1e-4)


@pytest.mark.parametrize("d_z", [0.6, 1.0])
def test_power_at_the_seeds_needed(d_z):
    n = paired.seeds_needed(d_z)
    d = np.random.default_rng(0).normal(d_z, 1.0, (4_000, n))
    t_test = np.mean(stats.ttest_1samp(d, 0.0, axis=1).pvalue < 0.05)
    ours = np.mean([paired.permutation_p(rows) < 0.05 for rows in np.split(d, 40)])
    low, high = binomial_range(4_000, 0.80)
    assert low <= t_test <= high + 0.02  # n is rounded up
    assert ours == pytest.approx(0.80, abs=0.04)  # the test that compare uses


# --- whole comparisons


def test_verdicts():
    better, worse = with_mean_and_std(1.0, 0.05, 8), np.linspace(1.4, 1.6, 8)
    assert compare(better, worse).verdict == "a"
    assert compare(worse, better).verdict == "b"
    strict = compare(better, worse, alpha=0.005)  # 2 / 256 is above it
    assert (strict.verdict, strict.enough_seeds) == ("none", False)
    few = compare(better[:5], worse[:5])
    assert (few.verdict, few.enough_seeds, few.smallest_p) == ("none", False, 0.0625)


@pytest.mark.parametrize("shift", [0.0, 0.5, 0.1, -0.3])
def test_constant_differences(shift):
    """0.1 and -0.3 leave rounding in the differences, 0.5 none."""
    b = np.arange(1.0, 9.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        c = compare(b + shift, b)
        said = sentence("msae", "baseline", c, "MSE")
        content = json.loads(json.dumps(c.to_dict(), allow_nan=False))
    assert c.verdict == ("none" if shift == 0 else "b" if shift > 0 else "a")
    assert c.seeds_needed == (None if shift == 0 else 6)
    assert c.p == c.p_wilcoxon == (1.0 if shift == 0 else 2 / 256)
    if shift == 0.5:
        assert c.d_z == math.inf
        assert content["d_z"] is None
    if shift == 0:
        assert (c.d_z, c.d_pooled, c.improvement) == (0.0, 0.0, 0.5)
        assert said == (
            "msae does not beat baseline: its MSE is the same on average (95% interval 0.0% to "
            "0.0%, 8 seeds, p = 1); it is better in 50% of pairs."
        )


def test_constant_values_of_both():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        c = compare(np.full(6, 1.0), np.full(6, 2.0))
    assert (c.d_z, c.d_pooled, c.improvement) == (-math.inf, -math.inf, 1.0)
    assert c.improvement_interval == Interval(1.0, 1.0)


def test_dict_is_json():
    content = compare([1.0, 2.0, 4.0], [-1.0, 2.0, 3.0]).to_dict()
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    assert content["reduction_percent"]["mean"] is None  # of a negative b there is none
    assert content["difference"]["n"] == 3
    assert set(content["improvement_interval"]) == {"low", "high"}


def test_float32_arrays_are_compared_in_double():
    b = np.linspace(1.0, 2.0, 8, dtype=np.float32)
    assert compare(b * np.float32(0.9), b).a.mean == pytest.approx(1.35, rel=1e-6)
    assert compare(b, b).difference.mean == 0.0


@pytest.mark.parametrize(
    ("a", "b", "alpha", "message"),
    [
        ([1.0], [2.0], 0.05, "one seed is never a result"),
        ([1.0, 2.0], [1.0, 2.0, 3.0], 0.05, "a has 2 and b has 3"),
        ([1.0, math.nan], [1.0, 2.0], 0.05, r"a is not finite at positions \[1\]"),
        ([1.0, 2.0], [1.0, 2.0], 0.5, "alpha 0.5, expected 0.001 to 0.2"),
    ],
)
def test_what_cannot_be_compared(a, b, alpha, message):
    with pytest.raises(InputError, match=message):
        compare(a, b, alpha=alpha)


# --- sentences


def test_sentence_of_no_difference():
    b = np.full(8, 1.0)
    c = compare(1 - with_mean_and_std(0.086, 0.14, 8), b)  # t of 7: 2.364624
    half = 100 * 2.364624 * 0.14 / math.sqrt(8)
    assert sentence("msae", "baseline", c, "test MSE") == (
        f"msae does not beat baseline: its test MSE is 8.6% lower on average (95% interval "
        f"{8.6 - half:.1f}% to {8.6 + half:.1f}%, 8 seeds, p = {c.p:.3g}); it is better in "
        f"{100 * c.improvement:.0f}% of pairs, and about 23 seeds would be needed to see a "
        "difference of this size."
    )
    worse = compare(1 + with_mean_and_std(0.086, 0.14, 8), b)
    assert (
        f"8.6% higher on average (95% interval {8.6 - half:.1f}% to {8.6 + half:.1f}%, 8 seeds"
    ) in sentence("msae", "baseline", worse, "test MSE")


def test_sentences_of_a_difference():
    b = np.linspace(1.0, 1.9, 8)
    assert sentence("msae", "baseline", compare(0.5 * b, b), "test MSE") == (
        "msae beats baseline: its test MSE is 50.0% lower on average (95% interval 50.0% to "
        "50.0%, 8 seeds, p = 0.00781); it is better in 100% of pairs."
    )
    assert sentence("msae", "baseline", compare(4 * b, b), "test MSE") == (
        "msae is beaten by baseline: its test MSE is 300.0% higher on average (95% interval "
        "300.0% to 300.0%, 8 seeds, p = 0.00781); it is better in 0% of pairs."
    )


def test_sentence_of_too_few_seeds():
    b = np.array([1.0, 1.5, 1.9])
    assert sentence("msae", "baseline", compare(0.5 * b, b), "test MSE") == (
        "there are not enough seeds to tell whether msae beats baseline: its test MSE is 50.0% "
        "lower on average (95% interval 50.0% to 50.0%, 3 seeds, p = 0.25); it is better in 100% "
        "of pairs, p cannot fall below 0.25 with 3 seeds, and about 6 seeds would be needed to "
        "see a difference of this size."
    )


def test_sentence_of_a_difference_too_small_to_see():
    d = with_mean_and_std(1e-5, 1.0, 8)
    assert "more than 1,000,000 seeds would be needed" in sentence(
        "a", "b", compare(d, np.zeros(8)), "MSE"
    )


def test_sentence_in_the_unit_where_per_cent_would_mislead():
    # Negative errors (a likelihood): no percentage.
    b = -np.linspace(1.0, 2.0, 8)
    assert "its loss is lower by 0.5 on average (95% interval 0.5 to 0.5," in sentence(
        "msae", "baseline", compare(b - 0.5, b), "loss"
    )
    # Lower on average, but one tiny b makes its ratio, and the mean reduction, hugely negative.
    b = np.array([0.001, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    a = np.array([0.1, 0.7, 0.8, 0.7, 0.8, 0.7, 0.8, 0.7])
    c = compare(a, b)
    assert c.reduction_percent.mean < 0 < -c.difference.mean
    assert f"lower by {-c.difference.mean:.3g} on average" in sentence("msae", "baseline", c, "MSE")


def test_holm() -> None:
    """By hand: 0.01 x 4, 0.02 x 3, 0.03 x 2, and 0.04, which may not fall below the one before."""
    np.testing.assert_allclose(holm([0.03, 0.01, 0.04, 0.02]), [0.06, 0.04, 0.06, 0.06])
    np.testing.assert_allclose(holm([0.7, 0.6]), [1.0, 1.0])
