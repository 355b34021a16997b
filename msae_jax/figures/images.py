"""Images in rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from msae_jax.figures.style import STYLE, label


def image_rows(
    rows: Mapping[str, np.ndarray],
    *,
    titles: Sequence[str] | None = None,
    captions: Mapping[str, Sequence[str]] | None = None,
) -> Figure:
    """Draws images `[n, H, W]` or `[n, H, W, 1]` in [0, 1] in a grid, a row a name.

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
            images = np.asarray(images).reshape(len(images), *np.shape(images)[1:3])
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
