from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from msae_jax.config import (
    METRICS,
    EarlyStopping,
    ModelConfig,
    Objective,
    OptimizerConfig,
    TrainConfig,
)
from msae_jax.data import Dataset, Split
from msae_jax.errors import DivergedError, InputError
from msae_jax.fitting.loop import fit_one
from msae_jax.runs import checkpoint
from msae_jax.runs.history import DUEL_COLUMNS

SETTINGS = TrainConfig(model=ModelConfig("baseline"), batch_size=30, epochs=4)


def test_training_lowers_the_loss_and_logs_every_metric(signals: Dataset) -> None:
    lines: list[dict] = []
    run = fit_one(replace(SETTINGS, epochs=15), signals, on_epoch=lines.append)
    assert lines == run.history
    assert [line["epoch"] for line in lines] == list(range(1, 16))
    assert lines[-1]["step"] == 15 * 5
    assert set(METRICS) < set(lines[0])
    assert not set(DUEL_COLUMNS) & set(lines[0])
    assert lines[-1]["test_mse"] < 0.2 * lines[0]["test_mse"]


def test_a_run_directory_holds_everything(signals: Dataset, tmp_path: Path) -> None:
    run = fit_one(SETTINGS, signals, out=tmp_path / "a" / "b")
    assert json.loads((tmp_path / "a/b/config.json").read_text())["model"]["name"] == "baseline"
    lines = [json.loads(text) for text in (tmp_path / "a/b/metrics.jsonl").read_text().splitlines()]
    assert lines == [{"seed": 0, **line} for line in run.history]
    opened = checkpoint.load(tmp_path / "a/b")
    kernel = opened.variables["params"]["encoder"]["linear_0"]["kernel"]
    np.testing.assert_array_equal(kernel, run.variables["params"]["encoder"]["linear_0"]["kernel"])


def test_nothing_is_overwritten_unasked(signals: Dataset, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="is not empty"):
        fit_one(SETTINGS, signals, out=tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_resuming_another_run_names_the_differences(signals: Dataset, tmp_path: Path) -> None:
    fit_one(replace(SETTINGS, epochs=1), signals, out=tmp_path / "run")
    other = replace(SETTINGS, batch_size=16, seed=5)
    with pytest.raises(InputError, match="batch_size was 30, is 16; seed was 0, is 5"):
        fit_one(other, signals, out=tmp_path / "run", resume=True)


def test_more_epochs_continue_a_finished_run(signals: Dataset, tmp_path: Path) -> None:
    whole = fit_one(SETTINGS, signals)
    fit_one(replace(SETTINGS, epochs=2), signals, out=tmp_path / "run")
    resumed = fit_one(SETTINGS, signals, out=tmp_path / "run", resume=True)
    kernel = whole.variables["params"]["decoder"]["linear_1"]["kernel"]
    np.testing.assert_array_equal(
        kernel, resumed.variables["params"]["decoder"]["linear_1"]["kernel"]
    )
    assert len((tmp_path / "run/metrics.jsonl").read_text().splitlines()) == 4


def test_early_stopping_waits_its_patience(signals: Dataset, tmp_path: Path) -> None:
    """A learning rate of almost nothing: epoch 1 stays within noise of the best for long."""
    settings = replace(
        SETTINGS,
        epochs=30,
        optimizer=OptimizerConfig("sgd", 1.0),
        early_stopping=EarlyStopping(2, "test_mse"),
        model=ModelConfig("baseline"),
    )
    # Test data that training makes worse: the negatives of what it fits.
    against = Dataset("against", signals.train, Split(-10 * signals.train.x))
    run = fit_one(settings, against, out=tmp_path / "run")
    values = [line["test_mse"] for line in run.history]
    best = int(np.argmin(values))
    assert len(values) == best + 3 < 30
    again = fit_one(settings, against, out=tmp_path / "run", resume=True)
    assert len(again.history) == len(values)


def test_a_run_that_diverges_names_the_step_and_keeps_its_checkpoint(
    signals: Dataset, tmp_path: Path
) -> None:
    """Epoch 1 is fine; one sample that only epoch 2 visits is not finite."""
    x = signals.train.x.copy()
    x[7] = np.inf
    dataset = Dataset("bad", Split(x), signals.test)
    orders = np.stack([np.r_[0:7, 8:15], np.r_[15:24, 7, 25:29]])
    settings = replace(SETTINGS, batch_size=4, epochs=2)
    with pytest.raises(
        DivergedError, match=r"step 7 \(epoch 2, step 3 of 4\); the weights after epoch 1 are"
    ):
        fit_one(settings, dataset, out=tmp_path / "run", orders=orders)
    assert checkpoint.load(tmp_path / "run").epoch == 1


def test_weights_that_break_in_the_last_step_are_not_loaded(
    signals: Dataset, tmp_path: Path
) -> None:
    """The last loss of the epoch is finite, the update after it is not."""
    settings = replace(SETTINGS, batch_size=150, optimizer=OptimizerConfig("sgd", 1e38))
    with pytest.raises(DivergedError, match="test loss became non-finite at step 1"):
        fit_one(settings, signals, out=tmp_path / "run")
    with pytest.raises(InputError, match="no weights of seed 0: the test loss became non-finite"):
        checkpoint.load(tmp_path / "run")


def test_an_explicit_order_is_followed(signals: Dataset) -> None:
    """Training on samples 0 to 29 alone equals training on a set of just those."""
    few = Dataset("few", Split(signals.train.x[:30]), signals.test)
    orders = np.tile(np.arange(30), (4, 1))
    a = fit_one(SETTINGS, signals, orders=orders).history
    b = fit_one(SETTINGS, few, orders=orders).history
    assert a[-1]["train_loss"] == pytest.approx(b[-1]["train_loss"], rel=1e-6)
    assert a[-1]["step"] == 4


@pytest.mark.parametrize(
    ("orders", "words"),
    [
        (np.zeros((2, 5), int), "epochs=4"),
        (np.zeros((4, 5)), "float64"),
        (np.full((4, 5), 150), "0 to 149"),
    ],
)
def test_bad_orders_are_refused(signals: Dataset, orders: np.ndarray, words: str) -> None:
    with pytest.raises(InputError, match=words):
        fit_one(SETTINGS, signals, orders=orders)


def test_bernoulli_needs_unit_data(signals: Dataset) -> None:
    settings = replace(
        SETTINGS,
        model=ModelConfig("baseline", {"output": "sigmoid"}),
        objective=Objective("bernoulli"),
    )
    with pytest.raises(InputError, match=r"data in \[0, 1\], got \[-1, 1\]"):
        fit_one(settings, signals)
