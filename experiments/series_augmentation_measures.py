"""What a method of augmentation does to the Tourism series at an equal distance from the data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from msae_jax.analysis import augmentation as aug
from msae_jax.analysis.augmentation.comparison import STEPS
from msae_jax.analysis.forecasting import forecast_probe
from msae_jax.errors import InputError
from msae_jax.experiments import series_augmentation_tourism as tourism

CLASSIFIED = 600  # windows that the discriminative score tells from their copies
LAGS = 10
SEASON = 12  # months

Found = dict[str, Any]
"""JSON values by name; see `Protocol.measure` and `Protocol.compare`."""


class Protocol(NamedTuple):
    """The series that are augmented, and what comes after them.

    Attributes:
      x: `[S, T, 1]` numbers of visitors. test: the following months `[S, T', 1]`.
      targets: by transform, the distance that every method is measured at.
    """

    x: np.ndarray
    test: np.ndarray
    targets: Mapping[str, float]

    @property
    def scale(self) -> tourism.Scale:
        return tourism.scale_of(self.x)

    def measure(self, transform: aug.Transform, name: str, seed: int) -> Found:
        """Returns the measures of a transform at the distance of `name`, and at its own strength.

        `reached` is False where no strength gives that distance: then everything is measured at
        the strength 1. The prefix `own_` says what the strength 1 gives.
        """
        key, strength, reached = jax.random.key(seed), 1.0, True
        try:
            strength = aug.strength_at(transform, self.x, self.targets[name], key).strength
        except InputError:  # the reconstruction alone is farther, or no strength is far enough
            reached = False
        moved = aug.compiled(transform)
        control = aug.controllability(moved, self.x, [strength * step for step in STEPS], key)
        own = np.asarray(moved(key, self.x, 1.0))
        return {
            **self.compare(np.asarray(moved(key, self.x, strength)), seed),
            "strength": strength,
            "reached": reached,
            "rho": control.rho,
            "monotonic": 100 * control.monotonic,
            "effects": control.effects.tolist(),
            "own_distance": aug.spread(aug.wasserstein(self.x, own)).median,
            "own_ratio": aug.pca_ratio(tourism.by_month(self.x), tourism.by_month(own)),
        }

    def compare(self, made: np.ndarray, seed: int) -> Found:
        """Returns the measures of augmented series `[S, T, 1]`.

        `transfer` is the squared error on the test months of a predictor trained on the augmented
        series, over that of one trained on the original ones; `mase` the mean absolute scaled
        error of one trained on both.
        """
        scale = self.scale
        scaled = [np.asarray(scale.apply(x), np.float64) for x in (self.x, made, self.test)]
        before, after = (tourism.windows_of(x, scale) for x in (self.x, made))
        chosen = np.linspace(0, len(before) - 1, CLASSIFIED).astype(int)
        error = aug.transfer_error(*scaled, lags=LAGS)
        return {
            "distance": aug.spread(aug.wasserstein(self.x, made)).median,
            "ratio": aug.pca_ratio(tourism.by_month(self.x), tourism.by_month(made)),
            "discriminative": aug.discriminative_score(before[chosen], after[chosen], seed=seed),
            "transfer": error.augmented / error.original,
            "mase": mase([self.x, made], self.test),
        }


def mase(train: list[np.ndarray], test: np.ndarray) -> float:
    """Returns the mean absolute scaled error of one-step forecasts by a ridge regression on lags.

    A series is scaled by the mean absolute difference of a year in the first training series
    (Hyndman and Koehler, 2006); those that do not change from year to year are left out.

    Args:
      train: sets of series `[S, T, 1]`. test: the months after them, `[S, T', 1]`.
    """
    yearly = np.abs(train[0][:, SEASON:] - train[0][:, :-SEASON]).mean(axis=1, keepdims=True)
    varies = yearly[:, 0, 0] > 0
    sets = [_lagged((x[varies] / yearly[varies])[..., 0]) for x in [*train, test]]
    x, y = (np.concatenate(parts) for parts in zip(*sets[:-1], strict=True))
    return forecast_probe(x, y, *sets[-1]).mae


def _lagged(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rows = np.lib.stride_tricks.sliding_window_view(x, LAGS + 1, axis=1).reshape(-1, LAGS + 1)
    return rows[:, :-1], rows[:, -1:]
