from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from msae_jax.config import ModelConfig, TrainConfig
from msae_jax.data import Dataset
from msae_jax.errors import InputError
from msae_jax.fitting import loop, sweep

SETTINGS = TrainConfig(
    model=ModelConfig("baseline", {"hidden": [16], "latent_dim": 4}),
    data="few.npy",
    epochs=1,
    batch_size=45,  # a third of the training part
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sweep")


@pytest.fixture(scope="module")
def few(signals: Dataset, folder: Path) -> TrainConfig:
    np.save(folder / "few.npy", signals.train.x)
    return replace(SETTINGS, data=str(folder / "few.npy"))


@pytest.fixture(scope="module")
def swept(few: TrainConfig, folder: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows of a sweep in `out`, and of the same with a value and a seed more."""
    rates = {"lr": [1e-3, 1e-2]}
    first = sweep.run(few, rates | {"latent_dim": [2]}, 1, out=folder / "out")
    with pytest.raises(InputError, match="is not empty"):
        sweep.run(few, rates | {"latent_dim": [2]}, 1, out=folder / "out")
    axes = rates | {"latent_dim": [2, 3]}
    return first, sweep.run(few, axes, 2, out=folder / "out", resume=True)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("latent_dim=5,20", [5, 20]),
        ("lr=1e-3,0.01", [0.001, 0.01]),
        ("optimizer.name=adam,sgd", ["adam", "sgd"]),
        ("hidden=[64],[32,16]", [[64], [32, 16]]),
        ("hidden=[[64],[32]]", [[[64], [32]]][0]),
    ],
)
def test_axes_are_read(text: str, values: list) -> None:
    ((_, got),) = sweep.parse_axes([text]).items()
    assert got == values


@pytest.mark.parametrize("text", ["latent_dim", "=3", "latent_dim=", "latent_dim=5,5"])
def test_bad_axes_are_refused(text: str) -> None:
    with pytest.raises(InputError):
        sweep.parse_axes([text])


def test_configurations_of_equal_shapes_train_together() -> None:
    axes = {"lr": [1e-3, 1e-2], "beta": [1.0, 2.0], "latent_dim": [2, 3]}
    found = sweep.groups(SETTINGS, axes, 3)
    assert [group.name for group in found] == ["latent_dim=2", "latent_dim=3"]
    assert [len(group.members) for group in found] == [12, 12]
    assert {m.learning_rate for m in found[0].members} == {1e-3, 1e-2}
    assert found[1].settings.model.options["latent_dim"] == 3


def test_a_sweep_gives_a_row_a_seed_that_its_own_run_would_give(
    few: TrainConfig, swept: tuple[list[dict[str, Any]], ...], folder: Path
) -> None:
    """Losses to 1e-5 relative: tuned members multiply by their learning rate as an array."""
    rows = swept[1]
    assert len(rows) == 8
    row = next(
        r
        for r in rows
        if (r["optimizer.learning_rate"], r["latent_dim"], r["seed"]) == (1e-2, 3, 1)
    )
    own = replace(
        few,
        seed=1,
        model=ModelConfig("baseline", {"hidden": [16], "latent_dim": 3}),
        optimizer=replace(few.optimizer, learning_rate=1e-2),
    )
    assert row["test_mse"] == pytest.approx(loop.fit_one(own).history[-1]["test_mse"], rel=1e-5)
    with (folder / "out/table.csv").open() as file:
        listed = list(csv.DictReader(file))
    assert [float(r["test_mse"]) for r in listed] == [r["test_mse"] for r in rows]
    assert json.loads((folder / "out/table.json").read_text())[0]["seed"] == 0


def test_a_sweep_resumes_and_grows(swept: tuple[list[dict[str, Any]], ...]) -> None:
    first, grown = swept
    rate = "optimizer.learning_rate"
    found = {latent: [] for latent in (2, 3)}
    for row in grown:
        found[row["latent_dim"]].append((row[rate], row["seed"]))
    assert found[2] == [(1e-3, 0), (1e-2, 0), (1e-3, 1), (1e-2, 1)]
    assert found[3] == [(1e-3, 0), (1e-3, 1), (1e-2, 0), (1e-2, 1)]
    assert grown[:2] == first


def test_seeds_are_no_axis() -> None:
    with pytest.raises(InputError, match="--seeds"):
        sweep.groups(SETTINGS, {"seed": [1, 2]}, 2)
    with pytest.raises(InputError, match="latent_dmi"):
        sweep.run(replace(SETTINGS, data="sines"), {"latent_dmi": [1]}, 2, out="nowhere")
