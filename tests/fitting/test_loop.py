"""Runs of many seeds: kept, resumed, extended, and honest about what diverged."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from msae_jax.config import EarlyStopping, ModelConfig, TrainConfig
from msae_jax.data import Dataset, Split
from msae_jax.errors import InputError
from msae_jax.fitting import loop
from msae_jax.fitting.ensemble import Ensemble, Run
from msae_jax.fitting.loop import as_members, fit, fit_many
from msae_jax.fitting.members import Progress
from msae_jax.runs import checkpoint
from msae_jax.runs.arrays import StateArrays
from msae_jax.train.seeds import Member
from msae_jax.weights import load_weights
from tests.cli.in_process import msae

# A batch size that divides the 150 signals, and two or three seeds wherever there are many: fewer
# programs to compile. Short last batches are in tests/train.
SETTINGS = TrainConfig(
    model=ModelConfig("baseline", {"hidden": [16], "latent_dim": 4}), batch_size=30, epochs=3
)


def many(*args, **kwargs) -> Ensemble:
    done = fit(*args, **kwargs)
    assert isinstance(done, Ensemble)
    return done


def assert_equal_trees(a, b) -> None:
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(x, y)


def without_seconds(history: list[dict]) -> list[dict]:
    return [{k: v for k, v in line.items() if k != "seconds"} for line in history]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("loop")


@pytest.fixture(scope="module")
def one(signals: Dataset, folder: Path) -> Run:
    """The seed 0, with its run directory `one`."""
    return loop.fit_one(SETTINGS, signals, out=folder / "one")


@pytest.fixture(scope="module")
def two(signals: Dataset, folder: Path) -> Ensemble:
    """Two seeds, with their run directory `two`."""
    return many(SETTINGS, signals, seeds=2, out=folder / "two")


@pytest.fixture(scope="module")
def three(signals: Dataset, folder: Path) -> Ensemble:
    """Three seeds, with their run directory `three`."""
    return many(SETTINGS, signals, seeds=3, out=folder / "three")


@pytest.fixture(scope="module")
def short(signals: Dataset, folder: Path) -> Path:
    """The run directory of two seeds that have an epoch left to train."""
    many(replace(SETTINGS, epochs=2), signals, seeds=2, out=folder / "short")
    return folder / "short"


def copied(run: Path, tmp_path: Path) -> Path:
    """Returns a copy of a run that may go on."""
    return Path(shutil.copytree(run, tmp_path / "run"))


def test_each_seed_is_the_run_of_that_seed(
    signals: Dataset, one: Run, three: Ensemble, folder: Path
) -> None:
    """Parameters bit for bit; metrics, evaluated by another program, to 1e-6 relative."""
    done = three
    assert done.metrics("test_mse").shape == (3, 3)
    for k in (0, 2):
        alone = loop.fit_one(replace(SETTINGS, seed=k), signals) if k else one
        assert_equal_trees(done.variables(k), alone.variables)
        for got, own in zip(done.histories[k], alone.history, strict=True):
            assert without_seconds([got])[0] == pytest.approx(without_seconds([own])[0], rel=1e-6)
        opened = load_weights(folder / "three", seed=k)
        assert_equal_trees(opened.variables, alone.variables)
        assert opened.config == replace(SETTINGS, seed=k)


@pytest.fixture(scope="module")
def grown(signals: Dataset, two: Ensemble, folder: Path) -> tuple[Ensemble, list[int], Path]:
    """`two` with a third seed; how many seeds each epoch trained; and the run directory."""
    run, trained = Path(shutil.copytree(folder / "two", folder / "grown")), []
    hear = {"on_epoch": lambda line: trained.append(line["seeds"])}
    return many(SETTINGS, signals, seeds=3, out=run, resume=True, **hear), trained, run


def test_seeds_are_added_without_repeating_the_old(
    two: Ensemble, three: Ensemble, grown: tuple[Ensemble, list[int], Path]
) -> None:
    more, trained, run = grown
    assert trained == [1, 1, 1]
    assert more.histories[:2] == two.histories
    assert_equal_trees(more.weights, three.weights)
    lines = (run / "metrics.jsonl").read_text().splitlines()
    assert sorted(json.loads(line)["seed"] for line in lines) == sorted([*range(3)] * 3)


def test_seeds_that_stream_are_added_without_repeating_the_old(
    signals: Dataset, two: Ensemble, tmp_path: Path
) -> None:
    """And all train as resident ones do."""
    settings = replace(SETTINGS, pipeline="streaming")
    first = many(settings, signals, seeds=1, out=tmp_path / "run")
    trained = []
    more = many(
        settings, signals, seeds=2, out=tmp_path / "run", resume=True, on_epoch=trained.append
    )
    assert [line["seeds"] for line in trained] == [1, 1, 1]
    assert more.histories[:1] == first.histories
    whole = many(settings, signals, seeds=2)
    assert_equal_trees(more.weights, whole.weights)
    np.testing.assert_allclose(whole.metrics("train_loss"), two.metrics("train_loss"), rtol=1e-5)
    lines = (tmp_path / "run/metrics.jsonl").read_text().splitlines()
    assert sorted(json.loads(line)["seed"] for line in lines) == sorted([*range(2)] * 3)


def test_after_the_last_epoch_only_weights_are_held(
    signals: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish, seen = Progress.finish, []

    def watched(self: Progress, rows: list[int], arrays: StateArrays) -> None:
        finish(self, rows, arrays)
        seen.extend(jax.tree.leaves(arrays))
        assert self.arrays is not None
        assert not self.arrays.training

    monkeypatch.setattr(Progress, "finish", watched)
    many(SETTINGS, signals, seeds=2)
    assert seen
    assert all(array.is_deleted() for array in seen)


def test_more_epochs_go_on_for_all_and_nothing_is_done_twice(
    signals: Dataset, three: Ensemble, short: Path, tmp_path: Path
) -> None:
    run = copied(short, tmp_path)
    many(replace(SETTINGS, epochs=2), signals, seeds=3, out=run, resume=True)
    done = many(SETTINGS, signals, seeds=3, out=run, resume=True)
    assert_equal_trees(done.weights, three.weights)
    called = []
    again = many(SETTINGS, signals, seeds=3, out=run, resume=True, on_epoch=called.append)
    assert not called
    assert_equal_trees(again.weights, done.weights)


def test_a_seed_that_diverges_is_frozen_and_reported(signals: Dataset, tmp_path: Path) -> None:
    members = [Member(0, learning_rate=1e-3), Member(1, learning_rate=1e30), Member(2, beta=1.0)]
    done = fit_many(SETTINGS, members, signals, out=tmp_path / "run")
    assert list(done.diverged) == [1]
    assert "loss became non-finite at step 2 (epoch 1, step 2 of 5)" in done.diverged[1]
    assert [len(history) for history in done.histories] == [3, 0, 3]
    assert np.isnan(done.final()).tolist() == [False, True, False]
    row = done.rows()[1]
    assert row["diverged"] == done.diverged[1]
    assert "test_mse" not in row
    assert all(np.isfinite(a).all() for a in jax.tree.leaves(done.weights))
    again = fit_many(SETTINGS, members, signals, out=tmp_path / "run", resume=True)
    assert again.diverged == done.diverged


def test_early_stopping_freezes_one_seed_while_others_go_on(signals: Dataset) -> None:
    """Test data of another frequency, worse after some epochs: each seed stops on its own."""
    settings = replace(SETTINGS, epochs=60, early_stopping=EarlyStopping(2, "test_mse"))
    t = np.linspace(0, 2 * np.pi, 128, endpoint=False, dtype=np.float32)
    against = Dataset(
        "against", signals.train, Split(np.sin(9 * t + np.arange(40, dtype=np.float32)[:, None]))
    )
    done = many(settings, against, seeds=3)
    lengths = [len(history) for history in done.histories]
    assert min(lengths) < max(lengths) < 60
    for k in (int(np.argmin(lengths)), int(np.argmax(lengths))):
        alone = loop.fit_one(replace(settings, seed=k), against)
        assert len(alone.history) == lengths[k]
        assert_equal_trees(done.variables(k), alone.variables)
    assert np.isnan(done.metrics("test_mse")).sum() == sum(max(lengths) - n for n in lengths)


COMMAND = ["train", "--model", "baseline", "--set", "hidden=[16]", "--seeds", "3", "--epochs", "12"]
COMMAND += ["--batch-size", "100", "--resume"]


def start(out: Path) -> subprocess.Popen:
    devices = "--host-devices", "3"  # a device a seed, as in this process
    return subprocess.Popen(
        [sys.executable, "-m", "msae_jax", *COMMAND, *devices, "--out", str(out)],
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )


@pytest.mark.slow
def test_a_killed_run_of_many_resumes_bit_for_bit(tmp_path: Path) -> None:
    assert msae(*COMMAND, "--out", tmp_path / "whole") == 0
    killed, kills = tmp_path / "killed", 0
    for lines in (1, 16):  # tests/campaign has many more moments
        process = start(killed)
        log = killed / "metrics.jsonl"
        while process.poll() is None:
            if log.exists() and len(log.read_text().splitlines()) >= lines:
                process.send_signal(signal.SIGKILL)
                process.wait()
                kills += 1
            time.sleep(0.002)
    assert kills >= 1
    assert msae(*COMMAND, "--out", killed) == 0
    whole, resumed = (checkpoint.load_all(tmp_path / name) for name in ("whole", "killed"))
    assert_equal_trees(whole.variables, resumed.variables)
    for a, b in zip(whole.histories, resumed.histories, strict=True):
        assert without_seconds(a) == without_seconds(b)


def test_what_cannot_be_is_refused(signals: Dataset, one: Run, two: Ensemble, folder: Path) -> None:
    with pytest.raises(InputError, match="holds a run of 2 seeds: say how many"):
        loop.fit_one(SETTINGS, signals, out=folder / "two", resume=True)
    with pytest.raises(InputError, match="is not empty"):
        fit(SETTINGS, signals, seeds=2, out=folder / "two")
    with pytest.raises(InputError, match="holds 2 seeds: pick one of 0, 1"):
        load_weights(folder / "two")
    with pytest.raises(InputError, match="has no seed 7, but 0, 1"):
        load_weights(folder / "two", seed=7)
    with pytest.raises(InputError, match="of seed 0"):
        load_weights(folder / "one", seed=1)
    with pytest.raises(InputError, match=r"twice: \[1\]"):
        as_members(SETTINGS, [1, 2, 1])
    with pytest.raises(InputError, match="at least 1"):
        as_members(SETTINGS, 0)
    with pytest.raises(InputError, match="for one seed only"):
        fit(SETTINGS, signals, seeds=2, orders=np.zeros((3, 150), int))


def test_a_run_of_one_seed_goes_on_with_more(
    signals: Dataset, one: Run, three: Ensemble, folder: Path, tmp_path: Path
) -> None:
    run = copied(folder / "one", tmp_path)
    more = many(SETTINGS, signals, seeds=3, out=run, resume=True)
    assert_equal_trees(more.weights, three.weights)


def test_each_seed_can_start_from_weights_given(signals: Dataset) -> None:
    """Equal weights, then another order of the data for each."""
    start = loop.fit_one(replace(SETTINGS, epochs=1), signals).variables
    done = many(SETTINGS, signals, seeds=2, init=start)
    alone = loop.fit_one(replace(SETTINGS, seed=1), signals, init=start)
    assert_equal_trees(done.variables(1), alone.variables)
    assert done.histories[0] != done.histories[1]


def test_the_log_is_in_the_order_of_epochs_however_often_it_goes_on(
    signals: Dataset, short: Path, tmp_path: Path
) -> None:
    many(SETTINGS, signals, seeds=3, out=copied(short, tmp_path), resume=True)
    lines = [json.loads(x) for x in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    expected = [(epoch, seed) for epoch in (1, 2, 3) for seed in (0, 1, 2)]
    assert [(line["epoch"], line["seed"]) for line in lines] == expected


def test_a_member_is_picked_where_seeds_repeat(signals: Dataset, tmp_path: Path) -> None:
    members = [Member(3, learning_rate=rate) for rate in (1e-3, 1e-2, 1e-1)]  # three, as above
    done = fit_many(SETTINGS, members, signals, out=tmp_path / "run")
    with pytest.raises(InputError, match=r"seed 3 as members \[0, 1, 2\]"):
        load_weights(tmp_path / "run", seed=3)
    opened = load_weights(tmp_path / "run", member=1)
    assert opened.config.optimizer.learning_rate == 1e-2
    assert_equal_trees(opened.variables, done.variables(1))


def test_a_test_loss_that_is_not_finite_is_a_divergence(signals: Dataset) -> None:
    """All that is trained is finite, and one test sample is not."""
    x = signals.test.x.copy()
    x[3] = np.inf
    done = many(SETTINGS, Dataset("bad", signals.train, Split(x)), seeds=2)
    assert sorted(done.diverged) == [0, 1]
    assert all("test loss became non-finite at step 5" in text for text in done.diverged.values())


def test_the_best_checkpoint_is_one_of_all_seeds(grown: tuple[Ensemble, list[int], Path]) -> None:
    """Two seeds' mean may be the lowest, but a checkpoint that lacks the third is not its best."""
    opened = checkpoint.load_all(grown[2], best=True)
    assert [m["seed"] for m in opened.members] == [0, 1, 2]


def test_an_array_is_no_data_set(signals: Dataset) -> None:
    with pytest.raises(InputError, match=r"dataset must be Dataset\(.*, got ndarray"):
        fit(TrainConfig(), signals.train.x)  # type: ignore[arg-type]
