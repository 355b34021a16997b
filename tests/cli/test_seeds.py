"""Many seeds and verdicts, as a user asks for them."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

from msae_jax.analysis import statistics
from tests.cli.in_process import msae

pytestmark = pytest.mark.usefixtures("all_quick_to_compile")

# A batch size that divides the 4,000 signals: a short last batch compiles a second step.
SMALL = ["--model", "baseline", "--epochs", "1", "--batch-size", "100"]
SMALL += ["--set", "hidden=[8]", "--set", "latent_dim=2"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("seeds") / "run"
    assert msae("train", *SMALL, "--seeds", 3, "--out", out) == 0
    return out


def test_a_run_of_many_writes_a_table_and_says_its_interval(
    run: Path, capsys: pytest.CaptureFixture
) -> None:
    assert msae("train", "--resume", "--out", run) == 0  # all done: says what it knows
    text = capsys.readouterr().out
    with (run / "table.csv").open() as file:
        values = [float(row["test_mse"]) for row in csv.DictReader(file)]
    mean = statistics.mean_interval(values)
    assert f"test MSE {mean.mean:.5g} (95% interval {mean.low:.5g} to {mean.high:.5g}" in text
    assert "3 seeds" in text


def test_evaluate_gives_all_seeds_or_one(run: Path, capsys: pytest.CaptureFixture) -> None:
    assert msae("evaluate", run, "--json") == 0
    every = json.loads(capsys.readouterr().out)
    assert every["seeds"] == [0, 1, 2]
    assert every["mse"] == pytest.approx(np.mean(every["values"]["mse"]))
    assert every["ci95"]["mse"][0] < every["mse"] < every["ci95"]["mse"][1]
    for seed in (0, 2):
        assert msae("evaluate", run, "--seed", seed, "--json") == 0
        assert json.loads(capsys.readouterr().out)["mse"] == every["values"]["mse"][seed]


def test_one_seed_is_converted(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert msae("convert", run, tmp_path / "w.pth", "--seed", 1) == 0
    assert msae("evaluate", tmp_path / "w.pth", "--data", "sines", "--json") == 0
    alone = json.loads(capsys.readouterr().out.splitlines()[-1])["mse"]
    assert msae("evaluate", run, "--seed", 1, "--json") == 0
    assert json.loads(capsys.readouterr().out)["mse"] == alone


def test_the_spread_is_split_among_its_sources(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    options = ("--seeds", 3, "--vary", "init,order,noise", "--out", tmp_path / "run")
    assert msae("train", *SMALL, *options) == 0
    text = capsys.readouterr().out
    assert "noise  std 0 " in text  # this model draws none
    assert text.count("% of the variance") == 3
    rows = json.loads((tmp_path / "run/table.json").read_text())
    noise = [row["test_mse"] for row in rows if row["vary"] == "noise"]
    assert len(set(noise)) == 1


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A sweep over what one program trains, half of it to divergence, and what it printed."""
    out, printed = tmp_path_factory.mktemp("swept") / "s", io.StringIO()
    axes = ("--sweep", "lr=1e-3,1e30", "--sweep", "beta=1,2")
    with contextlib.redirect_stdout(printed):
        assert msae("train", *SMALL, "--seeds", 2, *axes, "--out", out) == 0
    return out, printed.getvalue()


def test_a_sweep_is_one_table(swept: tuple[Path, str]) -> None:
    out, text = swept
    assert "optimizer.learning_rate=0.001, objective.beta=2: test MSE" in text
    assert len(json.loads((out / "table.json").read_text())) == 8


def test_compare_runs_and_models(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    wider = [*SMALL[:-2], "--set", "latent_dim=8"]
    assert msae("train", *wider, "--seeds", 3, "--out", tmp_path / "wider") == 0
    capsys.readouterr()
    assert msae("compare", run, tmp_path / "wider", "--claim", 22, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["seeds"] == [0, 1, 2]
    assert not found["fair"]
    assert "not enough seeds" in found["sentence"]
    assert found["claim"] in ("not reproduced", "not enough seeds")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", *SMALL, "--seeds", "0"], "greater than or equal to 1"),
        (["train", *SMALL, "--seeds", "2", "--vary", "inti"], "unknown source of variance 'inti'"),
        (["train", *SMALL, "--seeds", "2", "--data-devices", "3"], "cannot be divided"),
        (["train", *SMALL, "--sweep", "latent_dim"], "expected FIELD=V1,V2"),
        (["train", *SMALL, "--sweep", "seed=1,2"], "--seeds"),
        (["train", *SMALL, "--seeds-at-once", "2"], "need --seeds"),
        (["train", *SMALL, "--num-processes", "2"], "need --coordinator"),
        (["embed", "RUN", "--input", "x.npy", "--out", "z.npy"], "pick one of 0, 1, 2"),
        (["evaluate", "RUN", "--seed", "9"], "has no seed 9"),
        (["compare", "RUN", "baselin"], "unknown model 'baselin'"),
        (["compare", "RUN", "runs/nope"], "runs/nope: no such directory"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], words: str, run: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    assert msae(*[str(run) if a == "RUN" else a for a in arguments]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert len(error.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_evaluate_names_the_diverged_and_refuses_mixed_runs(
    swept: tuple[Path, str], capsys: pytest.CaptureFixture
) -> None:
    out, text = swept
    assert text.count("every seed diverged") == 2
    assert msae("evaluate", out / "all") == 2
    assert "varies more than seeds" in capsys.readouterr().err
    assert msae("evaluate", out / "all", "--member", 0) == 0


def test_a_control_takes_the_seeds_and_the_shape_of_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Signals of length 32, seeds 5 and 6, of which the recipe of the control knows nothing."""
    x = np.random.default_rng(0).normal(size=(60, 32)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    own = ("--data", tmp_path / "x.npy", "--seed", 5, "--seeds", 2, "--out", tmp_path / "run")
    small = ("--set", "hidden=[8]", "--batch-size", 18, "--epochs", 1)
    assert msae("train", "--model", "baseline-mlp", *small, *own) == 0
    capsys.readouterr()
    matched = ("--match", "params", "--runs", tmp_path / "c", "--json")
    assert msae("compare", tmp_path / "run", "baseline", *matched) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["seeds"] == [5, 6]
    assert found["name_b"] == "baseline-matched-params"
    assert not any("parameters" in text for text in found["unfair"])
