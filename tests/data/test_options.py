"""Reading options as part of a data set's name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from msae_jax import data
from msae_jax.data.options import Options, named, parse
from msae_jax.errors import InputError


def test_a_name_and_its_options_come_back() -> None:
    name = named("a b/x.csv", label="class & co=1", separator=";", columns="a:c,#é")
    path, options = parse(name)
    assert path == Path("a b/x.csv")
    assert options == Options(label="class & co=1", separator=";", columns="a:c,#é")
    assert named(name, label="y", header=None) == named(
        "a b/x.csv", label="y", separator=";", columns="a:c,#é"
    )
    assert named("x.csv") == "x.csv"


def test_a_question_mark_in_a_files_name(tmp_path: Path) -> None:
    np.save(tmp_path / "what?label=y.npy", np.eye(3))
    assert data.load_array(tmp_path / "what?label=y.npy").shape == (3, 3)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("lable=y", "unknown reading option 'lable'. Did you mean 'label'"),
        ("header=maybe", "unknown header 'maybe'"),
        ("separator=x", "unknown separator 'x'"),
        ("scale=0", "scale must be a number above 0, got '0'"),
        ("scale=inf", "scale must be a number above 0"),
        ("separator=,&decimal=,", "expected two that differ"),
        ("layout=first", "unknown layout 'first'. Did you mean 'channels-first'"),
    ],
)
def test_options_that_cannot_be(query: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        data.load(f"x.csv?{query}")


def test_options_of_tables_alone(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.eye(3))
    with pytest.raises(InputError, match=r"--label is for \.csv, \.parquet"):
        data.load(tmp_path / "x.npy?label=y")


def test_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    np.save(tmp_path / "x.npy", np.eye(3))
    assert data.load_array("~/x.npy").shape == (3, 3)
    assert data.load("~/x.npy?scale=2").train.x.max() == 0.5
