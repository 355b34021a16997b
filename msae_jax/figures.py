"""Figures from arrays. A model has one colour everywhere, from the colour-blind safe Okabe-Ito."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

COLOURS = {
    "msae": "#0072B2",
    "baseline": "#D55E00",
    "original": "#000000",
}
LABELS = {"msae": "multi-scale", "baseline": "baseline", "original": "original"}

_STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "svg.hashsalt": "msae_jax",  # the same figure gives the same file
}


def loss_curves(
    curves: Mapping[str, np.ndarray],
    published: Mapping[str, Sequence[float]] | None = None,
    *,
    unit: str = "MSE per value",
) -> Figure:
    """Draws training loss against the epoch: a line for the mean, a band for the range over seeds.

    Args:
      curves: by model name, `[seeds, epochs]`.
      published: by model name, `[epochs]`, drawn as dots.
      unit: of the loss.
    """
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(7, 4.2), layout="constrained")
        axes = figure.subplots()
        for name, values in curves.items():
            epochs = np.arange(1, values.shape[1] + 1)
            label = f"{LABELS[name]}, mean of {len(values)} seeds"
            axes.plot(epochs, values.mean(0), color=COLOURS[name], label=label)
            low, high = values.min(0), values.max(0)
            axes.fill_between(epochs, low, high, color=COLOURS[name], alpha=0.2, linewidth=0)
        for name, points in (published or {}).items():
            epochs = np.arange(1, len(points) + 1)
            axes.plot(
                epochs,
                points,
                linestyle="none",
                marker="o",
                markersize=3.5,
                markerfacecolor="white",
                color=COLOURS[name],
                label=f"{LABELS[name]}, published",
            )
        axes.set(xlabel="epoch", ylabel=f"training loss ({unit})", yscale="log")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_title("Training loss; bands span the lowest and highest seed", fontsize=10)
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
    with matplotlib.rc_context({**_STYLE, "font.size": 8}):
        figure = Figure(figsize=(1.55 * count, 1.35 * len(rows)), layout="constrained")
        grid = figure.subplots(len(rows), count, sharex=True, sharey=True, squeeze=False)
        for axes_row, (name, signals) in zip(grid, rows.items(), strict=True):
            for i, axes in enumerate(axes_row):
                if signals is not original:
                    axes.plot(t, original[i], color="#999999", linewidth=0.8)
                    axes.set_title(f"MSE {errors[name][i]:.4f}", fontsize=7, pad=2)
                axes.plot(t, signals[i], color=COLOURS[name], linewidth=1.0)
            axes_row[0].set_ylabel(LABELS[name])
        for axes in grid[-1]:
            axes.set_xlabel("time")
    return figure


def save(figure: Figure, path: Path) -> None:
    """Writes a figure as PNG and SVG beside each other; `path` has no suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(_STYLE):
        figure.savefig(path.with_suffix(".png"), dpi=150, metadata={"Software": None})
        figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})
