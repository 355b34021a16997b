"""The period of a series, from its autocorrelation."""

from __future__ import annotations

import numpy as np

from msae_jax.errors import InputError

DEFAULT_PERIOD = 125
"""What TSB-AD takes for the period of a series whose autocorrelation shows none."""


def period(series: np.ndarray) -> int:
    """Returns the period of a series `[T]` in points, by the rule of TSB-AD.

    It is the lag of the highest local maximum of the autocorrelation (of the first 20,000 points,
    lags 4 to 399). If that lag is not 6 to 303, or there is none, the period is 125. A NaN counts
    as the mean.

    Raises:
      InputError: not `[T]`, no points, or infinite values.
    """
    x = np.asarray(series, np.float64)
    if x.ndim != 1 or not x.size or np.isinf(x).any():
        raise InputError(f"a period needs a series [T] of finite values, got {list(x.shape)}.")
    x = x[:20_000]
    observed = ~np.isnan(x)
    centred = np.where(observed, x - x[observed].mean(), 0.0) if observed.any() else x * 0
    size = 2 ** int(np.ceil(np.log2(2 * len(x))))  # no lag wraps around
    spectrum = np.fft.rfft(centred, size)
    correlation = np.fft.irfft(np.abs(spectrum) ** 2, size)[: min(401, len(x))][3:]
    middle = correlation[1:-1]
    peaks = np.flatnonzero((middle > correlation[:-2]) & (middle > correlation[2:])) + 1
    if not peaks.size or not np.ptp(centred):
        return DEFAULT_PERIOD
    highest = int(peaks[np.argmax(correlation[peaks])])
    return highest + 3 if 3 <= highest <= 300 else DEFAULT_PERIOD
