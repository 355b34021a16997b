"""Bars: results with their values, and how many samples each class has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from msae_jax.analysis import statistics
from msae_jax.figures.style import BLACK, STYLE, colour, label


def class_counts(labels: Mapping[str, np.ndarray], class_names: Sequence[str]) -> Figure:
    """Draws how many samples each class has, as bars with their counts; a panel a split.

    Args:
      labels: by split, classes `[N]`, indices into `class_names`.
    """
    with matplotlib.rc_context(STYLE):
        width = 0.62 * len(class_names) * len(labels) + 0.8
        figure = Figure(figsize=(width, 3.2), layout="constrained")
        panels = figure.subplots(1, len(labels), squeeze=False)[0]
        for i, (axes, (name, y)) in enumerate(zip(panels, labels.items(), strict=True)):
            counts = np.bincount(y, minlength=len(class_names))
            bars = axes.bar(class_names, counts, color=colour(name, i))
            axes.bar_label(bars, fmt="{:,.0f}", fontsize=8, padding=2)
            axes.set(xlabel="class", ylabel="samples")
            axes.set_title(f"{name}: {len(y):,} samples", fontsize=10)
            axes.grid(axis="x", visible=False)
            axes.set_axisbelow(True)
            axes.margins(y=0.1)
    return figure


def seed_bars(
    values: Mapping[str, np.ndarray],
    published: Mapping[str, float] | None = None,
    *,
    quantity: str = "test error",
    unit: str = "MSE per value",
) -> Figure:
    """Draws the mean over seeds as a bar with its value, its 95% interval, and a point a seed.

    Args:
      values: by model name, `[seeds]`.
      published: by model name, drawn as a line across the bar.
    """
    published = published or {}
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.5, 0.55 * len(values) + 1.3), layout="constrained")
        axes = figure.subplots()
        for i, (name, listed) in enumerate(values.items()):
            tint, mean = colour(name, i), statistics.mean_interval(listed)
            axes.barh(i, mean.mean, 0.7, color=tint, alpha=0.45)
            spread = np.linspace(-0.15, 0.15, len(listed)) if len(listed) > 1 else [0.0]
            axes.plot(listed, i + np.asarray(spread), "o", color=tint, markersize=4)
            ends = [mean.mean, *listed, published.get(name, mean.mean)]
            if mean.n > 1:
                error = [[mean.mean - mean.low], [mean.high - mean.mean]]
                axes.errorbar(mean.mean, i, xerr=error, color=BLACK, capsize=4, linewidth=1)
                ends.append(mean.high)
            if name in published:
                axes.vlines(published[name], i - 0.42, i + 0.42, color=BLACK, linestyle="--")
            text = f"{mean.mean:#.4g}"
            if name in published:
                text += f"; {published[name]:.4g} published"
            axes.annotate(
                text, (max(ends), i), (6, 0), textcoords="offset points", va="center", fontsize=9
            )
        if published:
            axes.plot([], [], "--", color=BLACK, label="published, one run")
            figure.legend(loc="outside upper right", frameon=False)
        names = [f"{label(name)} ({len(v)} seeds)" for name, v in values.items()]
        axes.set_yticks(range(len(values)), names)
        axes.invert_yaxis()
        axes.margins(x=0.36 if published else 0.1)  # room for the values
        axes.set_xlabel(f"{quantity} ({unit})")
        axes.set_title("Mean, its 95% interval, a point a seed", fontsize=10, loc="left")
        axes.grid(axis="y", visible=False)
        axes.set_axisbelow(True)
    return figure
