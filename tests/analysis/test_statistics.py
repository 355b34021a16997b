"""Intervals and verdicts on published numbers, against hand-computed values and simulation."""

import math

import numpy as np
import pytest

from msae_jax.analysis import statistics
from msae_jax.analysis.statistics import claim_verdict
from msae_jax.errors import InputError
from tests.analysis.samples import binomial_range, with_mean_and_std

# --- intervals


def test_mean_interval_by_hand():
    m = statistics.mean_interval([1.0, 2.0, 3.0])
    t = 0.95 * math.sqrt(2 / (1 - 0.95**2))  # 4.3027: the closed form for 2 degrees of freedom
    half = t / math.sqrt(3)
    assert (m.mean, m.std, m.n) == (2.0, 1.0, 3)
    assert m.low == pytest.approx(2 - half, rel=1e-12)
    assert m.high == pytest.approx(2 + half, rel=1e-12)
    wider = statistics.prediction_interval([1.0, 2.0, 3.0])
    assert wider.high == pytest.approx(2 + t * math.sqrt(4 / 3), rel=1e-12)


def test_one_value_has_a_mean_but_no_interval():
    m = statistics.mean_interval([1.5])
    assert m.mean == 1.5
    assert m.to_dict() == {"mean": 1.5, "std": None, "low": None, "high": None, "n": 1}


@pytest.mark.parametrize("n", [3, 10])
def test_coverage_of_both_intervals(n):
    draws = 4_000
    low, high = binomial_range(draws, 0.95)
    rng = np.random.default_rng(n)
    seeds, new = rng.normal(2.0, 3.0, (draws, n)), rng.normal(2.0, 3.0, draws)
    means = np.mean([2.0 in statistics.mean_interval(x).interval for x in seeds])
    runs = np.mean(
        [y in statistics.prediction_interval(x) for x, y in zip(seeds, new, strict=True)]
    )
    assert low <= means <= high
    assert low <= runs <= high


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], r"shape \[0\]"),
        ([[1.0, 2.0]], r"shape \[1, 2\]"),
        ([1.0, math.nan, 3.0, math.inf], r"not finite at positions \[1, 3\]"),
    ],
)
def test_unusable_values(values, message):
    with pytest.raises(InputError, match=message):
        statistics.mean_interval(values)


# --- claims


@pytest.mark.parametrize(
    ("mean", "std", "n", "single_run", "verdict"),
    [
        (20.0, 5.0, 10, False, "reproduced"),  # 16.4 to 23.6: 22 within, 0 without
        (10.0, 5.0, 10, False, "not reproduced"),  # 6.4 to 13.6: 22 without
        (10.0, 5.0, 10, True, "not reproduced"),  # a run: -1.9 to 21.9
        (10.0, 6.0, 10, True, "reproduced"),  # a run: -4.2 to 24.2; the mean: 5.7 to 14.3
        (20.0, 40.0, 10, False, "not enough seeds"),  # -8.6 to 48.6: both within
        (5.0, 20.0, 10, True, "not enough seeds"),  # -9.3 to 19.3: is there an effect?
        (-8.0, 20.0, 64, True, "not reproduced"),  # a run: -48 to 32, but the mean: -13 to -3
        (-8.0, 20.0, 64, False, "not reproduced"),
        (20.0, 5.0, 2, False, "not enough seeds"),  # t of 1 degree of freedom: -25 to 65
    ],
)
def test_verdict_on_a_reduction_of_22(mean, std, n, single_run, verdict):
    values = with_mean_and_std(mean, std, n)
    assert claim_verdict(values, 22.0, single_run=single_run) == verdict


def test_verdict_on_a_negative_claim_mirrors():
    values = -with_mean_and_std(20.0, 5.0, 10)
    assert claim_verdict(values, -22.0) == "reproduced"
    assert claim_verdict(values, 22.0) == "not reproduced"


@pytest.mark.parametrize(
    ("mean", "std", "n", "verdict"),
    [
        (0.9, 0.2, 10, "reproduced"),  # half width 0.143, at most 0.25
        (0.9, 0.4, 10, "not enough seeds"),  # half width 0.286
        (0.7, 0.2, 10, "not reproduced"),
    ],
)
def test_verdict_on_a_plain_number(mean, std, n, verdict):
    assert claim_verdict(with_mean_and_std(mean, std, n), 1.0, null=None) == verdict


def test_one_seed_reproduces_nothing():
    assert claim_verdict([22.0], 22.0) == "not enough seeds"
    assert claim_verdict([], 22.0) == "not enough seeds"


def test_claims_that_cannot_be_judged():
    with pytest.raises(InputError, match="other than the null"):
        claim_verdict([1.0, 2.0], 0.0)
    with pytest.raises(InputError, match="published value nan"):
        claim_verdict([1.0, 2.0], math.nan, null=None)
    with pytest.raises(InputError, match="not finite"):
        claim_verdict([1.0, math.nan], 2.0)


@pytest.mark.parametrize("single_run", [False, True])
def test_a_true_claim_is_rejected_5_percent_of_the_time(single_run):
    draws = 4_000
    rng = np.random.default_rng(0)
    published = rng.normal(20.0, 5.0, draws) if single_run else np.full(draws, 20.0)
    ours = rng.normal(20.0, 5.0, (draws, 10))
    rejected = [
        claim_verdict(values, claim, single_run=single_run) == "not reproduced"
        for values, claim in zip(ours, published, strict=True)
    ]
    low, high = binomial_range(draws, 0.05)
    assert low <= np.mean(rejected) <= high
