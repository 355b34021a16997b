"""Series of several channels in the models that take them, and a refusal by those that do not."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from msae_jax import models
from msae_jax.config import ModelConfig
from msae_jax.errors import InputError
from tests.models.variables import random_variables

SHAPE = (24, 3)
SMALL = {"msae": {"channels": [4, 5], "pooled": [6, 3], "hidden": 8}, "baseline": {"hidden": [8]}}
TAKERS = [name for name in models.names() if models.takes_series(name)]


def test_which_models_take_channels() -> None:
    own = {"pyramid", "pyramid-flat", "pyramid-vae", "lgta", "pca"}
    assert {"msae", "baseline"} | own <= {*TAKERS}
    assert not {"msae-mlp", "superres", "conv", "vae3", "vae5"} & {*TAKERS}


@pytest.mark.usefixtures("quick_to_compile")
@pytest.mark.parametrize("name", TAKERS)
def test_a_model_of_channels_gives_what_it_was_given(name: str) -> None:
    model = models.build(ModelConfig(name, SMALL.get(name, {})), SHAPE, series=True)
    assert model.sample_shape == SHAPE
    variables = random_variables(model)
    x = jnp.asarray(np.random.default_rng(1).uniform(size=(2, *SHAPE)), jnp.float32)
    out = jax.jit(model.apply)(variables, x)
    assert out.recon.shape == x.shape
    decoded = jax.jit(partial(model.apply, method="decode"))(variables, out.z)
    np.testing.assert_allclose(decoded, out.recon, atol=1e-6)


@pytest.mark.parametrize("name", [n for n in models.names() if n not in TAKERS])
def test_the_others_refuse_them(name: str) -> None:
    with pytest.raises(InputError, match=r"takes no series of several channels, got \[24, 3\]"):
        models.build(ModelConfig(name), SHAPE, series=True)


@pytest.mark.parametrize("name", ["msae", "baseline", "vae3", "pca"])
def test_images_and_single_channels_are_flattened_as_before(name: str) -> None:
    for shape, series in (((28, 28), False), ((28, 28, 1), False), ((784,), True)):
        assert models.build(ModelConfig(name), shape, series=series).sample_shape == (784,)
    if models.takes_series(name):
        assert models.build(ModelConfig(name), (784, 1), series=True).sample_shape == (784,)


def test_convolutions_run_over_time_and_not_over_channels() -> None:
    """Against NumPy: the first convolution of the short encoder of `msae`, and what follows it."""
    model = models.build(ModelConfig("msae", SMALL["msae"]), SHAPE, series=True)
    variables = random_variables(model)
    x = np.random.default_rng(2).normal(size=(2, *SHAPE))
    layers = jax.tree.map(lambda a: a.astype(np.float64), variables["params"]["enc_short"])

    def conv(layer: dict[str, np.ndarray], a: np.ndarray) -> np.ndarray:
        padded = np.pad(a, ((0, 0), (1, 1), (0, 0)))
        taps = [padded[:, i : i + a.shape[1]] @ layer["kernel"][i] for i in range(3)]
        return np.maximum(sum(taps) + layer["bias"], 0)

    h = conv(layers["conv_1"], conv(layers["conv_0"], x))
    h = h.reshape(2, 6, 4, 5).mean(axis=2).reshape(2, -1)
    for i in range(2):
        layer = layers["mlp"][f"linear_{i}"]
        h = h @ layer["kernel"] + layer["bias"]
        h = np.maximum(h, 0) if i == 0 else h
    z = model.apply(variables, jnp.asarray(x, jnp.float32), method="encode")
    np.testing.assert_allclose(z[:, : h.shape[1]], h, atol=1e-5)
    with pytest.raises(InputError, match=r"expects series \[B, 24, 3\], got \[2, 72\]"):
        model.apply(variables, jnp.zeros((2, 72)))
