"""Bars: how many samples each class has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from msae_jax.figures.style import STYLE, colour


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
