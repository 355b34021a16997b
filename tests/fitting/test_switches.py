"""Moving averages, accumulation and freezing in runs; callbacks; all of it killed and resumed."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import msae_jax as mj
from msae_jax import weights as w
from msae_jax.config import ModelConfig, OptimizerConfig, TrainConfig
from msae_jax.data import Dataset
from msae_jax.errors import InputError
from msae_jax.fitting.callbacks import Callback, Epoch, Started
from msae_jax.fitting.ensemble import Ensemble
from msae_jax.runs import checkpoint, store
from msae_jax.train import evaluation
from msae_jax.train.member import Member
from tests.cli.in_process import msae

SETTINGS = TrainConfig(
    ModelConfig("baseline", {"hidden": [8], "latent_dim": 4}),
    optimizer=OptimizerConfig("adamw", 1e-2, weight_decay=0.01, no_decay="bias", ema=0.9),
    batch_size=30,
    accumulate=3,
    freeze="decoder/linear_1",
    epochs=4,
)


def assert_equal_trees(a: Any, b: Any) -> None:
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(x, y)


class Log(Callback):
    """Notes what it hears, and may fail after an epoch."""

    def __init__(self, fail_after: int | None = None, run: Path | None = None) -> None:
        self.heard: list[str] = []
        self.variables: list[Any] = []
        self.epochs: list[Epoch] = []
        self.fail_after, self.run = fail_after, run

    def on_start(self, started: Started) -> None:
        self.heard.append(f"start {[m.seed for m in started.members]} at {started.epochs}")

    def on_epoch(self, epoch: Epoch) -> None:
        numbers = [line["epoch"] for line in epoch.lines]
        self.heard.append(f"epoch {numbers[0]} of {[line['seed'] for line in epoch.lines]}")
        self.variables = [epoch.variables(i) for i in range(len(epoch.lines))]
        self.epochs.append(epoch)
        if self.run is not None:  # what the contract says is on disk
            lines = (self.run / "metrics.jsonl").read_text().splitlines()
            assert json.loads(lines[-1]) == epoch.lines[-1]
            assert checkpoint.load(self.run, seed=0).epoch == numbers[0]
        if numbers[0] == self.fail_after:
            raise RuntimeError("out of paper")

    def on_end(self, ended: Ensemble) -> None:
        self.heard.append(f"end of {[m.seed for m in ended.members]}")
        self.ended = ended


@pytest.fixture(scope="module")
def whole(signals: Dataset) -> tuple[Ensemble, Log]:
    """Two seeds that were never interrupted."""
    log = Log()
    done = mj.fit(SETTINGS, signals, seeds=2, callbacks=[log])
    assert isinstance(done, Ensemble)
    return done, log


@pytest.fixture(scope="module")
def alone(signals: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of the first seed alone."""
    out = tmp_path_factory.mktemp("switches") / "alone"
    mj.fit(SETTINGS, signals, out=out)
    return out


def test_a_run_that_stops_in_a_callback_goes_on_to_the_same_bits(
    whole: tuple[Ensemble, Log], signals: Dataset, tmp_path: Path
) -> None:
    """Average, parts, masks and frozen variables included, over seeds."""
    out = tmp_path / "run"
    log = Log(fail_after=2, run=out)
    with pytest.raises(RuntimeError, match="out of paper"):
        mj.fit(SETTINGS, signals, seeds=2, out=out, callbacks=[log])
    assert log.heard == ["start [0, 1] at (0, 0)", "epoch 1 of [0, 1]", "epoch 2 of [0, 1]"]
    again = Log(run=out)
    resumed = mj.fit(SETTINGS, signals, seeds=2, out=out, resume=True, callbacks=[again])
    assert again.heard == [
        "start [0, 1] at (2, 2)", "epoch 3 of [0, 1]", "epoch 4 of [0, 1]", "end of [0, 1]"
    ]  # fmt: skip
    assert isinstance(resumed, Ensemble)
    assert_equal_trees(resumed.weights, whole[0].weights)
    assert_equal_trees(checkpoint.load_all(out).variables["params"], whole[0].weights["params"])


def test_a_seed_that_is_added_is_that_seed_of_many(
    whole: tuple[Ensemble, Log], alone: Path, signals: Dataset, tmp_path: Path
) -> None:
    out = shutil.copytree(alone, tmp_path / "run")
    more = mj.fit(SETTINGS, signals, seeds=2, out=out, resume=True)
    assert isinstance(more, Ensemble)
    assert_equal_trees(more.weights, whole[0].weights)


