"""Activations by name, against their definitions; those of PyTorch are in test_verify.py."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from msae_jax import models
from msae_jax.config import ModelConfig
from msae_jax.errors import InputError
from msae_jax.models.activations import ACTIVATIONS, find
from tests.models.variables import random_variables

DEFINITIONS = {
    "identity": lambda x: x,
    "relu": lambda x: max(x, 0.0),
    "leaky_relu": lambda x: x if x > 0 else 0.01 * x,
    "elu": lambda x: x if x > 0 else math.exp(x) - 1,
    "gelu": lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2,
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "tanh": math.tanh,
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_each_is_what_its_name_says(name: str) -> None:
    x = np.linspace(-4, 4, 33, dtype=np.float32)
    expected = [DEFINITIONS[name](float(value)) for value in x]
    np.testing.assert_allclose(find(name)(jnp.array(x)), expected, rtol=1e-5, atol=1e-6)


SMALL = {
    "baseline": {"hidden": [8]},
    "msae-mlp": {"small_hidden": 8, "large_hidden": 8},
    "vae3": {"hidden": [8]},
    "msae": {"channels": [2, 3]},
    "conv": {"channels": [2, 3, 4]},
    "superres": {"channels": [2, 3], "decoder_channels": [3, 2], "hidden": 8},
}


@pytest.mark.usefixtures("quick_to_compile")
@pytest.mark.parametrize("name", SMALL)
def test_the_options_change_what_a_model_computes(name: str) -> None:
    options = ({}, {"activation": "tanh"}, {"output": "tanh"})
    usual, *others = (models.build(ModelConfig(name, SMALL[name] | more)) for more in options)
    x = jax.random.uniform(jax.random.key(1), (2, *usual.sample_shape))
    variables = random_variables(usual)
    found = jax.jit(lambda x: [model.apply(variables, x).recon for model in (usual, *others)])(x)
    for other in found[1:]:
        assert not np.allclose(found[0], other, atol=1e-4)


def test_an_unknown_one_is_named() -> None:
    with pytest.raises(InputError, match=r"unknown activation 'relo'. Did you mean 'relu'\?"):
        find("relo")
