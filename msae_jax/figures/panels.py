"""Panels side by side: results of several data sets, two measures, effects against strengths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from msae_jax import models
from msae_jax.figures.style import BLACK, CLASSES, MARKERS, STYLE, colour, label


def _colours(names: Sequence[str]) -> dict[str, str]:
    """Returns a colour for each name: of "model" and "model, how" its own, of others a free one."""
    own = {name: name.split(", ")[0] for name in names}
    keys = {label(key): key for key in models.names()} | {key: key for key in models.names()}
    found = {name: colour(keys[model]) for name, model in own.items() if model in keys}
    for name in names:
        if name not in found:
            offered = [colour(name, position) for position in range(len(names) + 6)]
            free = [tint for tint in offered if tint not in found.values()]
            found[name] = (free or offered)[0]
    return found


def seed_panels(
    panels: Mapping[str, Mapping[str, np.ndarray]],
    published: Mapping[str, float] | None = None,
    *,
    quantity: str,
    source: str = "published",
) -> Figure:
    """Draws a panel a data set: a row a method, every seed as a point, the mean as a bar's end.

    Args:
      panels: by title and method, `[seeds]`; the same methods in each.
      published: by title, drawn as a dashed line. source: what the line is called.
    """
    methods = list(next(iter(panels.values())))
    tints = _colours(methods)
    with matplotlib.rc_context(STYLE):
        size = (3.0 * len(panels) + 1.5, 0.42 * len(methods) + 1.5)
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axes, (title, values) in zip(grid, panels.items(), strict=True):
            for i, name in enumerate(methods):
                tint, listed = tints[name], np.asarray(values[name])
                count = len(listed)
                offsets = np.linspace(-0.2, 0.2, count) if count > 1 else np.zeros(count)
                axes.plot(listed, i + offsets, "o", color=tint, alpha=0.45, ms=4)
                if len(listed):
                    axes.plot(listed.mean(), i, "|", color=tint, markersize=16, markeredgewidth=2.5)
            if title in (published or {}):
                axes.axvline((published or {})[title], color=BLACK, linestyle="--", linewidth=1)
            axes.set_title(title, fontsize=10)
            axes.set_xlabel(quantity)
        grid[0].set_yticks(range(len(methods)), [label(name) for name in methods])
        grid[0].set_ylim(len(methods) - 0.5, -0.5)
        handles = [
            Line2D([], [], color=BLACK, marker="o", linestyle="none", alpha=0.45, label="a seed"),
            Line2D([], [], color=BLACK, marker="|", markersize=12, linestyle="none", label="mean"),
        ]
        if published:
            handles.append(Line2D([], [], color=BLACK, linestyle="--", label=source))
        figure.legend(handles=handles, loc="outside upper right", ncols=3, frameon=False)
    return figure


def effect_panels(
    panels: Mapping[str, Mapping[str, np.ndarray]],
    strengths: Sequence[float],
    *,
    xlabel: str = "strength",
    ylabel: str = "effect",
) -> Figure:
    """Draws effects against strengths on logarithmic axes, a panel a transform, a line a method.

    A line is the mean over seeds, its band their range.

    Args:
      panels: by title and method, `[seeds, strengths]`.
      strengths: increasing, above 0.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(3.5 * len(panels) + 2.2, 3.6), layout="constrained")
        grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        lines: dict[str, Line2D] = {}
        for axes, (title, methods) in zip(grid, panels.items(), strict=True):
            tints = _colours(list(methods))
            for name, effects in methods.items():
                tint = tints[name]
                (line,) = axes.plot(strengths, effects.mean(0), "o-", color=tint, markersize=4)
                axes.fill_between(
                    strengths, effects.min(0), effects.max(0), color=tint, alpha=0.2, linewidth=0
                )
                lines.setdefault(label(name), line)
            axes.set(xscale="log", yscale="log", xlabel=xlabel)
            axes.set_xticks(strengths, [f"{s:g}" for s in strengths])
            axes.minorticks_off()
            axes.set_title(title, fontsize=10)
        grid[0].set_ylabel(ylabel)
        figure.legend(list(lines.values()), list(lines), loc="outside right center", frameon=False)
    return figure


def trade_panels(
    panels: Mapping[str, Mapping[str, tuple[np.ndarray, np.ndarray]]],
    floors: Mapping[str, float] | None = None,
    *,
    xlabel: str,
    ylabel: str,
    logarithmic: bool = False,
    source: str = "floor",
) -> Figure:
    """Draws one measure against another, a panel a data set: seeds pale, the mean of each method.

    Args:
      panels: by title and method, two measures `[seeds]`, of at most ten methods.
      floors: by title, of the second measure, drawn as a dashed line. source: what it is called.
      logarithmic: whether the axis of the second measure is.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(3.4 * len(panels) + 2.6, 3.6), layout="constrained")
        lines: dict[str, Line2D] = {}
        for axes, (title, methods) in zip(
            figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
        ):
            for i, (name, (x, y)) in enumerate(methods.items()):
                style: dict[str, Any] = {"color": CLASSES[i], "marker": MARKERS[i], "ls": "none"}
                axes.plot(x, y, **style, alpha=0.35, markersize=4)
                if len(x):
                    (line,) = axes.plot(np.mean(x), np.mean(y), **style, markersize=8)
                    lines.setdefault(label(name), line)
            if title in (floors or {}):
                line = axes.axhline((floors or {})[title], color=BLACK, ls="--", linewidth=1)
                lines[source] = line
            axes.set(xlabel=xlabel, yscale="log" if logarithmic else "linear")
            axes.xaxis.set_major_locator(MaxNLocator(4))
            axes.set_title(title, fontsize=10)
        figure.axes[0].set_ylabel(ylabel)
        figure.legend(list(lines.values()), list(lines), loc="outside right center", frameon=False)
    return figure
