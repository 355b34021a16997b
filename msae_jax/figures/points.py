"""Points: results a seed each with their intervals, and latents in the plane."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from msae_jax.analysis import statistics
from msae_jax.figures.style import BLACK, CLASSES, MARKERS, STYLE, colour, label


def seed_points(
    values: Mapping[str, np.ndarray],
    published: Mapping[str, float] | None = None,
    *,
    quantity: str = "test error",
    unit: str = "MSE per value",
) -> Figure:
    """Draws every seed as a point, beside it the mean and its 95% interval; a column a model.

    Args:
      values: by model name, `[seeds]`.
      published: by model name, drawn as a dash.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(max(5.0, 1.8 * len(values)), 4.2), layout="constrained")
        axes = figure.subplots()
        for i, (name, listed) in enumerate(values.items()):
            tint = colour(name, i)
            spread = np.random.default_rng(0).uniform(-0.18, 0.02, len(listed))
            axes.plot(i + spread, listed, "o", color=tint, alpha=0.4, markersize=4, linewidth=0)
            mean = statistics.mean_interval(listed)
            error = None if mean.n < 2 else [[mean.mean - mean.low], [mean.high - mean.mean]]
            axes.errorbar(i + 0.2, mean.mean, error, fmt="o", color=tint, capsize=5, linewidth=2)
            text = f"{mean.mean:#.4g}"
            axes.annotate(text, (i + 0.27, mean.mean), va="center", fontsize=9)
        if published:
            for i, name in enumerate(values):
                if name in published:
                    axes.hlines(published[name], i - 0.3, i + 0.12, color=BLACK, linestyle="--")
            axes.plot([], [], "--", color=BLACK, label="published, one run")
            axes.legend(frameon=False)
        names = [f"{_wrapped(label(name))}\n{len(v)} seeds" for name, v in values.items()]
        axes.set_xticks(range(len(values)), names)
        axes.set_xlim(-0.5, len(values) - 0.2)
        axes.set_ylabel(f"{quantity} ({unit})")
        axes.set_title("A point a seed; mean with its 95% interval beside them", fontsize=10)
        axes.grid(axis="x", visible=False)
    return figure


def _wrapped(text: str) -> str:
    return text.replace(", ", ",\n")


def class_scatter(
    panels: Mapping[str, np.ndarray],
    y: np.ndarray,
    class_names: Sequence[str],
    *,
    axis_names: tuple[str, str] = ("component 1", "component 2"),
) -> Figure:
    """Draws latents in the plane, coloured and marked by class; a panel a model.

    Args:
      panels: by title, `[N, 2]`.
      y: classes `[N]`, indices into `class_names`.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.2 * len(panels) + 1.2, 4.2), layout="constrained")
        grid = figure.subplots(1, len(panels), squeeze=False)[0]
        for axes, (title, points) in zip(grid, panels.items(), strict=True):
            for k in sorted(set(y.tolist())):
                chosen = points[y == k]
                axes.scatter(
                    *chosen.T,
                    s=12,
                    color=CLASSES[k % len(CLASSES)],
                    marker=MARKERS[k % len(MARKERS)],
                    label=class_names[k],
                    linewidths=0,
                    rasterized=True,  # in an SVG, too: thousands of markers make it large
                )
            axes.set_title(label(title), fontsize=10)
            axes.set(xlabel=axis_names[0], ylabel=axis_names[1])
        handles, labels = grid[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside right center", frameon=False, markerscale=1.5)
    return figure
