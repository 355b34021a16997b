"""Which model a file of weights is of, and of what sizes."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from msae_jax import models
from msae_jax.config import ModelConfig
from msae_jax.errors import InputError
from msae_jax.interop import (
    load_torch,
    mapping,
    read_tensors,
    save_torch,
    write_safetensors,
    write_tensors,
)
from msae_jax.models.layout import Layer, Layout
from msae_jax.models.multiscale import MultiScaleMlp
from msae_jax.recipes import recipe
from msae_jax.weights import convert

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
    (tmp_path / "of_a_note.py").write_text("from msae_jax.models import MultiScaleSignal as Model")
    monkeypatch.syspath_prepend(tmp_path)
    tensors = tensors_of("msae", random_state_dict)
    note = '{"name": "of_a_note:Model", "options": {}}'
    write_safetensors(tmp_path / "a.safetensors", tensors, note=note)
    assert load_torch(tmp_path / "a.safetensors").config.model.name == "msae"
    assert "of_a_note" not in sys.modules


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


def test_models_without_a_layout_say_what_to_do(tmp_path: Path) -> None:
    models.register("tableless", MultiScaleMlp)
    try:
        with pytest.raises(InputError, match=r"no PyTorch layout: give register\(\) one"):
            models.find_layout("tableless")
        layout = Layout(lambda model: (Layer("a", "encoder_small/linear_0"),))
        with pytest.raises(InputError, match="exists already"):
            models.register("tableless", MultiScaleMlp, layout)
    finally:
        del models._RECORDS["tableless"]
