"""Where the spread over seeds comes from: initial weights, data order, latent noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from msae_jax.errors import InputError


@dataclass(frozen=True)
class Source:
    """One source of variance, varied alone while the others were held at one value.

    Attributes:
      std: the standard deviation of the metric over `n` seeds (n - 1), in the metric's unit.
      low, high: the 95% interval of `std`, by the chi-squared distribution of the variance of a
        normal sample.
      share: the variance over the sum of the variances of the sources varied alone; NaN if that
        sum is 0. None for `all`, which varies everything together.
    """

    name: str
    n: int
    std: float
    low: float
    high: float
    share: float | None


def split(values: Mapping[str, Sequence[float]]) -> list[Source]:
    """Splits the spread of a metric among its sources.

    Args:
      values: by source, the metric of each seed that varied this source alone; under `all`, of
        the seeds that varied everything.

    Raises:
      InputError: a source with fewer than two finite values.
    """
    from scipy import stats

    variances = {}
    for name, listed in values.items():
        found = np.asarray(listed, np.float64)
        if len(found) < 2 or not np.isfinite(found).all():
            raise InputError(
                f"the spread from {name} needs at least 2 finite values, got {found.tolist()}."
            )
        variances[name] = float(found.var(ddof=1)) if np.ptp(found) else 0.0  # exactly
    total = sum(variance for name, variance in variances.items() if name != "all")
    sources = []
    for name, variance in variances.items():
        n = len(values[name])
        squares = variance * (n - 1)
        low, high = (float((squares / stats.chi2.ppf(q, n - 1)) ** 0.5) for q in (0.975, 0.025))
        share = None if name == "all" else variance / total if total else float("nan")
        sources.append(Source(name, n, variance**0.5, low, high, share))
    return sources


def table(sources: Sequence[Source], metric: str) -> str:
    """Returns the split as lines of text."""
    lines = [f"spread of {metric} over seeds, by what they vary"]
    alone = sum(s.share is not None for s in sources) > 1  # the share of a single source is 100%
    for s in sources:
        share = ", together" if s.share is None else ""
        if alone and s.share is not None and s.share == s.share:
            share = f", {100 * s.share:.0f}% of the variance"
        lines.append(
            f"  {s.name:6} std {s.std:.3g} (95% {s.low:.3g} to {s.high:.3g}, {s.n} seeds){share}"
        )
    return "\n".join(lines)
