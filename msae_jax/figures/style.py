"""One colour and one name for a model everywhere, from the colour-blind safe Okabe-Ito palette."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, PINK = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
SKY, GOLD, BLACK, GREY = "#56B4E9", "#E69F00", "#000000", "#999999"

COLOURS = {
    "original": BLACK,
    "msae": BLUE,
    "baseline": ORANGE,
    "msae-mlp": BLUE,
    "baseline-mlp": ORANGE,
    "matched parameters": GREEN,
    "matched latent": PINK,
    "superres": GREEN,
    "conv": BLUE,
    "stacked": ORANGE,
    "vae3": BLUE,
    "vae5": GREEN,
    "ae5": ORANGE,
    "ae3": ORANGE,
}
LABELS = {
    "msae": "multi-scale",
    "msae-mlp": "multi-scale MLP",
    "baseline-mlp": "baseline MLP",
    "matched parameters": "baseline, matched parameters",
    "matched latent": "baseline, matched latent",
    "superres": "super-resolution",
    "conv": "convolutional",
    "vae3": "3-layer VAE",
    "vae5": "5-layer VAE",
    "ae5": "5-layer autoencoder",
    "ae3": "3-layer autoencoder",
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
    own = next((key for key, text in LABELS.items() if name.startswith(f"{text}, ")), name)
    return COLOURS.get(own, _MORE[position % len(_MORE)])


def label(name: str) -> str:
    """Returns the name to write of a model."""
    return LABELS.get(name, name)


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
