"""Runs with a discriminator: resumed to the same bits, one seed of many, logged, and converted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import msae_jax as mj
from msae_jax import models
from msae_jax import weights as w
from msae_jax.config import Adversarial, ModelConfig, OptimizerConfig, TrainConfig
from msae_jax.data import Dataset
from msae_jax.errors import InputError
from msae_jax.fitting.callbacks import Callback, Epoch
from msae_jax.fitting.ensemble import Ensemble, Run
from msae_jax.report import gather
from msae_jax.runs import checkpoint, directory, store
from msae_jax.runs.history import COLUMNS, DUEL_COLUMNS

SETTINGS = TrainConfig(
    ModelConfig("baseline", {"hidden": [8], "latent_dim": 4}),
    optimizer=OptimizerConfig("adam", 1e-2, ema=0.9),
    batch_size=50,
    accumulate=2,
    freeze="decoder/linear_1",
    adversarial=Adversarial("latents", width=8),
    epochs=4,
)


class StopsAfterTwo(Callback):
    def on_epoch(self, epoch: Epoch) -> None:
        if epoch.lines[0]["epoch"] == 2:
            raise KeyboardInterrupt


def assert_equal_trees(a: Any, b: Any) -> None:
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(x, y)


def digests(run: Path) -> dict[str, str]:
    content = store.read_record(run / checkpoint.FOLDER, 4)
    return {name: content["digests"][name] for name in ("weights", "training")}


@pytest.fixture(scope="module")
def whole(signals: Dataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[Ensemble, Path]:
    """Two seeds that were never interrupted."""
    out = tmp_path_factory.mktemp("adversarial") / "whole"
    done = mj.fit(SETTINGS, signals, seeds=2, out=out)
    assert isinstance(done, Ensemble)
    return done, out


def test_an_interrupted_run_goes_on_to_the_same_bits(
    whole: tuple[Ensemble, Path], signals: Dataset, tmp_path: Path
) -> None:
    """The discriminator and its moments included; and each seed is that seed alone."""
    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        mj.fit(SETTINGS, signals, seeds=2, out=out, callbacks=[StopsAfterTwo()])
    resumed = mj.fit(SETTINGS, signals, seeds=2, out=out, resume=True)
    assert isinstance(resumed, Ensemble)
    assert_equal_trees(resumed.weights, whole[0].weights)
    assert digests(out) == digests(whole[1])
    alone = mj.fit(replace(SETTINGS, seed=1), signals)
    assert isinstance(alone, Run)
    assert_equal_trees(alone.variables, whole[0].variables(1))
    lines = [{**line, "seconds": 0} for line in alone.history]
    assert lines == [{**line, "seconds": 0} for line in whole[0].histories[1]]


def test_what_the_players_lose_is_logged_and_read_again(whole: tuple[Ensemble, Path]) -> None:
    done, out = whole
    line = done.histories[0][-1]
    assert set(line) == {*COLUMNS, *DUEL_COLUMNS}
    assert 0 < line["train_discriminator_nats"] < 2
    assert 0 < line["train_adversarial_nats"] < 10
    assert checkpoint.load_all(out).histories == done.histories
    assert gather._logged(out, done.members) == done.histories


def test_weights_are_the_models_alone(
    whole: tuple[Ensemble, Path], signals: Dataset, tmp_path: Path
) -> None:
    """A converted run has no trained discriminator: it trains on with that of its seed."""
    bare = models.init_variables(whole[0].model, jax.random.key(0), signals.sample_shape)
    assert jax.tree.structure(bare) == jax.tree.structure(whole[0].variables(0))
    given = w.convert(whole[1], tmp_path / "made", seed=0)
    begun = mj.fit(replace(given.config, epochs=1), signals, init=given.variables)
    longer = replace(directory.read_config(tmp_path / "made"), epochs=1)
    resumed = mj.fit(longer, signals, out=tmp_path / "made", resume=True)
    assert isinstance(begun, Run)
    assert isinstance(resumed, Run)
    assert_equal_trees(resumed.variables, begun.variables)


def test_another_discriminator_is_another_run(
    whole: tuple[Ensemble, Path], signals: Dataset
) -> None:
    other = replace(SETTINGS, adversarial=replace(SETTINGS.adversarial, weight=2.0))  # type: ignore[type-var]
    with pytest.raises(InputError, match=r"adversarial.weight was 1.0, is 2.0"):
        mj.fit(other, signals, seeds=2, out=whole[1], resume=True)
