"""The choice of hyper-parameters, on functions whose best point is known."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from msae_jax.config import ModelConfig, TrainConfig
from msae_jax.data import Dataset
from msae_jax.errors import InputError
from msae_jax.fitting import loop, tuning
from msae_jax.fitting.tuning import Asked, Range, Study, Trial, parse_search

SETTINGS = TrainConfig(ModelConfig("baseline", {"hidden": [8], "latent_dim": 2}), epochs=1)
AXES: dict[str, tuning.Axis] = {
    "optimizer.learning_rate": Range(1e-5, 1.0, log=True),
    "hidden": [[8], [16, 8]],
    "latent_dim": Range(2, 8),
}
ASKED = Asked(SETTINGS, AXES, [0, 1])


def bowl(point: dict[str, Any]) -> float:
    """Has its least value, 0, at a learning rate of 1e-3, two hidden layers, and 4 latents."""
    rate = (math.log10(point["optimizer.learning_rate"]) + 3) ** 2
    return rate + (point["hidden"] == [8]) + (point["latent_dim"] - 4) ** 2 / 10


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pytest.importorskip("optuna", reason="Optuna is not installed (tune extra)")
    return tmp_path


@pytest.mark.parametrize(
    ("text", "axis"),
    [
        ("latent_dim=2:8", Range(2, 8)),
        ("latent_dim=log:2:64", Range(2, 64, log=True)),
        ("momentum=0:0.9", Range(0, 0.9)),
        ("weight_decay=log:1e-6:1e-2", Range(1e-6, 1e-2, log=True)),
        ("optimizer.name=adam,sgd", ["adam", "sgd"]),
        ("hidden=[64],[32,16]", [[64], [32, 16]]),
        ("likelihood=a:b,c:d", ["a:b", "c:d"]),
    ],
)
def test_what_is_searched_is_read(text: str, axis: tuning.Axis) -> None:
    ((name, found),) = parse_search([text]).items()
    assert name == text.partition("=")[0]
    assert found == axis
    assert type(found) is type(axis)


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        ([], "nothing to tune"),
        (["lr"], "expected FIELD="),
        (["lr=2:1"], "expected LOW below HIGH, got 'lr=2:1'"),
        (["lr=log:0:1"], "both above 0"),
        (["lr=1:2", "learning_rate=3:4"], "learning_rate cannot be searched twice"),
        (["seed=0:3"], "seed cannot be searched"),
    ],
)
def test_a_bad_search_is_refused(texts: list[str], words: str) -> None:
    with pytest.raises(InputError, match=words):
        parse_search(texts)


def test_the_best_point_is_found(folder: Path) -> None:
    best = Study(folder).go_on(ASKED, 40, bowl)
    assert best.value == bowl(best.point) < 0.3  # at random 40 points do so once in 20 times
    assert best.point["hidden"] == [16, 8]


def test_a_study_that_was_killed_has_the_trials_of_one_that_was_not(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    whole, ended = Study(tmp_path_factory.mktemp("whole")), []
    whole.go_on(ASKED, 14, bowl, lambda trial, best: ended.append((trial, best)))
    assert [trial for trial, _ in ended] == whole.finished(AXES)
    assert [best.value for _, best in ended] == [
        min(trial.value for trial, _ in ended[: i + 1]) for i in range(14)
    ]
    left = 12

    def dying(point: dict[str, Any]) -> float:
        nonlocal left
        left -= 1
        if left == 0:
            raise KeyboardInterrupt
        return bowl(point)

    with pytest.raises(KeyboardInterrupt):
        Study(folder).go_on(ASKED, 14, dying)
    again = Study(folder)
    assert len(again.finished(AXES)) == 11
    again.go_on(ASKED, 14, bowl)
    assert again.finished(AXES) == whole.finished(AXES)


def test_a_point_is_not_trained_twice(folder: Path) -> None:
    asked = ASKED._replace(axes={"latent_dim": [2, 3]})
    seen: list[int] = []

    def value(point: dict[str, Any]) -> float:
        seen.append(point["latent_dim"])
        return float(point["latent_dim"])

    best = Study(folder).go_on(asked, 8, value)
    assert sorted(seen) == [2, 3]
    assert (best.point, best.value) == ({"latent_dim": 2}, 2.0)


def test_another_study_is_refused(folder: Path) -> None:
    study = Study(folder)
    study.tell(ASKED)
    assert Asked.from_dict(Study(folder).told() or {}, SETTINGS) == ASKED
    study.tell(ASKED)
    with pytest.raises(InputError, match=r"validation was 0\.2, is 0\.5"):
        study.tell(ASKED._replace(validation=0.5))


def test_what_cannot_be_tuned_is_said_before_anything_is_trained(signals: Dataset) -> None:
    for axes, words in (
        ({"latent_dmi": [2]}, "latent_dmi"),
        ({"optimizer.learning_rate": Range(-1.0, 1.0)}, "learning rate must be greater than 0"),
        ({"optimizer.nme": ["adam"]}, "unknown field of OptimizerConfig 'nme'"),
    ):
        with pytest.raises(InputError, match=words):
            tuning.check(ASKED._replace(axes=axes), signals)
    with pytest.raises(InputError, match="unknown metric to choose by 'train_mse'"):
        tuning.check(ASKED._replace(metric="train_mse"), signals)
    tuning.check(ASKED, signals)


def test_a_trial_is_the_mean_over_seeds_and_infinite_if_one_diverges(
    signals: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[Any] = []

    class Done:
        def __init__(self, values: list[float]) -> None:
            self.values = values

        def final(self, metric: str) -> list[float]:
            assert metric == "test_mse"
            return self.values

    def fit_many(settings: TrainConfig, members: Any, dataset: Dataset, on_epoch: Any) -> Done:
        trained.append((settings, members))
        assert dataset is signals
        return Done([1.0, 2.0] if members[0].learning_rate == 0.1 else [1.0, math.nan])

    monkeypatch.setattr(tuning, "fit_many", fit_many)
    mean = tuning.mean_of(ASKED, signals)
    assert mean({"optimizer.learning_rate": 0.1, "latent_dim": 5}) == 1.5
    assert mean({"optimizer.learning_rate": 0.9, "latent_dim": 5}) == math.inf
    settings, members = trained[0]
    assert settings.model.options == {"hidden": [8], "latent_dim": 5}
    assert [(m.seed, m.learning_rate) for m in members] == [(0, 0.1), (1, 0.1)]
    assert members == loop.as_members(settings, members)
    assert Trial(1, {}, math.inf) > Trial(1, {}, 1.0)
