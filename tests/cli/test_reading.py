"""How the commands read a user's files: options, notes, and what a run remembers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.cli.test_cli import SMALL, msae

X = np.random.default_rng(0).random((40, 6)).round(3)


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("reading") / "x.csv"
    rows = [",".join(map(str, [*row, i % 3])) for i, row in enumerate(X.tolist())]
    path.write_text("\n".join(["a,b,c,d,e,f,kind", *rows]))
    return path


def test_a_run_remembers_how_its_file_was_read(
    labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "run"
    assert msae("train", *SMALL, "--data", labelled, "--label", "kind", "--out", out) == 0
    told = capsys.readouterr().err.splitlines()
    assert told == [
        f"msae: note: {labelled}: the first line, a,b,c,d,..., is a header (--header); "
        "40 samples of 6 features"
    ]
    assert json.loads((out / "config.json").read_text())["data"] == f"{labelled}?label=kind"
    assert msae("evaluate", out, "--json") == 0
    assert json.loads(capsys.readouterr().out)["n"] == 4
    assert msae("train", "--resume", "--epochs", "3", "--out", out) == 0
    np.save(tmp_path / "x.npy", X)
    embed = ["embed", out, "--input"]
    assert msae(*embed, labelled, "--label", "kind", "--out", tmp_path / "csv.npy") == 0
    assert msae(*embed, tmp_path / "x.npy", "--out", tmp_path / "npy.npy") == 0
    got, same = np.load(tmp_path / "csv.npy"), np.load(tmp_path / "npy.npy")
    np.testing.assert_array_equal(got, same)


def test_the_run_directory_is_named_after_the_file(
    labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert msae("train", *SMALL, "--data", labelled, "--columns", "a:f") == 0
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["baseline-x-0"]


def test_options_without_a_file(capsys: pytest.CaptureFixture) -> None:
    assert msae("train", *SMALL, "--label", "kind") == 2
    assert "--label says how a file is read: it needs --data FILE." in capsys.readouterr().err


@pytest.mark.parametrize("command", ["train", "evaluate", "embed", "reconstruct"])
def test_help_names_the_options(command: str, capsys: pytest.CaptureFixture) -> None:
    assert msae(command, "--help") == 0
    shown = capsys.readouterr().out
    for option in ("--label", "--columns", "--header", "--separator", "--decimal", "--scale"):
        assert f"  {option} " in shown


def test_the_home_folder_behind_an_equals_sign(
    labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert msae("train", *SMALL, "--data", labelled, "--label", "kind", "--out=~/runs/a") == 0
    assert (tmp_path / "runs" / "a" / "config.json").is_file()
    assert not (tmp_path / "~").exists()


@pytest.mark.slow
def test_training_without_standard_error(labelled: Path, tmp_path: Path) -> None:
    command = ["train", *SMALL, "--data", str(labelled), "--label", "kind", "--out", "run"]
    got = subprocess.run(
        ["bash", "-c", '"$0" -m msae_jax "$@" 2>&-', sys.executable, *command],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
    )
    assert got.returncode == 0, got.stdout
    assert got.stdout.splitlines()[-1] == "run"
