"""Finds a learning rate by a range test over seeds.

Each seed trains a few steps while its learning rate grows exponentially. Where the rate is too low
the loss stays, then it falls, and where the rate is too high it rises again. A tenth of the rate at
which the loss is lowest is suggested: there it still falls, and it is well away from where it
rises.

Sources: Smith, "Cyclical Learning Rates for Training Neural Networks" (WACV 2017), section 3.3; the
exponential growth and the tenth are those of fastai's learner (Howard and Gugger, 2020).
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from msae_jax import data
from msae_jax.config import TrainConfig
from msae_jax.errors import InputError
from msae_jax.fitting import checks
from msae_jax.fitting.initial import initial_weights
from msae_jax.fitting.members import as_members
from msae_jax.fitting.placement import in_memory, initial_states
from msae_jax.train import seeds as over_seeds
from msae_jax.train.member import Member
from msae_jax.train.range_test import losses_of_members

DIVERGED = 4.0
"""A loss so many times its lowest has diverged: what comes after it does not count."""


class RangeTest(NamedTuple):
    """What a range test found.

    Attributes:
      rates: the learning rate of each step, `[n]`.
      losses: of each seed, `[seeds, n]`; smoothed: means over neighbouring steps, NaN from where
        the loss diverges.
      lowest: of each seed, the rate at which its smoothed loss is lowest, `[seeds]`.
    """

    settings: TrainConfig
    seeds: list[int]
    rates: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray
    lowest: np.ndarray

    @property
    def suggestions(self) -> np.ndarray:
        """The learning rate that each seed alone suggests, `[seeds]`."""
        return self.lowest / 10

    @property
    def suggested(self) -> float:
        """The geometric mean of the suggestions, to two digits."""
        return float(f"{math.exp(np.log(self.suggestions).mean()):.2g}")

    @property
    def still_falls(self) -> list[int]:
        """The seeds whose loss was lowest at the end of the range: it could be wider."""
        at_end = self.lowest == self.rates[-1]
        return [seed for seed, is_last in zip(self.seeds, at_end, strict=True) if is_last]


def range_test(
    settings: TrainConfig,
    dataset: data.Dataset | None = None,
    *,
    seeds: int = 1,
    steps: int = 200,
    low: float = 1e-6,
    high: float = 10.0,
    data_dir: str | Path | None = None,
) -> RangeTest:
    """Tests learning rates from `low` to `high` over seeds; nothing is kept of what is trained.

    The learning rate, the schedule and the number of epochs of `settings` do not count.

    Raises:
      InputError: settings, model and data do not fit, a range that is none, or one in which the
        loss of a seed never falls.
    """
    if not 0 < low < high < math.inf:
        raise InputError(f"learning rates are tested from low to high, got {low:g} to {high:g}.")
    if steps < 20:
        raise InputError(f"a range test needs at least 20 steps, got {steps}.")
    constant = replace(settings.optimizer, schedule="constant", warmup_steps=0, final_fraction=0.0)
    plain = replace(settings, optimizer=constant)
    if dataset is None:
        dataset = data.load(settings.data, data_dir=data_dir)
    checks.check_dataset(dataset)
    members = [Member(m.seed, learning_rate=1.0) for m in as_members(settings, seeds)]
    task = over_seeds.make_task(plain, dataset, members)
    checks.check_range(settings, task, dataset)
    checks.warn_of_precision(settings)
    initial = initial_weights(settings, task, dataset)
    given = None if initial is None else initial.of(members)
    states = initial_states(task, plain, members, dataset.sample_shape, variables=given)
    rates = np.geomspace(low, high, steps).astype(np.float32)
    x, size = in_memory(dataset.train.x), settings.batch_size
    found = losses_of_members(task, states, x, jnp.asarray(rates), batch_size=size)
    losses = np.asarray(found, np.float64)
    smooth = smoothed(losses)
    lowest = np.nanargmin(smooth, axis=1)
    stuck = [m.seed for m, row in zip(members, lowest, strict=True) if row == 0]
    if stuck:
        raise InputError(
            f"no learning rate from {low:g} to {high:g} lowers the loss of seeds {stuck}: test "
            "lower ones, or more steps."
        )
    return RangeTest(settings, [m.seed for m in members], rates, losses, smooth, rates[lowest])


def smoothed(losses: np.ndarray) -> np.ndarray:
    """Returns the means of losses `[M, n]` over a twentieth of the steps around each.

    NaN from where a loss is not finite or a mean is `DIVERGED` times the lowest before it; the
    first is never NaN.
    """
    reach = max(losses.shape[1] // 40, 1)
    found = np.full(losses.shape, np.nan)
    for row, own in zip(found, losses, strict=True):
        bad = np.flatnonzero(~np.isfinite(own))
        end = int(bad[0]) if bad.size else len(own)
        least = math.inf
        for i in range(max(end, 1)):
            mean = own[max(i - reach, 0) : min(i + reach + 1, end)].mean() if end else math.inf
            least = min(least, mean)
            if i and mean > DIVERGED * least:
                break
            row[i] = mean
    return found
