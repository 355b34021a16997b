"""What a name stands for, and that a name from a file alone runs nothing."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path

import pytest

from msae_jax import config
from msae_jax.config import Objective, TrainConfig
from msae_jax.errors import InputError
from msae_jax.system import names


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_registered_names_and_own_ones(folder: Path) -> None:
    (folder / "names_good.py").write_text("thing = 7\n")
    assert names.find("model", "a", {"a": 1}) == 1
    assert names.find("model", "names_good:thing", {}) == 7


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("alhpa", "unknown model 'alhpa'. Did you mean 'alpha'?"),
        ("names_absent:thing", "cannot import model 'names_absent:thing': ModuleNotFoundError"),
        ("names_torn:thing", "ZeroDivisionError"),
        ("names_syntax:thing", "SyntaxError"),
        ("names_fine:thin", "the module 'names_fine' has no 'thin'"),
        (":thing", "cannot import"),
        (".:thing", "cannot import"),
    ],
)
def test_a_name_that_stands_for_nothing_is_one_line(name: str, words: str, folder: Path) -> None:
    (folder / "names_fine.py").write_text("thing = 7\n")
    (folder / "names_torn.py").write_text("1 / 0\n")
    (folder / "names_syntax.py").write_text("def\n")
    with pytest.raises(InputError) as caught:
        names.find("model", name, {"alpha": 1})
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_name_is_registered_once_and_without_a_colon() -> None:
    known = {"a": 1}
    names.add("model", "b", 2, known)
    assert known == {"a": 1, "b": 2}
    with pytest.raises(InputError, match="a model named 'a' exists already"):
        names.add("model", "a", 3, known)
    with pytest.raises(InputError, match="has no colon, got 'x:y'"):
        names.add("model", "x:y", 3, known)


@pytest.mark.parametrize(
    ("kind", "option"),
    [("model", "--model"), ("likelihood", "--likelihood"), ("data set", "--data")],
)
def test_a_name_from_a_file_is_not_imported(kind: str, option: str, folder: Path) -> None:
    (folder / "names_hostile.py").write_text(f"open({str(folder / 'ran')!r}, 'w')\nthing = 7\n")
    name = names.from_file(kind, "names_hostile:thing")
    assert name == "names_hostile:thing"
    with pytest.raises(InputError, match=f"add {option} names_hostile:thing"):
        names.find(kind, name, {})
    assert not (folder / "ran").exists()
    named = names.from_file(kind, "names_hostile:thing", ["other", "names_hostile:thing"])
    assert names.find(kind, named, {}) == 7


def test_one_error_lists_all_that_is_to_be_named() -> None:
    kinds = {"model": "a:M", "data set": "a:d", "likelihood": "gaussian"}
    with pytest.raises(InputError, match=r"add --model a:M --data a:d \(in Python"):
        names.check_named({kind: names.from_file(kind, name) for kind, name in kinds.items()})
    names.check_named(kinds)


def test_the_mark_outlives_what_configurations_go_through() -> None:
    marked = names.from_file("likelihood", "a.b:c")
    settings = TrainConfig(objective=Objective(marked))
    assert settings == TrainConfig(objective=Objective("a.b:c"))
    for changed in (
        copy.deepcopy(settings),
        replace(settings, epochs=3),
        config.override(settings, {"epochs": 3}),
    ):
        assert isinstance(changed.objective.likelihood, names.FromFile)
    named = config.override(settings, {"objective.likelihood": "a.b:c"})
    assert type(named.objective.likelihood) is str
    assert json.loads(json.dumps(config.to_dict(settings)))["objective"]["likelihood"] == "a.b:c"


def test_only_our_models_and_likelihoods_need_no_mark() -> None:
    own = "msae_jax.models.conditional:ConditionalVae"
    assert type(names.from_file("model", own)) is str
    assert type(names.from_file("model", "conv")) is str
    # A data set is called: `msae_jax.cli:main` would run the command line.
    assert type(names.from_file("data set", "msae_jax.cli:main")) is names.FromFile
    for other in ("msae_jax_evil.models:X", "msae_jaxx:X", "MSAE_JAX.models:X"):
        assert type(names.from_file("model", other)) is names.FromFile
