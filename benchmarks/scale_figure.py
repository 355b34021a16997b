"""The figure of `scale.py`."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from benchmarks.scale_axes import Axis
from msae_jax.figures.style import GREY, STYLE, colour, label


def draw(
    results: Sequence[dict[str, Any]], all_axes: Sequence[Axis], models: Sequence[str]
) -> Figure:
    """Draws seconds against size, a panel an axis, with the line of linear growth."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(11.5, 7.2), layout="constrained")
        grid = figure.subplots(2, 3).ravel()
        for axes, axis in zip(grid, all_axes, strict=False):
            text = []
            for marker, result in zip(
                "os", [r for r in results if r["axis"] == axis.name], strict=False
            ):
                name, points = result["model"], result["points"]
                sizes = np.array([point["size"] for point in points])
                median = np.array([statistics.median(point["seconds"]) for point in points])
                spread = [
                    median - [min(point["seconds"]) for point in points],
                    [max(point["seconds"]) for point in points] - median,
                ]
                axes.errorbar(
                    sizes,
                    median,
                    spread,
                    color=colour(name),
                    marker=marker,
                    capsize=3,
                    markersize=5,
                )
                anchor = 0 if axis.ideal < 0 else -1  # of a line through what has least overhead
                line = median[anchor] * (sizes / sizes[anchor]) ** axis.ideal
                axes.plot(sizes, line, "--", color=GREY, linewidth=1, zorder=1)
                text.append(f"{label(name)}: slope {result['slope']:.2f}")
            axes.set(xscale="log", yscale="log", xlabel=axis.label, ylabel="seconds an epoch")
            if axis.name == "devices":
                axes.set_xticks(sizes, [str(size) for size in sizes])
                axes.xaxis.set_minor_locator(NullLocator())
            axes.set_title("\n".join(text), fontsize=9, loc="left")
        for axes in grid[len(all_axes) :]:
            axes.set_axis_off()
            for marker, name in zip("os", models, strict=True):
                axes.plot(
                    [], [], color=colour(name), marker=marker, markersize=5, label=label(name)
                )
            axes.plot([], [], "--", color=GREY, linewidth=1, label="linear: slope 1; devices: -1")
            axes.legend(
                loc="center", frameon=False, title="Median of the repeats,\nlowest to highest"
            )
    return figure
