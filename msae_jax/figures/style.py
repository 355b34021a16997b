"""One colour and one name for a model everywhere, from the colour-blind safe Okabe-Ito palette."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from msae_jax import models

BLUE, ORANGE, GREEN, PINK = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
SKY, GOLD, BLACK, GREY = "#56B4E9", "#E69F00", "#000000", "#999999"

PALETTE = {"blue": BLUE, "orange": ORANGE, "green": GREEN, "pink": PINK, "sky": SKY, "gold": GOLD}
"""The names that a model's record may have as its colour, beside Matplotlib's own."""

COLOURS = {
    "original": BLACK,
    "matched parameters": GREEN,
    "matched latent": PINK,
    "ae3": ORANGE,
}
"""Of what is drawn beside the registered models."""

LABELS = {
    "matched parameters": "baseline, matched parameters",
    "matched latent": "baseline, matched latent",
    "ae3": "3-layer autoencoder",
    "lgta without equivariance": "L-GTA without equivariance",
}
CLASSES = [BLACK, GOLD, SKY, GREEN, "#F0E442", BLUE, ORANGE, PINK, GREY, "#7F3C8D"]
"""Ten classes; figures also tell them apart by marker."""
MARKERS = ["o", "s", "^", "v", "D", "P", "X", "<", ">", "*"]

STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "svg.fonttype": "none",  # text as text, in the font of the reader
    "svg.hashsalt": "msae_jax",  # the same figure gives the same file
}
_MORE = (SKY, GOLD, PINK, GREY, BLACK, "#7F3C8D")


def colour(name: str, position: int = 0) -> str:
    """Returns the colour of a model, also in "label, how"; else one by position in the figure."""
    labels = {key: models.record(key).label for key in models.names()} | LABELS
    own = next((k for k, text in labels.items() if text and name.startswith(f"{text}, ")), name)
    if own in models.names() and (chosen := models.record(own).colour) is not None:
        return PALETTE.get(chosen, chosen)
    return COLOURS.get(own, _MORE[position % len(_MORE)])


def label(name: str, default: str | None = None) -> str:
    """Returns the name to write of a model; of what has none, `default`, or else its name."""
    own = models.record(name).label if name in models.names() else LABELS.get(name)
    return own or default or name


def save(figure: Figure, path: Path) -> None:
    """Writes a figure as PNG and SVG beside each other; `path` has no suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(STYLE):
        figure.savefig(
            path.with_suffix(".png"),
            dpi=100,
            metadata={"Software": None},
            pil_kwargs={"optimize": True},
        )
        figure.savefig(path.with_suffix(".svg"), dpi=100, metadata={"Date": None})
