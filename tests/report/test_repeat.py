"""How to train again: what is said gives the configuration and the members again."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import msae_jax as mj
from msae_jax import config
from msae_jax.cli import training
from msae_jax.cli.app import app
from msae_jax.config import EarlyStopping, ModelConfig, Objective, OptimizerConfig, TrainConfig
from msae_jax.fitting import sweep
from msae_jax.report import repeat
from msae_jax.report.gather import Run, Subject, subjects
from msae_jax.system.names import FromFile
from msae_jax.train.seeds import Member
from tests.report.conftest import Runs

VAE = TrainConfig(
    ModelConfig("vae3", {"hidden": [300], "latent_dim": 3}, "flax"),
    data="my file.csv?label=y",
    objective=Objective(likelihood="bernoulli", reduction="sum", beta=0.1),
    optimizer=OptimizerConfig("sgd", 0.01, momentum=0.9, clip_norm=1.5),
    early_stopping=EarlyStopping(3, "test_nats"),
    best_metric="test_mse",
    seed=7,
)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Collects what would be trained: configurations and members; trains nothing."""
    calls: list[Any] = []

    def many(settings: TrainConfig, members: list[Member], *_: object, **__: object) -> None:
        calls.append((settings, members))

    def one(settings: TrainConfig, *_: object) -> None:
        calls.append((settings, [Member(settings.seed)]))

    def grid(settings: TrainConfig, texts: list[str], seeds: int, *_: object) -> None:
        for group in sweep.groups(settings, sweep.parse_axes(texts), seeds):
            calls.append((group.settings, group.members))

    monkeypatch.setattr(training, "_many", many)
    monkeypatch.setattr(training, "_one", one)
    monkeypatch.setattr(training, "_sweep", grid)
    monkeypatch.setattr(training, "_join", lambda *_: None)
    return calls


def subject(settings: TrainConfig, members: list[Member]) -> Subject:
    run = Run("a", Path("a"), settings, members, {}, [[] for _ in members], None, [])
    return Subject("a", Path("a"), [run], [])


def told(text: str, trained: list[Any]) -> list[Any]:
    """Runs the command line, and returns the configurations and members that it would train."""
    words = shlex.split(text)
    assert words[0] == "msae"
    done = CliRunner().invoke(app, words[1:], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return trained


@pytest.mark.parametrize(
    ("settings", "members"),
    [
        (mj.recipe("vae5"), [Member(0)]),
        (VAE, [Member(7)]),
        (VAE, [Member(7), Member(8), Member(9)]),
        (VAE, [Member(s, v) for v in ("noise", "all") for s in (7, 8)]),
        (replace(mj.recipe("msae"), data="[1]", best_metric="test_loss"), [Member(0), Member(1)]),
    ],
)
def test_a_command_trains_the_same(
    settings: TrainConfig, members: list[Member], trained: list[Any]
) -> None:
    text = repeat.how(subject(settings, members))
    assert not repeat.is_python(text)
    ((found, listed),) = told(text, trained)
    assert found == settings
    assert listed == members


def test_a_command_of_a_sweep_trains_its_groups(runs: Runs, trained: list[Any]) -> None:
    (grid,) = subjects([runs.grid])
    found = told(repeat.how(grid), trained)
    assert [members for _, members in found] == [run.members for run in grid.runs]
    assert [group for group, _ in found] == [run.settings for run in grid.runs]


@pytest.mark.parametrize(
    "members",
    [
        [Member(3), Member(11)],  # no option of the command line lists seeds
        [Member(7, learning_rate=0.1), Member(8, learning_rate=0.2)],
    ],
)
def test_what_no_command_says_is_said_in_python(
    members: list[Member], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = repeat.how(subject(VAE, members))
    assert repeat.is_python(text)
    calls: list[Any] = []
    monkeypatch.setattr(mj, "fit", lambda settings, seeds, out: calls.append((settings, seeds)))
    exec(text, {})
    ((found, listed),) = calls
    assert config.to_dict(found) == config.to_dict(VAE)
    assert listed == members


def test_a_model_of_code_that_is_not_named_is_given_in_full() -> None:
    """Its recipe is not known without running it: every field is said."""
    own = replace(VAE, model=ModelConfig(FromFile("trap_of_repeat:Model"), {"latent_dim": 3}))
    words = shlex.split(repeat.how(subject(own, [Member(7)])))
    assert words[words.index("--model") + 1] == "trap_of_repeat:Model"
    given = dict(
        config.parse_assignment(words[i + 1]) for i, word in enumerate(words) if word == "--set"
    )
    assert given["model.options"] == {"latent_dim": 3}
    assert {"objective.beta", "optimizer.momentum", "pipeline", "best_metric"} <= {*given}
