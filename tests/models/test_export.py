"""Every model exports with a batch of any size: nothing in it asks how large the batch is."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from jax import export

from msae_jax import models
from msae_jax.config import ModelConfig

SMALL = {
    "superres": {"channels": [8, 16], "decoder_channels": [8, 4]},
    "conv": {"channels": [4, 8, 16]},
}


@pytest.mark.parametrize("name", models.names())
def test_a_symbolic_batch_reconstructs_as_a_known_one(name: str) -> None:
    model = models.build(ModelConfig(name, SMALL.get(name, {})))
    variables = models.init_variables(model, jax.random.key(0), model.sample_shape)

    def reconstruct(x: jax.Array) -> jax.Array:
        return model.apply(variables, x).recon

    (batch,) = export.symbolic_shape("batch")
    shape = jax.ShapeDtypeStruct((batch, *model.sample_shape), np.float32)
    exported = export.export(jax.jit(reconstruct))(shape)
    for size in (1, 7):
        x = jax.random.uniform(jax.random.key(size), (size, *model.sample_shape))
        expected = reconstruct(x)
        np.testing.assert_allclose(exported.call(x), expected, rtol=1e-5, atol=1e-6)
