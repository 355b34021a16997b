"""`conv-vae`: its posterior, and images given their class."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from msae_jax import models, train
from msae_jax.config import ModelConfig, TrainConfig
from msae_jax.data import Dataset, Split
from msae_jax.data.classes import conditional
from msae_jax.errors import InputError
from msae_jax.models.images import halve
from msae_jax.train.evaluation import evaluate
from tests.models.variables import random_variables

OPTIONS = {"image_shape": [6, 5, 2], "channels": [2, 3, 4], "latent_dim": 3}
RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (12, 6, 5, 2), dtype=np.uint8)
Y = np.arange(12) % 3
IMAGES = Dataset("some", Split(X[:8], Y[:8]), Split(X[8:], Y[8:]))


def made(**options: int) -> tuple[models.conv_vae.ConvolutionalVae, dict, Any]:
    """Returns a model, variables, and its `apply`, compiled."""
    model = models.build(ModelConfig("conv-vae", OPTIONS | options))
    apply = jax.jit(model.apply, static_argnames="method")
    return model, random_variables(model), apply


def test_it_samples_its_posterior_with_a_key_alone() -> None:
    _, variables, apply = made()
    x = jnp.asarray(X / 255.0, jnp.float32)
    mean = apply(variables, x)
    np.testing.assert_array_equal(mean.z, mean.mu)
    assert mean.recon.shape == x.shape
    key = jax.random.key(3)
    drawn = apply(variables, x, key=key)
    noise = jax.random.normal(key, mean.mu.shape)
    expected = mean.mu + np.exp(mean.log_var / 2) * noise
    np.testing.assert_allclose(drawn.z, expected, rtol=1e-6)
    again = apply(variables, drawn.z, method="decode")
    np.testing.assert_allclose(again, drawn.recon, rtol=1e-5, atol=1e-6)


def test_the_class_goes_into_encoder_and_decoder() -> None:
    model, variables, apply = made(classes=3)
    data = conditional(IMAGES)
    assert data.sample_shape == model.sample_shape == (63,)
    x = jnp.asarray(data.train.x / 255.0, jnp.float32)
    out = apply(variables, x)
    assert out.z.shape == (8, 3)
    assert out.recon.shape == out.target.shape == (8, 60)
    np.testing.assert_array_equal(out.target, x[:, :60])
    # another class of the same image
    other = x.at[:, 60:].set(jnp.roll(x[:, 60:], 1, axis=1))
    moved = apply(variables, other)
    assert (np.abs(moved.mu - out.mu).max(axis=1) > 1e-6).all()
    codes = [jnp.concatenate([out.z, marks[:, 60:]], axis=1) for marks in (x, other)]
    same, else_ = (apply(variables, code, method="decode") for code in codes)
    np.testing.assert_allclose(same, out.recon, rtol=1e-5, atol=1e-6)
    assert (np.abs(else_ - same).max(axis=1) > 1e-7).all()
    with pytest.raises(InputError, match=r"expects \[B, 6\], 3 latents and then the marks of 3"):
        apply(variables, out.z, method="decode")


def test_images_given_their_class_are_trained_and_evaluated() -> None:
    data = conditional(IMAGES)
    config = TrainConfig(
        ModelConfig("conv-vae", OPTIONS | {"classes": 3}), data=data.name, epochs=1, batch_size=4,
        objective=models.record("conv-vae").recipe.objective,
    )  # fmt: skip
    task = train.make_task(config, data)
    state = train.init_state(task, 0, data.sample_shape)
    found = evaluate(task.model, state.variables, data.test.x, config.objective)
    assert np.isfinite(list(found.values())).all()


@pytest.mark.parametrize("name", ["conv", "superres", "conv-vae"])
@pytest.mark.parametrize("shape", [(30, 20, 3), (7, 5, 1), (4, 4, 4), (1, 3, 2)])
def test_any_size_and_any_channels(name: str, shape: tuple[int, int, int]) -> None:
    if name == "superres" and min(shape[:2]) < 2:
        pytest.skip("nothing is left of one pixel at half size")
    model = models.build(ModelConfig(name), shape)
    x = jax.ShapeDtypeStruct((2, *shape), jnp.float32)
    out = jax.eval_shape(lambda x: model.init_with_output(jax.random.key(0), x)[0], x)
    assert out.recon.shape == (2, *shape)


def test_half_of_an_odd_side_leaves_the_last_row_out() -> None:
    x = jnp.arange(30.0).reshape(1, 5, 3, 2)
    expected = np.asarray(x)[:, :4, :2].reshape(1, 2, 2, 1, 2, 2).mean(axis=(2, 4))
    np.testing.assert_allclose(halve(x), expected)
