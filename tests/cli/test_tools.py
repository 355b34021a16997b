"""Files of configuration, profiles, determinism and trackers, as a user asks for them."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from msae_jax import config, data, recipes
from msae_jax.cli.training import configured
from msae_jax.config import EarlyStopping, ModelConfig, Objective, OptimizerConfig, TrainConfig
from msae_jax.data import Dataset, held_out
from msae_jax.errors import InputError
from msae_jax.fitting import tuning
from msae_jax.fitting.loop import fit_many
from msae_jax.train.member import Member
from tests.cli.in_process import msae

pytestmark = pytest.mark.usefixtures("all_quick_to_compile")

TOML = """
epochs = 2
batch_size = 27
data = "few.npy"

[model]
name = "baseline"
options = { hidden = [8], latent_dim = 2 }

[optimizer]
learning_rate = 0.01
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("tools")
    rng = np.random.default_rng(0)
    np.save(found / "few.npy", rng.standard_normal((60, 16)).astype(np.float32))
    (found / "run.toml").write_text(TOML)
    return found


@pytest.fixture(scope="module")
def run(folder: Path) -> tuple[Path, str, str]:
    """A run of two seeds by a file of configuration, and what it printed."""
    out, err = io.StringIO(), io.StringIO()
    options = ("--seeds", 2, "--profile", "--deterministic", "--out", "run")
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        patch.chdir(folder)
        patch.setenv("XLA_FLAGS", os.environ.get("XLA_FLAGS", ""))  # is put back afterwards
        assert msae("train", "--config", "run.toml", *options) == 0
        assert "--xla_gpu_deterministic_ops=true" in os.environ["XLA_FLAGS"]
    return folder / "run", out.getvalue(), err.getvalue()


def timeless(run: Path) -> list[dict]:
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [{**json.loads(line), "seconds": 0} for line in lines]


def test_a_configuration_of_a_run_trains_it_again(
    run: tuple[Path, str, str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))  # for the tracker
    log = ("--log", "tests.trackers.own:Own")
    assert msae("train", "--config", "run/config.json", *log, "--out", "again") == 0
    told = json.loads((folder / "again/trackers/told.json").read_text())
    assert [series["name"] for series in told["series"]] == ["seed-0", "seed-1"]
    text = (folder / "again/own.jsonl").read_text()
    assert text.count('"log"') == 4
    assert len(timeless(folder / "again")) == 4  # both seeds, which the option does not say
    assert timeless(folder / "again") == timeless(run[0])


def test_a_profile_is_written_and_says_where_to_open_it(run: tuple[Path, str, str]) -> None:
    (written,) = run[0].glob("profile/**/perfetto_trace.json.gz")
    assert "perfetto_trace.json.gz; open it at https://ui.perfetto.dev" in run[1]
    events = json.loads(gzip.decompress(written.read_bytes()))["traceEvents"]
    assert any("train_epoch" in event.get("name", "") for event in events)


def test_deterministic_says_what_it_means_on_a_cpu(run: tuple[Path, str, str]) -> None:
    assert "msae: note: --deterministic changes nothing on a CPU" in run[2]


def test_options_win_over_the_file_and_the_file_over_the_recipe(folder: Path) -> None:
    path = folder / "some.toml"
    path.write_text(
        '[model]\nname = "vae3"\n[objective]\nbeta = 4.0\n[early_stopping]\npatience = 3\n'
        "[optimizer]\nmomentum = 0.5\n"  # of no use to the recipe's Adam
    )
    changes = {"objective.beta": 2.0, "optimizer.name": "sgd", "early_stopping.patience": 5}
    assert configured(None, changes, None, path) == replace(
        recipes.recipe("vae3"),
        objective=Objective("bernoulli", "sum", beta=2.0),
        optimizer=OptimizerConfig("sgd", momentum=0.5),
        early_stopping=EarlyStopping(5),
    )
    assert configured("vae5", changes, None, path).model == ModelConfig("vae5")


def test_every_field_goes_through_a_file(folder: Path) -> None:
    path = folder / "whole.json"
    settings = TrainConfig(
        ModelConfig("baseline", {"hidden": [3]}), early_stopping=None, data="x.npy", seed=7
    )
    path.write_text(json.dumps(config.to_dict(settings)))
    assert configured(None, {}, None, path) == settings


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.toml", "epoch = 2", "unknown field of TrainConfig 'epoch'. Did you mean 'epochs'?"),
        ("a.toml", "[optimizer]\nlr = 1", "unknown field of OptimizerConfig 'lr'"),
        ("a.toml", "optimizer = 3", "optimizer has fields of its own, set those; got 3"),
        ("a.toml", "epochs = ", "a.toml is not TOML"),
        ("a.json", "{", "a.json is not JSON"),
        ("a.json", "[1]", "expected the fields of a configuration, got list"),
        ("a.json", '{"epochs": "two"}', "epochs must be a whole number"),
        ("a.json", '{"model": {"name": 3}}', "model.name must be text, got 3"),
        ("a.yaml", "", "expected a configuration in a .toml or .json file"),
        ("a.toml", '[model]\nname = "os:system"', "add --model os:system"),
        ("a.toml", 'data = "os:system"', "add --data os:system"),
        ("a.toml", '[model]\nname = "basline"', "unknown model 'basline'"),
    ],
)
def test_a_file_that_is_no_configuration_is_one_line(
    name: str, text: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / name).write_text(text)
    assert msae("train", "--config", tmp_path / name, "--out", tmp_path / "run") == 2
    error = capsys.readouterr().err
    assert words in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_a_file_that_is_not_there_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert msae("train", "--config", tmp_path / "no.toml") == 2
    assert "no.toml: No such file or directory" in capsys.readouterr().err


