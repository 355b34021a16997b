"""Training that begins with weights from a file or a run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import msae_jax as mj
from msae_jax import weights as w
from msae_jax.config import ModelConfig, OptimizerConfig, TrainConfig
from msae_jax.data import Dataset, Split
from msae_jax.errors import InputError
from msae_jax.fitting.ensemble import Ensemble, Run
from msae_jax.interop.files import tensor_files
from msae_jax.train import evaluation
from tests.cli.in_process import msae
from tests.interop import pt2_by_hand

MODEL = ModelConfig("baseline", {"hidden": [8], "latent_dim": 4})
FIRST = TrainConfig(MODEL, batch_size=30, epochs=1)
STILL = OptimizerConfig("sgd", 1e-30)  # adds less than the last bit of any weight
pytestmark = pytest.mark.usefixtures("all_quick_to_compile")


def assert_equal_trees(a: Any, b: Any) -> None:
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.fixture(scope="module")
def trained(signals: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run `many` of seeds 0 to 2, its seed 1 as files, and as a card."""
    folder = tmp_path_factory.mktemp("trained")
    mj.fit(FIRST, signals, seeds=3, out=folder / "many")
    for name in ("one.pth", "one.safetensors", "one"):
        w.convert(folder / "many", folder / name, seed=1)
    assert msae("card", folder / "many", "--seed", 1, "--out", folder / "card") == 0
    return folder


def still(signals: Dataset, source: Path, **changes: Any) -> Any:
    settings = replace(FIRST, optimizer=STILL, init_from=str(source), **changes)
    return settings, signals


@pytest.mark.parametrize("name", ["one.pth", "one.safetensors", "one", "card"])
def test_a_run_begins_with_the_weights_of(name: str, trained: Path, signals: Dataset) -> None:
    """A step that changes no bit leaves them, and their test error is that of the weights."""
    run = mj.fit(*still(signals, trained / name))
    assert isinstance(run, Run)
    given = w.load_weights(trained / "many", seed=1)
    assert_equal_trees(run.variables, given.variables)
    found = evaluation.evaluate(given.model, given.variables, signals.test.x, FIRST.objective)
    assert run.history[0]["test_mse"] == pytest.approx(found["mse"], rel=1e-6)


def test_each_seed_begins_with_its_own_of_a_run_of_many(trained: Path, signals: Dataset) -> None:
    settings, _ = still(signals, trained / "many")
    done = mj.fit(settings, signals, seeds=[2, 0])
    assert isinstance(done, Ensemble)
    for k, seed in enumerate((2, 0)):
        own = w.load_weights(trained / "many", seed=seed).variables
        assert_equal_trees(done.variables(k), own)
    with pytest.raises(InputError, match=r"many has no seed 3, but 0, 1, 2"):
        mj.fit(settings, signals, seeds=4)


def test_the_moving_average_begins_there_too(trained: Path, signals: Dataset) -> None:
    settings, _ = still(signals, trained / "one.pth")
    averaged = replace(settings, optimizer=replace(STILL, ema=0.9))
    run = mj.fit(averaged, signals)
    assert isinstance(run, Run)
    own = w.load_weights(trained / "one.pth").variables
    for x, y in zip(*map(jax.tree.leaves, (run.variables, own)), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-6, atol=0)


