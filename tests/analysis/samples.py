"""Samples of known spread, and how far a simulated share may lie from its expectation."""

import numpy as np
from scipy import stats


def binomial_range(n: int, p: float) -> tuple[float, float]:
    """The shares that n trials of probability p stay within 99.9% of the time."""
    low, high = stats.binom.interval(0.999, n, p)
    return low / n, high / n


def with_mean_and_std(mean: float, std: float, n: int) -> np.ndarray:
    x = np.random.default_rng(0).normal(size=n)
    return mean + std * (x - x.mean()) / x.std(ddof=1)