def test_what_is_tested_and_kept_is_the_moving_average(
    whole: tuple[Ensemble, Log], alone: Path, signals: Dataset
) -> None:
    done, log = whole
    for k in (0, 1):
        assert_equal_trees(log.variables[k], done.variables(k))
        found = evaluation.evaluate(
            done.model, done.variables(k), signals.test.x, SETTINGS.objective
        )
        assert found["mse"] == pytest.approx(done.histories[k][-1]["test_mse"], rel=1e-5)
    kept, _ = store.restore(alone / checkpoint.FOLDER, 4, weights=None, training=None)
    assert_equal_trees(kept["weights"]["params"], done.only([0]).weights["params"])
    raw, averaged = (
        kept[name]["params"]["encoder"]["linear_0"]["bias"] for name in ("training", "weights")
    )
    assert np.abs(averaged - raw).max() > 1e-4


def test_weights_that_were_converted_train_on(
    alone: Path, signals: Dataset, tmp_path: Path
) -> None:
    """A run made of a run with a moving average: both of its copies are the weights given."""
    made = tmp_path / "made"
    given = w.convert(alone, made)
    assert given.config.optimizer.ema == 0.9
    resumed = mj.fit(SETTINGS, signals, out=made, resume=True)
    begun = mj.fit(SETTINGS, signals, init=given.variables)
    assert_equal_trees(resumed.variables, begun.variables)


def test_a_callback_cannot_change_the_run(whole: tuple[Ensemble, Log], signals: Dataset) -> None:
    class Meddler(Callback):
        def on_start(self, started: Started) -> None:
            started.settings.model.options["hidden"] = [1]  # type: ignore[index]

        def on_epoch(self, epoch: Epoch) -> None:
            for leaf in jax.tree.leaves(epoch.variables()):
                leaf[...] = np.nan
            epoch.lines[0]["test_loss"] = -1.0

        def on_end(self, ended: Ensemble) -> None:
            ended.histories[0].clear()
            with pytest.raises(ValueError, match="read-only"):
                ended.weights["params"]["encoder"]["linear_0"]["bias"][...] = 0

    done = mj.fit(SETTINGS, signals, seeds=2, callbacks=[Meddler()])
    assert isinstance(done, Ensemble)
    assert_equal_trees(done.weights, whole[0].weights)
    for a, b in zip(done.histories, whole[0].histories, strict=True):
        for x, y in zip(a, b, strict=True):
            assert {**x, "seconds": 0} == {**y, "seconds": 0}


def test_variables_are_at_hand_only_while_a_callback_runs(whole: tuple[Ensemble, Log]) -> None:
    with pytest.raises(InputError, match="only inside on_epoch"):
        whole[1].epochs[-1].variables()
    assert whole[1].heard[0] == "start [0, 1] at (0, 0)"
    assert whole[1].ended.config == SETTINGS


def test_a_member_that_diverged_is_in_no_later_epoch(signals: Dataset) -> None:
    log = Log()
    members = [Member(0, learning_rate=1e30), Member(5)]
    plain = replace(SETTINGS, optimizer=OptimizerConfig("sgd", 1e-2), epochs=2)
    mj.fit(plain, signals, seeds=members, callbacks=[log])
    assert log.heard[1:] == ["epoch 1 of [5]", "epoch 2 of [5]", "end of [0, 5]"]
    assert list(log.ended.diverged) == [0]


def test_a_function_is_no_callback(signals: Dataset, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"must be objects of mj.Callback, got <built-in"):
        mj.fit(SETTINGS, signals, out=tmp_path / "run", callbacks=[print])  # type: ignore[list-item]
    assert not (tmp_path / "run").exists()


COMMAND = [
    "train", "--model", "baseline", "--set", "hidden=[16]", "--epochs", "12", "--ema", "0.99",
    "--accumulate", "2", "--freeze", "decoder/linear_0", "--resume",
]  # fmt: skip


@pytest.mark.slow
def test_a_killed_process_resumes_bit_for_bit(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert msae(*COMMAND, "--out", whole) == 0
    process = subprocess.Popen(
        [sys.executable, "-m", "msae_jax", *COMMAND, "--out", str(killed)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    log = killed / "metrics.jsonl"
    while process.poll() is None:
        if log.exists() and len(log.read_text().splitlines()) >= 4:
            process.send_signal(signal.SIGKILL)
            process.wait()
        time.sleep(0.002)
    assert process.returncode == -signal.SIGKILL
    assert msae(*COMMAND, "--out", killed) == 0
    a, b = (checkpoint.load(run) for run in (whole, killed))
    assert_equal_trees(a.variables, b.variables)
    content = [
        json.loads((run / "checkpoints/12/meta/metadata").read_text())["content"]["digests"]
        for run in (whole, killed)
    ]
    assert content[0]["training"] == content[1]["training"]


def test_another_moving_average_is_another_run(alone: Path, signals: Dataset) -> None:
    other = replace(SETTINGS, optimizer=replace(SETTINGS.optimizer, ema=0.5), freeze="")
    with pytest.raises(InputError, match=r"freeze was .*; optimizer.ema was 0.9, is 0.5"):
        mj.fit(other, signals, out=alone, resume=True)
