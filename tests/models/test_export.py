"""Every model exports with a batch of any size: nothing in it asks how large the batch is."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from jax import export

from msae_jax import models
from msae_jax.config import ModelConfig
from tests.models.variables import random_variables

SMALL = {
    "msae": {"channels": [2, 3], "hidden": 8},
    "superres": {"channels": [2, 3], "decoder_channels": [3, 2], "hidden": 8},
    "conv": {"channels": [2, 3, 4]},
    "pyramid": {"hidden": 8},
    "pyramid-flat": {"hidden": 8},
    "pyramid-vae": {"hidden": 8},
    "lgta": {"hidden": 4, "features": 12},
}
QUICK = ("baseline", "conv")
"""One without and one with convolutions; the sweep over all models is slow."""
CASES = [
    name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in models.names()
]


@pytest.mark.usefixtures("quick_to_compile")
@pytest.mark.parametrize("name", CASES)
def test_a_symbolic_batch_reconstructs_as_a_known_one(name: str) -> None:
    model = models.build(ModelConfig(name, SMALL.get(name, {})))
    variables = random_variables(model)

    @jax.jit
    def reconstruct(x: jax.Array) -> jax.Array:
        return model.apply(variables, x).recon

    (batch,) = export.symbolic_shape("batch")
    shape = jax.ShapeDtypeStruct((batch, *model.sample_shape), np.float32)
    exported = export.export(reconstruct)(shape)
    for size in (1, 7):
        x = jax.random.uniform(jax.random.key(size), (size, *model.sample_shape))
        expected = reconstruct(x)
        np.testing.assert_allclose(exported.call(x), expected, rtol=1e-5, atol=1e-6)
