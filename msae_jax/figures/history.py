"""Small figures of one run or a few, as reports show them beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from msae_jax.figures.style import BLACK, BLUE, GOLD, GREEN, GREY, ORANGE, PINK, SKY, STYLE

COLOURS = (BLUE, ORANGE, GREEN, PINK, SKY, GOLD, GREY, "#7F3C8D")
"""Of lines, by their position."""
_DASHES = ("-", "--", "-.", ":")
_WIDTH = 4.7  # inches: beside another on a page, and as wide as a phone


class Curve(NamedTuple):
    """A line over epochs: `values` `[seeds, epochs]`, NaN where a seed has none."""

    name: str
    values: np.ndarray


def epoch_curves(curves: Sequence[Curve], *, quantity: str, unit: str) -> Figure:
    """Draws a quantity against the epoch: lines are means over seeds, bands span their range.

    The axis is logarithmic where all values are positive and span more than a factor of five.

    Args:
      curves: at most as many as `COLOURS`; told apart by colour and by dashes.
    """
    with matplotlib.rc_context({**STYLE, "font.size": 9}):
        figure = Figure(figsize=(_WIDTH, 3.2), layout="constrained")
        axes = figure.subplots()
        for i, (name, values) in enumerate(curves):
            epochs = np.arange(1, values.shape[1] + 1)
            style: dict[str, Any] = {"color": COLOURS[i], "linestyle": _DASHES[i % len(_DASHES)]}
            dots = "o" if len(epochs) == 1 else None
            axes.plot(epochs, np.nanmean(values, 0), label=name, marker=dots, markersize=4, **style)
            low, high = np.nanmin(values, 0), np.nanmax(values, 0)
            axes.fill_between(epochs, low, high, color=COLOURS[i], alpha=0.2, linewidth=0)
        seen = np.concatenate([values[np.isfinite(values)] for _, values in curves])
        if len(seen) and seen.min() > 0 and seen.max() > 5 * seen.min():
            axes.set_yscale("log")
        axes.set(xlabel="epoch", ylabel=f"{quantity} ({unit})")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        figure.legend(loc="outside upper left", ncols=2, frameon=False)
    return figure


def reconstructed_curve(
    original: np.ndarray,
    reconstruction: np.ndarray,
    *,
    title: str,
    xlabel: str = "point",
    channels: Sequence[str] = ("value",),
    begin: int = 0,
) -> Figure:
    """Draws one sample `[L, C]` and its reconstruction, a panel a channel; NaN leaves a gap.

    Args:
      begin: the number of the first point on the axis.
    """
    points = np.arange(begin, begin + len(original))
    with matplotlib.rc_context({**STYLE, "font.size": 8}):
        height = 0.75 + 1.15 * len(channels)
        figure = Figure(figsize=(_WIDTH * 0.75, height), layout="constrained")
        panels = figure.subplots(len(channels), 1, sharex=True, squeeze=False)[:, 0]
        for i, (axes, name) in enumerate(zip(panels, channels, strict=True)):
            axes.plot(points, original[:, i], color=BLACK, linewidth=1.0)
            axes.plot(points, reconstruction[:, i], color=ORANGE, linewidth=1.2, linestyle="--")
            axes.set_ylabel(name)
        panels[0].set_title(title, fontsize=8)
        panels[-1].set_xlabel(xlabel)
    return figure
