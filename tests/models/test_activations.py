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


@pytest.mark.parametrize("field", ["activation", "output"])
@pytest.mark.parametrize("name", ["baseline", "msae-mlp", "vae3", "msae", "conv", "superres"])
def test_the_option_changes_what_a_model_computes(name: str, field: str) -> None:
    usual, other = (models.build(ModelConfig(name, options)) for options in ({}, {field: "tanh"}))
    x = jax.random.uniform(jax.random.key(1), (2, *usual.sample_shape))
    variables = models.init_variables(usual, jax.random.key(0), usual.sample_shape)
    a, b = (model.apply(variables, x).recon for model in (usual, other))
    assert not np.allclose(a, b, atol=1e-4)


def test_an_unknown_one_is_named() -> None:
    with pytest.raises(InputError, match=r"unknown activation 'relo'. Did you mean 'relu'\?"):
        find("relo")
