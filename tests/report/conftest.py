"""Tiny runs of every kind, trained once: two of three seeds, one seed, by source, a sweep, a
diverged one, two that were interrupted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import pytest

from msae_jax import data
from msae_jax.config import ModelConfig, OptimizerConfig, TrainConfig
from msae_jax.data import Dataset
from msae_jax.errors import DivergedError
from msae_jax.fitting import sweep
from msae_jax.fitting.loop import fit_many, fit_one
from msae_jax.train.seeds import Member

NAME = "wide <script>alert(1)"
"""Of a run directory that somebody else has named."""


class Runs(NamedTuple):
    """The folders of the runs, and the data that they were trained on."""

    data: str
    many: Path
    wide: Path
    one: Path
    sources: Path
    grid: Path
    diverged: Path
    halfway: Path
    begun: Path


class Stop(Exception):
    """Ends training in the middle."""


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory, signals: Dataset) -> Runs:
    folder = tmp_path_factory.mktemp("reported")
    file = folder / "signals.npy"
    np.save(file, np.concatenate([signals.train.x, signals.test.x]))
    small = TrainConfig(
        ModelConfig("baseline", {"hidden": [8], "latent_dim": 2}),
        data=str(file),
        batch_size=32,
        epochs=2,
    )
    made = Runs(
        str(file),
        *(folder / name for name in ("many", NAME, "one", "sources", "grid")),
        *(folder / name for name in ("diverged", "halfway", "begun")),
    )
    x = data.load(file)
    jax.config.update("jax_disable_most_optimizations", True)
    fit_many(small, [Member(seed) for seed in range(3)], x, out=made.many)
    wide = replace(small, model=ModelConfig("baseline", {"hidden": [16], "latent_dim": 2}))
    fit_many(wide, [Member(seed) for seed in range(3)], x, out=made.wide)
    fit_one(replace(small, seed=4), x, out=made.one)
    varied = [Member(s, source) for source in ("init", "order") for s in range(2)]
    fit_many(small, varied, x, out=made.sources)
    axes = {"latent_dim": [2, 3], "lr": [0.001, 0.01]}
    sweep.run(replace(small, epochs=1), axes, 2, out=made.grid)
    wild = replace(small, optimizer=OptimizerConfig(learning_rate=1e30))
    with pytest.raises(DivergedError):
        fit_one(wild, x, out=made.diverged)
    for out, every in ((made.halfway, 1), (made.begun, 3)):
        longer = replace(small, epochs=3, checkpoint_every=every)
        with pytest.raises(Stop):
            fit_many(longer, [Member(0), Member(1)], x, out=out, on_epoch=_stop)
    jax.config.update("jax_disable_most_optimizations", False)
    return made


def _stop(metrics: dict) -> None:
    raise Stop
