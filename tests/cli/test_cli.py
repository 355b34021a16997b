"""The commands as a user runs them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from msae_jax import models
from msae_jax.config import ModelConfig
from tests.cli.in_process import msae

pytestmark = pytest.mark.usefixtures("all_quick_to_compile")

# A batch size that divides the 4,000 signals: a short last batch compiles a second step.
SMALL = ["--model", "baseline", "--epochs", "2", "--batch-size", "100"]
SMALL += ["--set", "hidden=[16]", "--set", "latent_dim=4"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("cli") / "run"
    assert msae("train", *SMALL, "--out", out, "--seed", "3") == 0
    return out


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['msae', '--help']; from msae_jax.cli import main; main();"
        "heavy = {'jax', 'flax', 'optax', 'orbax', 'numpy', 'matplotlib', 'torch', 'sklearn'};"
        "print('heavy:', sorted(heavy & set(sys.modules)))"
    )
    got = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert got.returncode == 0, got.stderr
    for command in ("train", "evaluate", "embed", "reconstruct", "reproduce", "list"):
        assert f"\n  {command} " in got.stdout
    assert got.stdout.splitlines()[-1] == "heavy: []"


def test_the_module_is_the_command() -> None:
    got = subprocess.run(
        [sys.executable, "-m", "msae_jax", "train", "--modle", "x"], capture_output=True, text=True
    )
    assert got.returncode == 2
    assert got.stdout == ""
    assert len(got.stderr.splitlines()) == 1
    assert "--model" in got.stderr


def test_list(capsys: pytest.CaptureFixture) -> None:
    assert msae("list", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    counts = {m["name"]: m["parameters"] for m in found["models"]}
    assert counts["msae"] == 137_024
    assert list(counts) == models.names()
    assert {"sines", "digits", "mnist", "fashion_mnist"} <= {d["name"] for d in found["data"]}
    assert msae("list") == 0
    assert "137,024" in capsys.readouterr().out


def test_train_writes_a_run_and_says_what_it_got(run: Path) -> None:
    saved = json.loads((run / "config.json").read_text())
    assert saved["seed"] == 3
    assert saved["model"]["options"] == {"hidden": [16], "latent_dim": 4}
    assert (saved["data"], saved["batch_size"]) == ("sines", 100)
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 2


def test_train_is_quiet_where_there_is_no_terminal(
    tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    assert msae("train", *SMALL, "--out", tmp_path / "run") == 0
    got = capfd.readouterr()  # with what XLA writes
    assert got.err == ""
    assert len(got.out.splitlines()) == 2
    assert "test MSE" in got.out


def test_resume_needs_only_the_directory(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "longer"
    assert msae("train", *SMALL, "--out", out, "--seed", "3") == 0
    assert msae("train", "--resume", "--out", out, "--epochs", "3") == 0
    assert len((out / "metrics.jsonl").read_text().splitlines()) == 3
    assert json.loads((out / "config.json").read_text())["model"]["options"]["latent_dim"] == 4


def test_evaluate_gives_what_training_logged(run: Path, capsys: pytest.CaptureFixture) -> None:
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    for weights in (run, run / "checkpoints" / "2"):
        capsys.readouterr()
        assert msae("evaluate", weights, "--data", "sines", "--json") == 0
        got = json.loads(capsys.readouterr().out)
        assert got["n"] == 800
        assert got["mse"] == pytest.approx(last["test_mse"], rel=1e-6)
    assert msae("evaluate", run, "--split", "train") == 0
    assert "4000 samples" in capsys.readouterr().out


def test_embed_and_reconstruct_a_users_arrays(run: Path, tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(5, 128))
    np.save(tmp_path / "x.npy", x)
    np.savetxt(tmp_path / "x.csv", x, delimiter=",")
    for suffix in ("npy", "csv"):
        given = ["--input", tmp_path / f"x.{suffix}"]
        assert msae("embed", run, *given, "--out", tmp_path / f"z-{suffix}.npy") == 0
        assert msae("reconstruct", run, *given, "--out", tmp_path / f"r-{suffix}.npy") == 0
    z = np.load(tmp_path / "z-npy.npy")
    assert z.shape == (5, 4)
    assert np.load(tmp_path / "r-npy.npy").shape == (5, 128)
    np.testing.assert_allclose(z, np.load(tmp_path / "z-csv.npy"), atol=1e-5)


@pytest.mark.slow
def test_a_conv_model_trains_on_real_digits(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "conv"
    options = ["--set", "channels=[2,2,4]", "--batch-size", "479", "--epochs", "2", "--out", out]
    assert msae("train", "--model", "conv", "--data", "digits", *options) == 0  # 3 x 479
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert lines[1]["train_mse"] < lines[0]["train_mse"]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    np.save(tmp_path / "short.npy", np.zeros((3, 5), np.float32))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    (tmp_path / "torn.npy").write_bytes(b"\x93NUMPY\x01\x00v\x00{")
    return tmp_path


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ("trian", "train"),
        ("train --model convv --out {f}/new", "Did you mean 'conv'?"),
        ("train --data minst --out {f}/new", "Did you mean 'mnist'?"),
        ("train --optimizer adma --out {f}/new", "Did you mean 'adam'?"),
        ("train --set latent_dimm=3 --out {f}/new", "Did you mean 'latent_dim'?"),
        ("train --set latent_dim --out {f}/new", "FIELD=VALUE"),
        ("train --epochs 0 --out {f}/new", "at least 1, got 0"),
        ("train --epochs many --out {f}/new", "'--epochs'"),
        ("train --model conv --data sines --out {f}/new", "expects images [H, W, C]"),
        ("train --out {f}/full", "not empty"),
        ("train --resume", "--out"),
        ("train --resume --out {f}/typo", "no run to resume"),
        ("train --model msae --set channels=[16] --out {f}/new", "takes 2 integers"),
        ("train --model .:X --out {f}/new", "cannot import"),
        ("train --set optimizer=adam --out {f}/new", "fields of its own"),
        ("train --set seed=1.5 --out {f}/new", "whole number"),
        ("train --set data=5 --out {f}/new", "must be text"),
        ("evaluate {f}/typo.pth --model conv", "no such file"),
        ("train --data {f}/none.npy --out {f}/new", "none.npy"),
        ("train --data {f}/torn.npy --out {f}/new", "torn.npy"),
        ("train --model baseline --likelihood bernoulli --out {f}/new", "[0, 1]"),
        ("evaluate {f}/none", "none"),
        ("evaluate {f}/full", "neither a run directory"),
        ("evaluate {run} --split tests", "Did you mean 'test'?"),
        ("evaluate {run} --data digits", "expects [B, 128]"),
        ("embed {run} --input {f}/short.npy --out {f}/z.npy", "got [3, 5]"),
        ("embed {run} --input {f}/none.npy --out {f}/z.npy", "none.npy"),
        ("embed {run} --input {f}/short.npy --out {f}/short.npy", "exists"),
        ("embed {run} --input {f}/short.npy --out {f}/z.txt", ".npy"),
        ("reproduce sine", "Did you mean 'sines'?"),
        ("reproduce sines --seeds 0", "--seeds"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    args: str, words: str, files: Path, run: Path, capsys: pytest.CaptureFixture
) -> None:
    before = sorted(files.rglob("*"))
    assert msae(*(part.format(f=files, run=run) for part in args.split())) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1, captured.err
    assert captured.err.startswith("msae: error: ")
    assert words in captured.err
    assert sorted(files.rglob("*")) == before  # nothing half-written is left behind


def test_divergence_is_one_line_and_status_1(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    options = ["--optimizer", "sgd", "--lr", "1e30", "--out", tmp_path / "run"]
    assert msae("train", *SMALL, *options) == 1
    captured = capsys.readouterr()
    assert len(captured.err.splitlines()) == 1
    assert "step 2 (epoch 1, step 2 of 40)" in captured.err


def test_a_users_model_by_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text(
        "from msae_jax.models.dense import DenseAutoencoder\n"
        "class Narrow(DenseAutoencoder):\n"
        "    latent_dim: int = 3\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert msae("train", "--model", "mine:Narrow", "--epochs", "1", "--batch-size", "100") == 0
    out = tmp_path / "runs" / "mine.Narrow-sines-0"  # without a colon
    model = models.build(ModelConfig("mine:Narrow"), (128,))
    assert model.latent_dim == 3
    np.save(tmp_path / "x.npy", np.zeros((2, 128), np.float32))
    args = ["embed", out, "--input", tmp_path / "x.npy", "--out", tmp_path / "z.npy"]
    assert msae(*args) == 2  # a run may come from a stranger: the user names its code, too
    assert msae(*args, "--model", "mine:Narrow") == 0
    assert np.load(tmp_path / "z.npy").shape == (2, 3)
