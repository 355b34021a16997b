"""The figures of the study of generation: samples side by side, measures, who pays what for them.

Samples are the first five of the first seed that did not diverge; nobody chose them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from msae_jax import figures
from msae_jax.data.dataset import take
from msae_jax.experiments.generation_claims import DUELS, Studied
from msae_jax.experiments.generation_measures import SHOWN, some, unpacked
from msae_jax.experiments.generation_methods import CONTENDERS, METHODS, Contender

REAL = "real test images"
PLAYERS = dict(zip(DUELS, ("model", "discriminator"), strict=True))


def draw(every: Sequence[Studied]) -> dict[str, Figure]:
    """Returns all figures by name; a column or a panel is a data set."""
    floors = {studied.images.words: float(np.mean(studied.floor("frechet"))) for studied in every}
    distances = {
        studied.images.words: {
            contender.words: np.array([*studied.of(contender, "frechet").values()])
            for contender in CONTENDERS
        }
        for studied in every
    }
    return {
        "samples": figures.image_strips(
            {studied.images.words: samples(studied) for studied in every}
        ),
        "frechet": figures.seed_panels(
            distances, floors, quantity="Fréchet distance", source="other real images"
        ),
        "reconstruction_cost": figures.trade_panels(
            {studied.images.words: _against_errors(studied) for studied in every},
            floors,
            xlabel="error of reconstruction (MSE)",
            ylabel="Fréchet distance",
            logarithmic=True,
            source="other real images",
        ),
        "precision_recall": figures.trade_panels(
            {studied.images.words: _precision_recall(studied) for studied in every},
            xlabel="recall",
            ylabel="precision",
        ),
        "discriminators": figures.curve_panels(
            {studied.images.words: _duels(studied) for studied in every}
        ),
    }


def samples(studied: Studied) -> dict[str, np.ndarray]:
    """Returns real test images and samples of each contender that has any, `[SHOWN, H, W, C]`.

    Where every seed of a contender diverged, its samples are white.
    """
    x = studied.images.dataset.test.x
    real = np.asarray(take(x, some(len(x), SHOWN))) / 255
    shown = {REAL: real}
    for contender in CONTENDERS:
        first = next(iter(studied.found[contender.method].values()), None)
        white = np.ones_like(real)
        own = white if first is None else unpacked(first["priors"][contender.prior]["shown"])
        shown[contender.words] = own
    return shown


def _against_errors(studied: Studied) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Returns of each contender the error and the distance of its seeds."""
    errors = studied.errors()
    return {
        contender.words: (
            np.array([*errors[contender.method].values()]),
            np.array([*studied.of(contender, "frechet").values()]),
        )
        for contender in CONTENDERS
    }


def _precision_recall(studied: Studied) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    def both(contender: Contender) -> tuple[np.ndarray, np.ndarray]:
        recall, precision = (
            np.array([*studied.of(contender, measure).values()])
            for measure in ("recall", "precision")
        )
        return recall, precision

    return {contender.words: both(contender) for contender in CONTENDERS}


def _duels(studied: Studied) -> dict[str, np.ndarray]:
    """Returns what both players lost, `[seeds, epochs]`, of each adversarial method."""
    return {
        f"{chosen.words}, {player}": studied.trained[method].metrics(f"train_{metric}")
        for method, chosen in METHODS.items()
        if chosen.adversarial
        for metric, player in PLAYERS.items()
    }
