"""Images in rows, in squares, and in strips of several data sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from msae_jax.figures.style import STYLE, label


def image_rows(
    rows: Mapping[str, np.ndarray],
    *,
    titles: Sequence[str] | None = None,
    captions: Mapping[str, Sequence[str]] | None = None,
) -> Figure:
    """Draws images `[n, H, W]` or `[n, H, W, C]` in [0, 1] in a grid, a row a name; C is 1 or 3.

    Args:
      titles: over each column. captions: by row, under each of its images.
    """
    count = max(len(images) for images in rows.values())
    captions = captions or {}
    height = sum(1.0 if name in captions else 0.85 for name in rows) + 0.25
    with matplotlib.rc_context({**STYLE, "axes.grid": False, "font.size": 8}):
        figure = Figure(figsize=(0.85 * count + 1.3, height), layout="constrained")
        grid = figure.subplots(len(rows), count, squeeze=False)
        for r, (axes_row, (name, images)) in enumerate(zip(grid, rows.items(), strict=True)):
            images = np.asarray(images)
            images = images[..., 0] if images.shape[3:] == (1,) else images
            for i, axes in enumerate(axes_row):
                axes.set(xticks=[], yticks=[])
                axes.spines[:].set_visible(False)
                if i < len(images):
                    axes.imshow(images[i], cmap="gray", vmin=0, vmax=1, interpolation="none")
                if name in captions and i < len(images):
                    axes.set_xlabel(captions[name][i], fontsize=7, labelpad=1)
                if r == 0 and titles is not None:
                    axes.set_title(titles[i], fontsize=8, pad=2)
            axes_row[0].set_ylabel(
                label(name).replace(", ", ",\n"), rotation=0, ha="right", va="center"
            )
    return figure


def image_squares(panels: Mapping[str, np.ndarray], *, columns: int = 3) -> Figure:
    """Draws images `[n, H, W]` or `[n, H, W, C]` in [0, 1] in grids, one a name, side by side.

    C is 1 or 3.
    """
    with matplotlib.rc_context({**STYLE, "axes.grid": False}):
        spaced = ConstrainedLayoutEngine(w_pad=0.12)  # inches: panels further apart than images
        figure = Figure(figsize=(3.2 * len(panels), 3.5), layout=spaced)
        for axes, (name, images) in zip(
            figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
        ):
            axes.imshow(tiled(images, columns), cmap="gray", vmin=0, vmax=1, interpolation="none")
            axes.set_title(label(name), fontsize=10)
            axes.set_axis_off()
    return figure


def image_strips(panels: Mapping[str, Mapping[str, np.ndarray]]) -> Figure:
    """Draws images `[n, H, W]` or `[n, H, W, C]` in [0, 1]: a column a data set, a strip a name.

    Args:
      panels: by title and name; the same names in each. C is 1 or 3.
    """
    names = list(next(iter(panels.values())))
    count = max(len(images) for strips in panels.values() for images in strips.values())
    with matplotlib.rc_context({**STYLE, "axes.grid": False}):
        size = (0.6 * count * len(panels) + 2.0, 0.65 * len(names) + 0.4)
        figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(h_pad=0.02))
        grid = figure.subplots(len(names), len(panels), squeeze=False)
        for column, (title, strips) in zip(grid.T, panels.items(), strict=True):
            for axes, name in zip(column, names, strict=True):
                strip = tiled(strips[name], count)
                axes.imshow(strip, cmap="gray", vmin=0, vmax=1, interpolation="none")
                axes.set(xticks=[], yticks=[])
                axes.spines[:].set_visible(False)
            column[0].set_title(title, fontsize=10)
        for axes, name in zip(grid[:, 0], names, strict=True):
            text = label(name).replace(", ", ",\n")
            axes.set_ylabel(text, rotation=0, ha="right", va="center", fontsize=9)
    return figure


def tiled(images: np.ndarray, columns: int, gap: int = 1) -> np.ndarray:
    """Returns one image of n, row by row, with white between them and for those missing.

    Args:
      images: `[n, H, W]` or `[n, H, W, C]`, C 1 or 3. gap: pixels between them.

    Returns:
      float64 `[rows (H + gap) - gap, columns (W + gap) - gap]`, of colour images with a last axis.
    """
    images = np.asarray(images, np.float64)
    images = images.reshape(*images.shape[:3], -1)
    padded = np.pad(
        images, ((0, -len(images) % columns), (0, gap), (0, gap), (0, 0)), constant_values=1.0
    )
    _, height, width, colours = padded.shape
    grid = padded.reshape(-1, columns, height, width, colours).swapaxes(1, 2)
    whole = grid.reshape(-1, columns * width, colours)[:-gap, :-gap]
    return whole[..., 0] if colours == 1 else whole
