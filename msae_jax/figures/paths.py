"""Paths through a latent space."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from msae_jax.figures.style import STYLE, colour, label

_LINES = ("-", "--", ":", "-.")


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
                tint = colour(name, i)
                text = f"{label(name)}, {kind}"
                axes.plot(t, steps.mean(0), line, color=tint, label=text)
                axes.fill_between(
                    t, steps.min(0), steps.max(0), color=tint, alpha=0.15, linewidth=0
                )
        axes.set(xlabel="position on the path, 0 to 1", ylabel="change per frame (RMS per pixel)")
        axes.set_xlim(0, 1)
        axes.set_ylim(bottom=0)
        axes.set_title("Means over pairs and seeds; bands span the seeds", fontsize=10)
        axes.legend(frameon=False)
    return figure
