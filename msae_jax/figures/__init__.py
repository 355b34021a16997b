"""Figures from arrays; matplotlib only. Each function returns a figure, `save` writes it."""

from msae_jax.figures.curves import loss_curves, signal_grid
from msae_jax.figures.images import image_rows
from msae_jax.figures.points import class_scatter, seed_points
from msae_jax.figures.style import COLOURS, LABELS, save

__all__ = [
    "COLOURS",
    "LABELS",
    "class_scatter",
    "image_rows",
    "loss_curves",
    "save",
    "seed_points",
    "signal_grid",
]
