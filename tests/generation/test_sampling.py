"""Samples are decoded draws of the prior."""

from __future__ import annotations

from functools import partial

import jax
import numpy as np
import pytest

from msae_jax import models
from msae_jax.config import ModelConfig
from msae_jax.errors import InputError
from msae_jax.generation import fit_prior, sample, standard
from msae_jax.interop import load_pt2
from msae_jax.interop.torch_files import Weights
from msae_jax.recipes import recipe
from tests.interop import pt2_by_hand as by_hand
from tests.models.variables import random_variables

pytestmark = pytest.mark.usefixtures("all_quick_to_compile")

IMAGES = {"image_shape": [6, 5, 2], "channels": [2, 3, 4], "latent_dim": 3}


def untrained(name: str, **options: object) -> Weights:
    model = models.build(ModelConfig(name, options))
    return Weights(model, random_variables(model), recipe(name))


def decoded(weights: Weights, codes: np.ndarray) -> jax.Array:
    decode = partial(weights.model.apply, method="decode")
    return jax.jit(decode)(weights.variables, codes)


def test_samples_are_decoded_draws() -> None:
    weights = untrained("conv-vae", **IMAGES)
    found = sample(weights, 7, standard(3), seed=2, batch_size=3)
    np.testing.assert_array_equal(found.z, standard(3).draw(7, seed=2))
    expected = decoded(weights, found.z)
    assert found.x.shape == (7, 6, 5, 2)
    np.testing.assert_allclose(found.x, expected, rtol=1e-5, atol=1e-6)
    fewer = sample(weights, 3, standard(3), seed=2)
    np.testing.assert_allclose(fewer.x, found.x[:3], rtol=1e-5, atol=1e-6)


def test_flat_samples_get_the_shape_of_the_data() -> None:
    weights = untrained("vae3", features=24, hidden=[5], latent_dim=2)
    found = sample(weights, 4, standard(2), sample_shape=(4, 6))
    flat = sample(weights, 4, standard(2))
    np.testing.assert_array_equal(found.x, flat.x.reshape(4, 4, 6))
    with pytest.raises(InputError, match=r"decodes to \[24\], which are no samples.*\[5, 5\]"):
        sample(weights, 4, standard(2), sample_shape=(5, 5))


def test_a_model_given_the_class_makes_images_of_it() -> None:
    weights = untrained("conv-vae", classes=3, **IMAGES)
    y = np.array([2, 0, 1, 2])
    found = sample(weights, 4, standard(3), y=y)
    assert found.z.shape == (4, 3)
    assert found.x.shape == (4, 6, 5, 2)
    codes = np.concatenate([found.z, np.eye(3, dtype=np.float32)[y]], axis=1)
    expected = decoded(weights, codes)
    np.testing.assert_allclose(found.x.reshape(4, -1), expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(InputError, match="given one of 3 classes: give y, 4 of them from 0 to 2"):
        sample(weights, 4, standard(3))
    with pytest.raises(InputError, match="classes must be 0 to 2"):
        sample(weights, 4, standard(3), y=y + 1)
    with pytest.raises(InputError, match="is given no class: leave y out"):
        sample(untrained("conv-vae", **IMAGES), 4, standard(3), y=y)


def test_a_prior_of_another_model_is_refused() -> None:
    with pytest.raises(InputError, match="the prior is of 5 latents, the decoder reads 3"):
        sample(untrained("conv-vae", **IMAGES), 4, standard(5))


def test_a_program_is_sampled(tmp_path) -> None:
    path = tmp_path / "model.pt2"
    path.write_bytes(by_hand.written(by_hand.members()))
    opened = load_pt2(path)
    weights = Weights(opened.module, opened.variables, recipe("baseline"))
    prior = fit_prior(np.random.default_rng(0).normal(size=(9, 3)), "gaussian")
    found = sample(weights, 5, prior, sample_shape=(4,))
    expected = np.maximum(prior.draw(5), 0) @ by_hand.WEIGHT + by_hand.CONSTANT
    np.testing.assert_allclose(found.x, expected, rtol=1e-5, atol=1e-6)
