"""Files and run directories from and to each other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import flax.linen as nn
import jax
import numpy as np
import pytest

from msae_jax import data, models
from msae_jax.config import ModelConfig
from msae_jax.data import Dataset
from msae_jax.errors import InputError
from msae_jax.fitting.loop import fit_one
from msae_jax.interop import (
    load_torch,
    mapping,
    read_tensors,
    save_torch,
    write_tensors,
)
from msae_jax.interop.files.tensor_files import read_note
from msae_jax.recipes import recipe
from msae_jax.runs import checkpoint
from msae_jax.train import evaluation
from msae_jax.weights import Weights, convert, load_weights
from tests.interop.test_recognition import OTHER_SIZES, tensors_of


def same(model: nn.Module, **fields: object) -> bool:
    return all(getattr(model, name) == value for name, value in fields.items())


def test_safetensors_keep_what_shapes_do_not_tell(tmp_path: Path, random_state_dict) -> None:
    """Dilations, a shape that is not square, the output: from a run and on through files."""
    dilated = {"dilations": (3, 5), "output": "sigmoid"}
    write_tensors(tmp_path / "a.pth", tensors_of("msae", random_state_dict))
    convert(tmp_path / "a.pth", tmp_path / "run", ModelConfig("msae", dilated))
    convert(tmp_path / "run", tmp_path / "a.safetensors")
    convert(tmp_path / "a.safetensors", tmp_path / "b.safetensors")
    assert same(load_torch(tmp_path / "b.safetensors").model, **dilated)
    assert same(load_torch(tmp_path / "b.safetensors", "msae").model, **dilated)
    given = ModelConfig("msae", {"dilations": [2, 2]})
    assert same(load_torch(tmp_path / "b.safetensors", given).model, dilations=(2, 2))
    convert(tmp_path / "a.safetensors", tmp_path / "again")
    assert same(load_weights(tmp_path / "again").model, **dilated)
    assert read_note(tmp_path / "a.pth") is None


def test_a_shape_that_a_run_took_from_its_data_is_kept(tmp_path: Path, random_state_dict) -> None:
    """The configuration of such a run does not name it."""
    sizes = {"channels": [2, 2, 2]}
    tensors = tensors_of("conv", random_state_dict, image_shape=[8, 32, 1], **sizes)
    settings = replace(recipe("conv"), model=ModelConfig("conv", sizes))
    model = models.build(settings.model, (8, 32, 1))
    entries = mapping.table(models.find_layout("conv"), model)
    trained = Weights(model, mapping.to_variables(entries, tensors, "the test"), settings)
    save_torch(tmp_path / "a.safetensors", trained)
    found = load_torch(tmp_path / "a.safetensors")
    assert found.model.image_shape == (8, 32, 1)
    assert found.config.model.options == {"image_shape": [8, 32, 1], **sizes}


@pytest.mark.parametrize("name", ["conv", pytest.param("vae3", marks=pytest.mark.slow)])
def test_through_a_run_directory_and_back(
    name: str, tmp_path: Path, random_state_dict, same_bits
) -> None:
    tensors = tensors_of(name, random_state_dict, **OTHER_SIZES[name])
    write_tensors(tmp_path / "a.pth", tensors)
    convert(tmp_path / "a.pth", tmp_path / "run")
    convert(tmp_path / "run", tmp_path / "b.safetensors")
    convert(tmp_path / "run" / "checkpoints" / "0", tmp_path / "c.pth")
    assert same_bits(read_tensors(tmp_path / "b.safetensors"), tensors)
    assert (tmp_path / "c.pth").read_bytes() == (tmp_path / "a.pth").read_bytes()
    assert checkpoint.load(tmp_path / "run", best=True).epoch == 0
    with pytest.raises(InputError, match="exists already"):
        convert(tmp_path / "a.pth", tmp_path / "run")
    with pytest.raises(InputError, match="exists already"):
        convert(tmp_path / "a.pth", tmp_path / "b.safetensors")


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
def test_other_precisions_are_kept_and_computed_with_in_float32(
    dtype: str, tmp_path: Path, published, random_state_dict, same_bits
) -> None:
    import ml_dtypes

    tensors = random_state_dict(published["baseline"], getattr(ml_dtypes, dtype, dtype))
    write_tensors(tmp_path / "a.pth", tensors)
    convert(tmp_path / "a.pth", tmp_path / "run")
    convert(tmp_path / "run", tmp_path / "b.pth")
    assert same_bits(read_tensors(tmp_path / "b.pth"), tensors)
    weights = load_weights(tmp_path / "run")
    kernel = weights.variables["params"]["encoder"]["linear_0"]["kernel"]
    assert kernel.dtype == np.float32
    np.testing.assert_array_equal(kernel, tensors["encoder.0.weight"].T.astype(np.float32))


def test_training_goes_on_from_converted_weights(
    signals: Dataset, tmp_path: Path, published, random_state_dict
) -> None:
    """As it would from the same weights given to `fit`, bit for bit."""
    write_tensors(tmp_path / "a.pth", random_state_dict(published["baseline"]))
    weights = convert(tmp_path / "a.pth", tmp_path / "run")
    settings = replace(weights.config, epochs=2)
    resumed = fit_one(settings, signals, out=tmp_path / "run", resume=True)
    given = fit_one(settings, signals, init=weights.variables)
    for a, b in zip(
        jax.tree.leaves(resumed.variables), jax.tree.leaves(given.variables), strict=True
    ):
        np.testing.assert_array_equal(a, b)
    assert len(resumed.history) == 2
    started = fit_one(replace(settings, epochs=1), signals)
    assert started.history[0]["train_loss"] != given.history[0]["train_loss"]


def test_initial_weights_must_fit(signals: Dataset) -> None:
    with pytest.raises(InputError, match="init must have the shapes of"):
        fit_one(recipe("baseline"), signals, init={"params": {"encoder": np.zeros(3)}})


@pytest.mark.parametrize(
    ("file", "name", "published_mse"),
    [
        ("msae.pth", "msae", 0.0034824131056666375),
        ("baseae.pth", "baseline", 0.004252883847802877),
    ],
)
def test_published_files_give_the_published_error(
    file: str, name: str, published_mse: float, reference
) -> None:
    weights = load_weights(reference(file))
    assert weights.config == recipe(name)
    x = data.load("sines").test.x
    got = evaluation.evaluate(weights.model, weights.variables, x, weights.config.objective)
    assert got["mse"] == pytest.approx(published_mse, rel=1e-6)


def test_half_precision_weights_train_on(tmp_path: Path, random_state_dict, signals) -> None:
    """They are checked in the precision they were saved in, then trained in float32."""
    tensors = tensors_of("baseline", random_state_dict)
    halves = {key: (0.05 * a).astype(np.float16) for key, a in tensors.items()}
    write_tensors(tmp_path / "half.pth", halves)
    convert(tmp_path / "half.pth", tmp_path / "run")
    settings = replace(recipe("baseline"), epochs=1)
    resumed = fit_one(settings, signals, out=tmp_path / "run", resume=True)
    started = fit_one(settings, signals, init=load_weights(tmp_path / "half.pth").variables)
    assert resumed.messages == []
    for a, b in zip(*(jax.tree.leaves(r.variables) for r in (resumed, started)), strict=True):
        assert a.dtype == np.float32
        np.testing.assert_array_equal(a, b)
