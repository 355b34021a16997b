"""Sub-PCA, the strongest simple detector of TSB-AD, as a published number to check against."""

from __future__ import annotations

import numpy as np

from msae_jax.analysis.series_anomalies.periodicity import period as period_of
from msae_jax.errors import InputError


def sub_pca(series: np.ndarray, period: int | None = None) -> np.ndarray:
    """Returns the scores `[T]` of a series `[T]` by principal components of its windows.

    With all windows of one period, each position standardised, the score of a window x is the sum
    over all components v with the explained share r of |x - v| / r; the score stands at the centre
    of the window. It is fitted on the very series that it scores: no training part. |x - v| is not
    |x + v|, so the sign of a component matters: it is positive in the window that has most of it,
    as scikit-learn had it when the published numbers were made.

    Args:
      period: the window, in points; by default that of `period`.

    Raises:
      InputError: a series that is not `[T]`, has missing values, or is not longer than a period.

    Source: Aggarwal, "Outlier Analysis", 2017, as TSB-AD (Liu and Paparrizos, NeurIPS 2024) has it.
    """
    from scipy.spatial.distance import cdist

    x = np.asarray(series, np.float64)
    if x.ndim != 1 or not np.isfinite(x).all():
        raise InputError(f"Sub-PCA needs a finite series [T], got {list(x.shape)}.")
    width = period_of(x) if period is None else period
    if not 1 <= width < len(x):
        raise InputError(f"the period must be 1 to {len(x) - 1} points, got {width}.")
    windows = np.lib.stride_tricks.sliding_window_view(x, width)
    deviation = windows.std(axis=0)
    windows = (windows - windows.mean(axis=0)) / np.where(deviation > 0, deviation, 1)
    amounts, spread, components = np.linalg.svd(windows, full_matrices=False)
    most = np.abs(amounts).argmax(axis=0)
    components *= np.sign(amounts[most, np.arange(len(most))])[:, None]
    share = spread**2 / (spread**2).sum()
    scores = (cdist(windows, components) / share).sum(axis=1)
    return np.pad(scores, (width // 2, (width - 1) // 2), mode="edge")
