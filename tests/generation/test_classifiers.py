"""The shipped classifiers: what their files say of them is so."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from msae_jax.data import Dataset
from msae_jax.errors import InputError
from msae_jax.generation import classifiers

pytestmark = pytest.mark.usefixtures("all_quick_to_compile")

LEAST = {"mnist": 0.99, "fashion_mnist": 0.91}
"""The test accuracy that each is to have."""


@pytest.mark.parametrize("name", classifiers.names())
def test_each_is_small_and_described(name: str) -> None:
    own = classifiers.classifier(name)
    assert (classifiers.FOLDER / f"{name}.safetensors").stat().st_size < 300_000
    assert {"data", "seed", "epochs", "train", "test", "test_accuracy", "sha256"} <= {*own.facts}
    assert own.accuracy >= LEAST.get(name, 0)
    found = own.outputs(np.zeros((3, *own.image_shape), np.uint8))
    assert found.features.shape == (3, own.facts["features"])
    assert (found.features >= 0).all()


@pytest.mark.parametrize("name", ["mnist", pytest.param("fashion_mnist", marks=pytest.mark.slow)])
def test_the_accuracy_is_that_of_the_official_test_images(name: str, request) -> None:
    dataset: Dataset = request.getfixturevalue(name)
    own = classifiers.classifier(name)
    right = own.outputs(dataset.test.x).classes == dataset.test.y
    assert np.mean(right) == pytest.approx(own.accuracy, abs=0.0003)  # three near ties


def test_values_beyond_an_image_are_cut_off() -> None:
    own = classifiers.classifier("mnist")
    x = np.random.default_rng(0).uniform(-0.5, 1.5, (4, 784)).astype(np.float32)
    cut = np.clip(x, 0, 1).reshape(4, 28, 28, 1)
    np.testing.assert_array_equal(own.outputs(x).features, own.outputs(cut).features)


def test_what_it_does_not_know_is_said() -> None:
    own = classifiers.classifier("mnist")
    with pytest.raises(InputError, match=r"knows images \[28, 28, 1\], got \[2, 32, 32, 3\]"):
        own.outputs(np.zeros((2, 32, 32, 3), np.uint8))
    with pytest.raises(InputError, match="not finite"):
        own.outputs(np.full((2, 784), np.nan, np.float32))
    with pytest.raises(InputError, match=r"unknown classifier 'mnits'. Did you mean 'mnist'"):
        classifiers.classifier("mnits")


def test_weights_that_changed_are_refused(tmp_path) -> None:
    facts = json.loads((classifiers.FOLDER / "mnist.json").read_text())
    path = tmp_path / "mnist.safetensors"
    shutil.copy(classifiers.FOLDER / path.name, path)
    assert classifiers.read(path, "mnist", facts).accuracy == facts["test_accuracy"]
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"has the SHA-256 .* it was changed"):
        classifiers.read(path, "mnist", facts)
