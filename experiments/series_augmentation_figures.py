"""The figures of augmentation: copies beside the original, effect against strength, the ratio."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import numpy as np

from msae_jax import figures
from msae_jax.analysis import augmentation as aug
from msae_jax.analysis.augmentation.comparison import STEPS
from msae_jax.experiments import series_augmentation_tourism as tourism
from msae_jax.experiments.series_augmentation_measures import Protocol
from msae_jax.experiments.series_augmentation_published import BySeed
from msae_jax.experiments.study import Setup
from msae_jax.fitting.ensemble import Ensemble

COPIES = 8
MONTHS = 60  # that are drawn
SERIES = 0  # the first of the file
DRAWN = ("pca", "pyramid", "lgta")  # beside the direct copies


def draw(
    setup: Setup,
    protocol: Protocol,
    found: Mapping[str, BySeed],
    trained: Mapping[str, Ensemble],
) -> None:
    """Draws all figures into the folder of the study."""
    methods = {name: rows for name, rows in found.items() if name != "copy"}
    effects = {
        name: {
            method: np.array([one[name]["effects"] for one in rows])
            for method, rows in methods.items()
        }
        for name in protocol.targets
    }
    figure = figures.effect_panels(
        effects,
        STEPS,
        xlabel="strength, times that of equal distance",
        ylabel="Wasserstein distance (deviations)",
    )
    figures.save(figure, setup.out / "series_effects")
    ratios = {
        name: {
            method: np.array([one[name]["ratio"] for one in rows])
            for method, rows in methods.items()
        }
        for name in protocol.targets
    }
    same = dict.fromkeys(protocol.targets, 100.0)
    figure = figures.seed_panels(ratios, same, quantity="PCA-2 ratio (%)", source="an exact copy")
    figures.save(figure, setup.out / "series_ratios")
    for name in protocol.targets:
        _draw_copies(setup, protocol, found, trained, name)


def _draw_copies(
    setup: Setup,
    protocol: Protocol,
    found: Mapping[str, BySeed],
    trained: Mapping[str, Ensemble],
    name: str,
) -> None:
    """Draws copies of one series by the first seed of each method, at equal distance."""
    windows = tourism.windows_of(protocol.x, protocol.scale)
    ways = {"direct": tourism.direct(name)}
    for method in [name for name in DRAWN if name in trained]:
        done = trained[method]
        codec = aug.model_codec(done.model, done.variables(0), windows)
        ways[method] = tourism.through(codec, protocol.scale, name)
    copies, titles = {}, {}
    for method, way in ways.items():
        measured = found[method][0][name]
        moved = aug.compiled(way)
        made = [
            np.asarray(moved(jax.random.key(i), protocol.x, measured["strength"]))[SERIES, :MONTHS]
            for i in range(COPIES)
        ]
        copies[method] = np.stack(made)
        titles[method] = f"{figures.label(method)}, distance {measured['distance']:.2f}"
    original = protocol.x[SERIES, :MONTHS]
    figure = figures.augmented_series(original, copies, names=["visitors"], titles=titles)
    figures.save(figure, setup.out / f"series_augmented_{name.replace('-', '_')}")
