from __future__ import annotations

import numpy as np
import pytest

from msae_jax.analysis import variance
from msae_jax.errors import InputError


def test_shares_are_of_the_sum_of_variances() -> None:
    """Variances 1 and 4 by hand: values -1, 0, 1 and -2, 0, 2."""
    init, order, both = variance.split(
        {"init": [-1.0, 0, 1], "order": [-2.0, 0, 2], "all": [0.0, 1]}
    )
    assert (init.std, order.std) == pytest.approx((1, 2))
    assert (init.share, order.share, both.share) == (pytest.approx(0.2), pytest.approx(0.8), None)
    assert "80% of the variance" in variance.table([init, order, both], "test MSE")


def test_the_interval_covers_the_true_std() -> None:
    """2,000 normal samples of 8: 95% of intervals, within three standard errors (1.5%)."""
    rng = np.random.default_rng(0)
    found = [variance.split({"x": rng.normal(0, 3, 8)})[0] for _ in range(2000)]
    assert np.mean([s.low <= 3 <= s.high for s in found]) == pytest.approx(0.95, abs=0.015)


def test_a_source_that_does_nothing_has_no_share() -> None:
    init, noise = variance.split({"init": [1.0, 2.0], "noise": [1.5, 1.5]})
    assert (init.share, noise.share) == (1.0, 0.0)


@pytest.mark.parametrize("values", [[1.0], [], [1.0, float("nan")]])
def test_too_few_values_are_refused(values: list[float]) -> None:
    with pytest.raises(InputError, match="init needs at least 2 finite"):
        variance.split({"init": values})
