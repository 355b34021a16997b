"""A run knows the data that it was trained on; other data later are held against them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from msae_jax import data, evaluate, models
from msae_jax.config import ModelConfig, Objective, TrainConfig
from msae_jax.data import Dataset, Split
from msae_jax.errors import InputError
from msae_jax.fitting.loop import fit_one
from msae_jax.weights import load_weights
from tests.cli.test_cli import msae

SETTINGS = TrainConfig(
    ModelConfig("baseline", {"hidden": [8], "latent_dim": 2}), epochs=1, batch_size=18
)


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on a file of 60 samples, to which ten more are then appended."""
    tmp_path = tmp_path_factory.mktemp("grown")
    x = np.random.default_rng(0).normal(size=(70, 12)).astype(np.float32)
    np.save(tmp_path / "x.npy", x[:60])
    fit_one(replace(SETTINGS, data=str(tmp_path / "x.npy")), out=tmp_path / "run")
    np.save(tmp_path / "x.npy", x)
    return tmp_path


def test_a_run_keeps_what_it_knows(grown: Path) -> None:
    known = load_weights(grown / "run").facts
    assert known is not None
    assert (known.shape, known.train, known.test) == ((12,), 54, 6)


def test_a_file_that_grew_is_refused_on_resume_and_named_by_evaluate(grown: Path, capsys) -> None:
    settings = replace(SETTINGS, data=str(grown / "x.npy"), epochs=2)
    with pytest.raises(InputError, match=r"54 training and 6 test samples, and there are 63 and 7"):
        fit_one(settings, out=grown / "run", resume=True)
    assert msae("evaluate", grown / "run") == 0
    assert "msae: warning: the data have changed since the run began" in capsys.readouterr().err


def test_unscaled_samples_are_named_where_they_are_used(tmp_path: Path, capsys) -> None:
    """Weights trained on intensities as uint8, given the same as floats up to 255."""
    x = np.random.default_rng(0).integers(0, 256, (40, 12), np.uint8)
    np.save(tmp_path / "x.npy", x)
    fit_one(replace(SETTINGS, data=str(tmp_path / "x.npy")), out=tmp_path / "run")
    np.save(tmp_path / "float.npy", x[:10].astype(np.float32))
    for command in ("embed", "reconstruct"):
        out = tmp_path / f"{command}.npy"
        given = "--input", tmp_path / "float.npy", "--out", out
        assert msae(command, tmp_path / "run", *given, "--scale", "255") == 0
        assert "warning" not in capsys.readouterr().err
        assert msae(command, tmp_path / "run", *given, "--scale", "1", "--overwrite") == 0
        assert "the model was trained on 0 to 1" in capsys.readouterr().err


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
def test_a_sigmoid_is_not_trained_on_what_it_cannot_produce(likelihood: str) -> None:
    settings = replace(SETTINGS, model=ModelConfig("ae5", {"hidden": [8]}), batch_size=20)
    settings = replace(settings, objective=Objective(likelihood))
    x = np.random.default_rng(0).normal(size=(40, 12)).astype(np.float32)
    with pytest.raises(InputError, match=r"\[0, 1\], got \[-"):
        fit_one(settings, Dataset("normal", Split(x), Split(x)))
    identity = replace(settings, model=ModelConfig("ae5", {"hidden": [8], "output": "identity"}))
    if likelihood == "gaussian":
        fit_one(identity, Dataset("normal", Split(x), Split(x)))


def test_evaluation_refuses_what_the_likelihood_is_not_defined_on() -> None:
    model = models.build(ModelConfig("vae3", {"hidden": [8]}), (128,))
    variables = models.init_variables(model, jax.random.key(0), (128,))
    with pytest.raises(InputError, match=r"bernoulli likelihood needs data in \[0, 1\]"):
        evaluate(model, variables, data.load("sines").test.x, Objective("bernoulli"))
