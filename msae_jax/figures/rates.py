"""The loss against the learning rate of a range test."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from msae_jax.figures.style import BLACK, BLUE, ORANGE, STYLE


def range_test_curves(
    rates: np.ndarray,
    losses: np.ndarray,
    smoothed: np.ndarray,
    suggestions: Sequence[float] | np.ndarray,
    suggested: float,
    *,
    title: str,
) -> Figure:
    """Draws the losses of each seed, and which learning rate they suggest.

    Args:
      rates: `[n]`. losses, smoothed: `[seeds, n]`, NaN where the smoothed loss has diverged.
      suggestions: of each seed; their range is a band. suggested: the line in it.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7, 4.2), layout="constrained")
        axes = figure.subplots()
        for i, (raw, line) in enumerate(zip(losses, smoothed, strict=True)):
            seen = np.where(np.isfinite(line), raw, np.nan)
            axes.plot(rates, seen, color=BLUE, alpha=0.15, linewidth=0.8)
            name = f"loss, smoothed, of {len(losses)} seeds" if not i else None
            axes.plot(rates, line, color=BLUE, alpha=0.8, linewidth=1.2, label=name)
        low, high = float(np.min(suggestions)), float(np.max(suggestions))
        axes.axvspan(low, high, color=ORANGE, alpha=0.2, linewidth=0)
        text = f"suggested {suggested:.2g} (seeds: {low:.2g} to {high:.2g})"
        axes.axvline(suggested, color=ORANGE, linewidth=1.5, label=text)
        known = smoothed[np.isfinite(smoothed)]
        if known.min() > 0 and known.max() > 5 * known.min():
            axes.set_yscale("log")
        axes.set(xscale="log", xlabel="learning rate", ylabel="training loss of the step")
        axes.set_title(title, fontsize=10, color=BLACK)
        axes.legend(frameon=False)
    return figure
