"""Curves over epochs, and signals over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from msae_jax.figures.style import STYLE, colour, label


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
            axes.plot(epochs, np.nanmean(values, 0), color=colour(name, i), label=text)
            low, high = np.nanmin(values, 0), np.nanmax(values, 0)
            axes.fill_between(epochs, low, high, color=colour(name, i), alpha=0.2, linewidth=0)
        for name, points in (published or {}).items():
            epochs = np.arange(1, len(points) + 1)
            axes.plot(
                epochs,
                points,
                linestyle="none",
                marker="o",
                markersize=3.5,
                markerfacecolor="white",
                color=colour(name, list(curves).index(name)),
                label=f"{label(name)}, published",
            )
        axes.set(xlabel="epoch", ylabel=f"{quantity} ({unit})", yscale="log" if log else "linear")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_title(
            f"{quantity[:1].upper()}{quantity[1:]}; bands span the lowest and highest seed",
            fontsize=10,
        )
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
