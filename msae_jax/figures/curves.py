"""Curves over epochs and along paths, and signals over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from msae_jax.figures.style import BLACK, STYLE, colour, label

_DOTS: dict[str, Any] = {"linestyle": "none", "marker": "o", "markerfacecolor": "white"}
_LINES = ("-", "--", ":", "-.")


def _mean_and_range(
    axes: Axes, x: np.ndarray, values: np.ndarray, tint: str, alpha: float = 0.2, **line: Any
) -> Line2D:
    """Draws the mean of `[seeds, n]` over seeds as a line, and their range as a band."""
    (drawn,) = axes.plot(x, np.nanmean(values, 0), color=tint, **line)
    low, high = np.nanmin(values, 0), np.nanmax(values, 0)
    axes.fill_between(x, low, high, color=tint, alpha=alpha, linewidth=0)
    return drawn


def loss_curves(
    curves: Mapping[str, np.ndarray],
    published: Mapping[str, Sequence[float]] | None = None,
    *,
    unit: str = "MSE per value",
    quantity: str = "training loss",
    log: bool = True,
) -> Figure:
    """Draws training loss against the epoch: a line for the mean, a band for the range over seeds.

    Args:
      curves: by model name, `[seeds, epochs]`.
      published: by model name, `[epochs]`, drawn as dots.
      quantity, unit: of what is drawn. log: a logarithmic axis.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7, 4.2), layout="constrained")
        axes = figure.subplots()
        for i, (name, values) in enumerate(curves.items()):
            epochs = np.arange(1, values.shape[1] + 1)
            text = f"{label(name)}, mean of {len(values)} seeds"
            _mean_and_range(axes, epochs, values, colour(name, i), label=text)
        for name, points in (published or {}).items():
            epochs = np.arange(1, len(points) + 1)
            tint, text = colour(name, list(curves).index(name)), f"{label(name)}, published"
            axes.plot(epochs, points, color=tint, markersize=3.5, label=text, **_DOTS)
        axes.set(xlabel="epoch", ylabel=f"{quantity} ({unit})", yscale="log" if log else "linear")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_title(
            f"{quantity[:1].upper()}{quantity[1:]}; bands span the lowest and highest seed",
            fontsize=10,
        )
        axes.legend(frameon=False)
    return figure


def curve_panels(
    panels: Mapping[str, Mapping[str, np.ndarray]],
    published: Mapping[str, Mapping[str, Mapping[int, float]]] | None = None,
    *,
    unit: str = "nats per sample",
) -> Figure:
    """Draws quantities against the epoch, a panel each, with one legend beside them all.

    A line is the mean over seeds, its band their range. Models without a colour of their own have
    one by their position in a panel: give them in the same order everywhere.

    Args:
      panels: by quantity and model name, `[seeds, epochs]`, NaN where a seed has none.
      published: by quantity, model name and epoch; drawn as circles.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.4 * len(panels) + 2.4, 4.2), layout="constrained")
        lines: dict[str, Line2D] = {}
        for axes, (quantity, curves) in zip(
            figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
        ):
            for i, (name, values) in enumerate(curves.items()):
                tint, epochs = colour(name, i), np.arange(1, values.shape[1] + 1)
                lines.setdefault(label(name), _mean_and_range(axes, epochs, values, tint))
                points = (published or {}).get(quantity, {}).get(name, {})
                axes.plot(
                    list(points),
                    list(points.values()),
                    color=tint,
                    zorder=3,
                    **_DOTS,
                    markersize=4.5,
                )
            axes.set(xlabel="epoch", ylabel=f"{quantity} ({unit})")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if published:
            lines["published, one run"] = Line2D([], [], color=BLACK, markersize=4.5, **_DOTS)
        figure.legend(list(lines.values()), list(lines), loc="outside right center", frameon=False)
        figure.suptitle("Mean over seeds; bands span the lowest and highest seed", fontsize=10)
    return figure


def path_steps(models: Mapping[str, Mapping[str, np.ndarray]]) -> Figure:
    """Draws how far apart the frames of a path are: a line for the mean, a band for the seeds.

    Args:
      models: by model name and kind of path, `[seeds, T - 1]`: the root mean squared difference
        per pixel from each of T frames, evenly spaced from 0 to 1, to the next.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7, 4.2), layout="constrained")
        axes = figure.subplots()
        for i, (name, kinds) in enumerate(models.items()):
            for line, (kind, steps) in zip(_LINES, kinds.items(), strict=False):
                count = steps.shape[1]
                t = (np.arange(count) + 0.5) / count
                style = {"linestyle": line, "label": f"{label(name)}, {kind}"}
                _mean_and_range(axes, t, steps, colour(name, i), 0.15, **style)
        axes.set(xlabel="position on the path, 0 to 1", ylabel="change per frame (RMS per pixel)")
        axes.set_xlim(0, 1)
        axes.set_ylim(bottom=0)
        axes.set_title("Means over pairs and seeds; bands span the seeds", fontsize=10)
        axes.legend(frameon=False)
    return figure


def signal_grid(rows: Mapping[str, np.ndarray], *, errors: Mapping[str, np.ndarray]) -> Figure:
    """Draws signals `[n, length]` in a grid, a row a name, over the original in grey.

    Args:
      rows: by name, the original first.
      errors: by model name, `[n]` squared errors, mean per value, written over each panel.
    """
    original = next(iter(rows.values()))
    count, length = original.shape
    t = np.arange(length) / length
    with matplotlib.rc_context({**STYLE, "font.size": 8}):
        figure = Figure(figsize=(1.55 * count, 1.35 * len(rows)), layout="constrained")
        grid = figure.subplots(len(rows), count, sharex=True, sharey=True, squeeze=False)
        for axes_row, (name, signals) in zip(grid, rows.items(), strict=True):
            for i, axes in enumerate(axes_row):
                if signals is not original:
                    axes.plot(t, original[i], color="#999999", linewidth=0.8)
                    axes.set_title(f"MSE {errors[name][i]:.4f}", fontsize=7, pad=2)
                axes.plot(t, signals[i], color=colour(name), linewidth=1.0)
            axes_row[0].set_ylabel(label(name))
        for axes in grid[-1]:
            axes.set_xlabel("time")
    return figure