def test_seeds_that_are_added_begin_with_the_same_weights(
    trained: Path, signals: Dataset, tmp_path: Path
) -> None:
    file = tmp_path / "w.pth"
    file.write_bytes((trained / "one.pth").read_bytes())
    settings, _ = still(signals, file)
    mj.fit(settings, signals, seeds=1, out=tmp_path / "run")
    more = mj.fit(settings, signals, seeds=2, out=tmp_path / "run", resume=True)
    assert isinstance(more, Ensemble)
    assert_equal_trees(more.variables(0), more.variables(1))
    w.convert(trained / "many", file, seed=2, overwrite=True)
    with pytest.raises(InputError, match="holds other weights than those that this run began"):
        mj.fit(settings, signals, seeds=3, out=tmp_path / "run", resume=True)
    file.unlink()
    again = mj.fit(settings, signals, seeds=2, out=tmp_path / "run", resume=True)  # needs none
    assert_equal_trees(again.variables(1), more.variables(1))  # type: ignore[operator,call-arg]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"init_from": "nowhere"}, "no such file or directory: nowhere"),
        ({"model": ModelConfig("baseline", {"hidden": [9], "latent_dim": 4})},
         r"one.pth.* does not fit.*encoder.0.weight has shape \[8, 128\], expected \[9, 128\]"),
        ({"model": ModelConfig("pca", {"latent_dim": 4})},
         "with init_from or with the closed form of pca, not with both"),
    ],
)  # fmt: skip
def test_weights_that_do_not_fit_leave_nothing(
    changes: dict[str, Any], words: str, trained: Path, signals: Dataset, tmp_path: Path
) -> None:
    settings = replace(replace(FIRST, init_from=str(trained / "one.pth")), **changes)
    with pytest.raises(InputError, match=words):
        mj.fit(settings, signals, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(InputError, match="begins with init_from or with init, not with both"):
        mj.fit(replace(FIRST, init_from="a.pth"), signals, init={})


def test_a_run_of_another_size_is_told_apart(trained: Path, signals: Dataset) -> None:
    wider = replace(FIRST, model=ModelConfig("baseline", {"hidden": [8], "latent_dim": 5}))
    with pytest.raises(InputError, match=r"encoder/linear_1/bias is \[4\], expected \[5\]"):
        mj.fit(replace(wider, init_from=str(trained / "one")), signals)


def test_the_command_takes_the_model_from_the_weights(
    trained: Path, signals: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    np.save(tmp_path / "x.npy", signals.train.x)
    options = (
        "--data",
        tmp_path / "x.npy",
        "--epochs",
        1,
        "--freeze",
        "encoder",
        "--batch-size",
        45,
    )
    for name in ("one.pth", "many"):
        out = tmp_path / f"from-{name}"
        more = ("--seeds", 2) if name == "many" else ("--set", "activation=relu")
        assert msae("train", "--init-from", trained / name, *options, *more, "--out", out) == 0
        config = json.loads((out / "config.json").read_text())
        assert config["init_from"] == str(trained / name)
        assert config["model"]["options"] | {"activation": 0} == {
            "hidden": [8], "latent_dim": 4, "activation": 0,
        }  # fmt: skip
    printed = capsys.readouterr()
    assert "keys and shapes do not tell" in printed.err
    a, b = (w.load_weights(p, seed=1) for p in (trained / "many", tmp_path / "from-many"))
    for part in ("encoder", "decoder"):
        kernels = [each.variables["params"][part]["linear_0"]["kernel"] for each in (a, b)]
        assert np.array_equal(*kernels) == (part == "encoder")


def test_a_program_is_frozen_and_begun_like_any_model(tmp_path: Path) -> None:
    program = tmp_path / "model.pt2"
    program.write_bytes(pt2_by_hand.written(pt2_by_hand.members()))
    x = np.random.default_rng(0).normal(size=(24, 4)).astype(np.float32)
    dataset = Dataset("x", Split(x[:16]), Split(x[16:]))
    settings = TrainConfig(ModelConfig(str(program)), batch_size=8, epochs=1, freeze="down/bias")
    first = mj.fit(settings, dataset, out=tmp_path / "run")
    assert isinstance(first, Run)
    np.testing.assert_array_equal(first.variables["params"]["down"]["bias"], pt2_by_hand.BIAS)
    w.convert(tmp_path / "run", tmp_path / "w.pth")
    begun = replace(settings, optimizer=STILL, init_from=str(tmp_path / "w.pth"))
    run = mj.fit(begun, dataset)
    assert isinstance(run, Run)
    assert_equal_trees(run.variables, first.variables)
    tensors = tensor_files.read_tensors(tmp_path / "w.pth")
    del tensors["down.bias"]
    tensor_files.write_tensors(tmp_path / "less.pth", tensors)
    with pytest.raises(InputError, match=r"less.pth does not fit the program; missing: down\.bias"):
        mj.fit(replace(begun, init_from=str(tmp_path / "less.pth")), dataset)
    command = ("train", "--init-from", program, "--data", "sines", "--epochs", 1)
    assert msae(*command, "--out", tmp_path / "no") == 2  # its samples have 4 values
