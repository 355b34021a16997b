"""Figures from arrays; matplotlib only. Each function returns a figure, `save` writes it."""

from msae_jax.figures.bars import class_counts, seed_bars
from msae_jax.figures.curves import loss_curves, signal_grid
from msae_jax.figures.grids import curve_panels, image_squares
from msae_jax.figures.images import image_rows
from msae_jax.figures.paths import path_steps
from msae_jax.figures.points import class_scatter, seed_points
from msae_jax.figures.style import COLOURS, LABELS, label, save

__all__ = [
    "COLOURS",
    "LABELS",
    "class_counts",
    "class_scatter",
    "curve_panels",
    "image_rows",
    "image_squares",
    "label",
    "loss_curves",
    "path_steps",
    "save",
    "seed_bars",
    "seed_points",
    "signal_grid",
]