def test_an_unknown_tracker_is_one_line(capsys: pytest.CaptureFixture) -> None:
    assert msae("train", "--log", "tensorbord") == 2
    assert "unknown tracker 'tensorbord'. Did you mean 'tensorboard'?" in capsys.readouterr().err


def test_code_that_a_file_names_needs_the_users_word(folder: Path) -> None:
    path = folder / "own.toml"
    path.write_text('data = "own:waves"\n[model]\nname = "baseline"\n')
    with pytest.raises(InputError, match="add --data own:waves"):
        configured(None, {}, None, path)
    assert configured(None, {"data": "own:waves"}, None, path).data == "own:waves"


def test_tuning_chooses_on_a_validation_part_and_compares_on_fresh_seeds(
    run: tuple[Path, str, str],  # has compiled the program of the default
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    pytest.importorskip("optuna", reason="Optuna is not installed (tune extra)")
    monkeypatch.chdir(folder)
    seen: list[Dataset] = []
    own = held_out.held_out

    def watched(dataset: Dataset, share: float) -> Dataset:
        seen.append(own(dataset, share))
        return seen[-1]

    monkeypatch.setattr("msae_jax.data.held_out.held_out", watched)
    asked = ("--search", "lr=log:1e-4:1e-1", "--seeds", 2, "--fresh-seeds", 2)
    assert msae("tune", "--config", "run.toml", *asked, "--trials", 2, "--out", "tune") == 0
    first = capsys.readouterr().out
    assert first.count("of 2: optimizer.learning_rate=") == 2
    assert "not a fair comparison: optimizer" not in first  # it is what is compared
    for name in ("tuned", "default"):
        (side,) = folder.glob(f"tune/{name}-few-*")
        members = json.loads((side / "seeds.json").read_text())["members"]
        assert [member["seed"] for member in members] == [2, 3]
        rate = json.loads((side / "config.json").read_text())["optimizer"]["learning_rate"]
        assert (rate == 0.01) == (name == "default")
    assert f"msae train --config tune/{next(folder.glob('tune/tuned-*')).name}/config.json" in first
    # what is held out is of the training part, and a trial is the mean over the seeds on it
    whole, axes = data.load("few.npy"), tuning.parse_search(["lr=log:1e-4:1e-1"])
    assert {*seen[0].test.x.ravel()} < {*whole.train.x.ravel()}
    trial = tuning.Study(folder / "tune").finished(axes)[0]
    members = [
        Member(seed, learning_rate=trial.point["optimizer.learning_rate"]) for seed in (0, 1)
    ]
    settings = configured(None, {}, None, folder / "run.toml")
    assert trial.value == np.mean(fit_many(settings, members, seen[0]).final("test_mse"))

    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))  # for the tracker
    sides = sorted(folder.glob("tune/*-few-*"))
    logging = ("--log", "tests.trackers.own:Own", "--runs", "compared")
    assert msae("compare", *sides, *logging) == 0
    (verdict,) = folder.glob("compared/verdicts/*/own.jsonl")
    entries = [json.loads(line) for line in verdict.read_text().splitlines()]
    ((_, series, _, summary, _),) = [entry for entry in entries if entry[0] == "end"]
    assert series == "verdict"
    assert summary["sentence"] in capsys.readouterr().out

    assert msae("tune", "--resume", "--trials", 3, "--out", "tune", "--fresh-seeds", 2) == 0
    again = capsys.readouterr().out
    assert again.count("of 3: optimizer.learning_rate=") == 1
    assert msae("tune", "--resume", "--out", "tune", "--metric", "test_loss") == 2
    assert "metric was 'test_mse', is 'test_loss'" in capsys.readouterr().err
    assert msae("tune", "--search", "lr=1:2", "--out", "tune") == 2
    assert "tune is not empty" in capsys.readouterr().err


def test_a_search_that_cannot_be_leaves_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(folder)
    for search, words in (
        (["--search", "latent_dmi=2,3"], "latent_dmi"),
        (["--search", "lr=1e-3:1e-2", "--data", "no.npy"], "no.npy"),
        ([], "nothing to tune"),
    ):
        assert msae("tune", "--config", "run.toml", *search, "--out", "never") == 2
        error = capsys.readouterr().err
        assert words in error
        assert len(error.splitlines()) == 1
        assert not (folder / "never").exists()
