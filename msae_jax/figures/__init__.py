"""Figures from arrays; matplotlib only. Each function returns a figure, `save` writes it."""

from msae_jax.figures.bars import class_counts, seed_bars
from msae_jax.figures.curves import curve_panels, loss_curves, path_steps, signal_grid
from msae_jax.figures.images import image_rows, image_squares, image_strips, tiled
from msae_jax.figures.panels import effect_panels, seed_panels, trade_panels
from msae_jax.figures.points import class_scatter, seed_points
from msae_jax.figures.series import augmented_series, series_alarms
from msae_jax.figures.style import COLOURS, label, save

__all__ = [
    "COLOURS",
    "augmented_series",
    "class_counts",
    "class_scatter",
    "curve_panels",
    "effect_panels",
    "image_rows",
    "image_squares",
    "image_strips",
    "label",
    "loss_curves",
    "path_steps",
    "save",
    "seed_bars",
    "seed_panels",
    "seed_points",
    "series_alarms",
    "signal_grid",
    "tiled",
    "trade_panels",
]
