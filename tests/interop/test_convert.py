"""Files and run directories from and to each other, and which model a file is of."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import flax.linen as nn
import jax
import numpy as np
import pytest

from msae_jax import checkpoint, data, inference, models
from msae_jax.config import ModelConfig
from msae_jax.data import Dataset
from msae_jax.errors import InputError
from msae_jax.interop import (
    load_torch,
    mapping,
    read_tensors,
    save_torch,
    write_safetensors,
    write_tensors,
)
from msae_jax.interop.convert import convert
from msae_jax.interop.tensor_files import read_note
from msae_jax.models.layout import Layer, Layout
from msae_jax.recipes import recipe
from msae_jax.run import fit
from msae_jax.weights import Weights, load_weights

NAMES = (
    "msae", "baseline", "msae-mlp", "baseline-mlp", "superres", "conv", "stacked", "vae3", "vae5",
    "ae5",
)  # fmt: skip
OTHER_SIZES = {
    "msae": {"latent_dim": 9, "channels": [3, 4], "kernels": [5, 9], "pooled": [8, 4],
             "hidden": 7, "signal_length": 96},
    "msae-mlp": {"features": 100, "small_fraction": 0.29, "latent_dim": 7, "small_hidden": 5,
                 "large_hidden": 6},
    "superres": {"image_shape": [16, 16, 3], "channels": [4, 5], "decoder_channels": [6, 3],
                 "hidden": 8, "latent_dim": 7},
    "conv": {"image_shape": [32, 32, 3], "channels": [3, 4, 5], "latent_dim": 9},
    "stacked": {"features": 100, "hidden": [9, 8], "latent_dim": 3},
    "vae3": {"features": 50, "hidden": [9, 8], "latent_dim": 3},
    "vae5": {"features": 50, "hidden": [9], "latent_dim": 70},
    "ae5": {"features": 50, "hidden": [9, 8, 7, 6], "latent_dim": 3},
}  # fmt: skip


def tensors_of(name: str, random_state_dict, **options: object) -> dict[str, np.ndarray]:
    model = models.build(ModelConfig(name, options))
    entries = mapping.table(models.find_layout(name), model)
    return random_state_dict({entry.key: entry.shape for entry in entries})


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("name", NAMES)
def test_published_models_are_recognised_and_come_back(
    name: str, suffix: str, tmp_path: Path, published, random_state_dict, same_bits
) -> None:
    tensors = random_state_dict(published[name])
    write_tensors(tmp_path / f"a{suffix}", tensors)
    weights = load_torch(tmp_path / f"a{suffix}")
    assert weights.config == recipe(name)
    save_torch(tmp_path / f"b{suffix}", weights)
    assert same_bits(read_tensors(tmp_path / f"b{suffix}"), tensors)


@pytest.mark.parametrize("name", OTHER_SIZES)
def test_sizes_are_read_from_the_shapes(name: str, tmp_path: Path, random_state_dict) -> None:
    options = OTHER_SIZES[name]
    write_tensors(tmp_path / "a.pth", tensors_of(name, random_state_dict, **options))
    found = load_torch(tmp_path / "a.pth").config.model
    assert found.name == name
    small = "small_fraction"
    assert {**found.options, small: 0} == {**options, small: 0}
    assert int(100 * found.options.get(small, 0)) == int(100 * options.get(small, 0))


def test_baselines_are_told_apart_by_their_input(tmp_path: Path, random_state_dict) -> None:
    """The two have the same keys: of 128 values it is the signals', of 784 the digits'."""
    for features, name in ((128, "baseline"), (784, "baseline-mlp")):
        sizes = {"features": features, "hidden": [30], "latent_dim": 5}
        tensors = tensors_of(name, random_state_dict, **sizes)
        write_tensors(tmp_path / f"{features}.pth", tensors)
        assert load_torch(tmp_path / f"{features}.pth").config.model.name == name
    tensors = tensors_of("baseline", random_state_dict, features=100)
    write_tensors(tmp_path / "100.pth", tensors)
    with pytest.raises(InputError, match=r"several models: baseline, baseline-mlp.*--model"):
        load_torch(tmp_path / "100.pth")
    chosen = load_torch(tmp_path / "100.pth", "baseline-mlp").config.model
    assert chosen.options == {"features": 100, "hidden": [128]}


def test_what_shapes_do_not_tell_is_given(tmp_path: Path, random_state_dict) -> None:
    sizes = {"image_shape": [8, 32, 1], "channels": [2, 2, 2]}
    write_tensors(tmp_path / "a.pth", tensors_of("conv", random_state_dict, **sizes))
    assert load_torch(tmp_path / "a.pth").model.image_shape == (16, 16, 1)  # taken as square
    given = ModelConfig("conv", {"image_shape": [8, 32, 1]})
    assert load_torch(tmp_path / "a.pth", given).model.image_shape == (8, 32, 1)


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


@pytest.mark.parametrize(
    "note",
    [
        "", "{", "3", "[]", '{"name": "msae"}', "[" * 900, '{"name": "msae", "options": 3}',
        '{"name": "tests.none:Model", "options": {}}',
        '{"name": "msae", "options": {"latent_dim": 999}}',
        '{"name": "msae", "options": {"latent_dim": 4611686018427387904}}',
        '{"name": "msae", "options": {"latent_dim": "8"}}',
        '{"name": "msae", "options": {"no such": 1}}',
        '{"name": "vae3", "options": {}}',
        '{"name": "msae", "options": {"dilations": [3, 5]}}' + " " * 1_000,
    ],
    ids=lambda note: note[:60],
)  # fmt: skip
def test_a_note_that_does_not_fit_is_ignored(
    note: str, tmp_path: Path, published, random_state_dict
) -> None:
    write_safetensors(tmp_path / "a.safetensors", random_state_dict(published["msae"]), note=note)
    assert load_torch(tmp_path / "a.safetensors").config == recipe("msae")


def test_a_note_imports_nothing(tmp_path: Path, random_state_dict, monkeypatch) -> None:
    """Not even a module that is there, unless the user names it, too."""
    (tmp_path / "mine.py").write_text("from msae_jax.models import MultiScaleSignal as Model")
    monkeypatch.syspath_prepend(tmp_path)
    tensors = tensors_of("msae", random_state_dict)
    note = '{"name": "mine:Model", "options": {}}'
    write_safetensors(tmp_path / "a.safetensors", tensors, note=note)
    assert load_torch(tmp_path / "a.safetensors").config.model.name == "msae"
    assert "mine" not in sys.modules


def test_a_file_of_no_model_is_compared_with_the_nearest(
    tmp_path: Path, published, random_state_dict
) -> None:
    tensors = random_state_dict(published["vae5"])
    del tensors["fc_mu.bias"], tensors["fc2.weight"]
    tensors["fc9.weight"] = np.zeros((2, 2), np.float32)
    write_tensors(tmp_path / "a.pth", tensors)
    with pytest.raises(InputError) as error:
        convert(tmp_path / "a.pth", tmp_path / "b.safetensors")
    assert (
        "as model 'vae5', does not fit; missing: fc2.weight, fc_mu.bias; unexpected: fc9.weight"
        in str(error.value)
    )
    assert [path.name for path in tmp_path.iterdir()] == ["a.pth"]


@pytest.mark.parametrize("name", ["conv", "vae3"])
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
    resumed = fit(settings, signals, out=tmp_path / "run", resume=True)
    given = fit(settings, signals, init=weights.variables)
    for a, b in zip(
        jax.tree.leaves(resumed.variables), jax.tree.leaves(given.variables), strict=True
    ):
        np.testing.assert_array_equal(a, b)
    assert len(resumed.history) == 2
    started = fit(replace(settings, epochs=1), signals)
    assert started.history[0]["train_loss"] != given.history[0]["train_loss"]


def test_initial_weights_must_fit(signals: Dataset) -> None:
    with pytest.raises(InputError, match="init must be like the model's variables"):
        fit(recipe("baseline"), signals, init={"params": {"encoder": np.zeros(3)}})


def test_models_without_a_layout_say_what_to_do(tmp_path: Path) -> None:
    models.register("tableless", models.MultiScaleMlp)
    try:
        with pytest.raises(InputError, match=r"no PyTorch layout: give register\(\) one"):
            models.find_layout("tableless")
        layout = Layout(lambda model: (Layer("a", "encoder_small/linear_0"),))
        with pytest.raises(InputError, match="exists already"):
            models.register("tableless", models.MultiScaleMlp, layout)
    finally:
        del models._MODELS["tableless"]


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
    got = inference.evaluate(weights.model, weights.variables, x, weights.config.objective)
    assert got["mse"] == pytest.approx(published_mse, rel=1e-6)


def test_half_precision_weights_train_on(tmp_path: Path, random_state_dict, signals) -> None:
    """They are checked in the precision they were saved in, then trained in float32."""
    tensors = tensors_of("baseline", random_state_dict)
    halves = {key: (0.05 * a).astype(np.float16) for key, a in tensors.items()}
    write_tensors(tmp_path / "half.pth", halves)
    convert(tmp_path / "half.pth", tmp_path / "run")
    settings = replace(recipe("baseline"), epochs=1)
    resumed = fit(settings, signals, out=tmp_path / "run", resume=True)
    started = fit(settings, signals, init=load_weights(tmp_path / "half.pth").variables)
    assert resumed.messages == []
    for a, b in zip(*(jax.tree.leaves(r.variables) for r in (resumed, started)), strict=True):
        assert a.dtype == np.float32
        np.testing.assert_array_equal(a, b)
