"""Several things side by side: curves of several quantities, images in squares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from msae_jax.figures.style import BLACK, STYLE, colour, label

_DOTS: dict[str, Any] = {
    "linestyle": "none",
    "marker": "o",
    "markersize": 4.5,
    "markerfacecolor": "white",
}


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
                (line,) = axes.plot(epochs, np.nanmean(values, 0), color=tint)
                lines.setdefault(label(name), line)
                low, high = np.nanmin(values, 0), np.nanmax(values, 0)
                axes.fill_between(epochs, low, high, color=tint, alpha=0.2, linewidth=0)
                points = (published or {}).get(quantity, {}).get(name, {})
                axes.plot(list(points), list(points.values()), color=tint, zorder=3, **_DOTS)
            axes.set(xlabel="epoch", ylabel=f"{quantity} ({unit})")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if published:
            lines["published, one run"] = Line2D([], [], color=BLACK, **_DOTS)
        figure.legend(list(lines.values()), list(lines), loc="outside right center", frameon=False)
        figure.suptitle("Mean over seeds; bands span the lowest and highest seed", fontsize=10)
    return figure


def image_squares(panels: Mapping[str, np.ndarray], *, columns: int = 3) -> Figure:
    """Draws images `[n, H, W]` or `[n, H, W, 1]` in [0, 1] in grids, one a name, side by side."""
    with matplotlib.rc_context({**STYLE, "axes.grid": False}):
        spaced = ConstrainedLayoutEngine(w_pad=0.12)  # inches: panels further apart than images
        figure = Figure(figsize=(3.2 * len(panels), 3.5), layout=spaced)
        for axes, (name, images) in zip(
            figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
        ):
            axes.imshow(_tiled(images, columns), cmap="gray", vmin=0, vmax=1, interpolation="none")
            axes.set_title(label(name), fontsize=10)
            axes.set_axis_off()
    return figure


def _tiled(images: np.ndarray, columns: int, gap: int = 1) -> np.ndarray:
    """Returns one image of all, row by row, with white between them and for those missing."""
    images = np.asarray(images, np.float64).reshape(len(images), *np.shape(images)[1:3])
    padding = ((0, -len(images) % columns), (0, gap), (0, gap))
    padded = np.pad(images, padding, constant_values=1.0)
    _, height, width = padded.shape
    tiled = padded.reshape(-1, columns, height, width).swapaxes(1, 2)
    return tiled.reshape(-1, columns * width)[:-gap, :-gap]
