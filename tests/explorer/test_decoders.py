"""The decoders of a page: of a program of PyTorch's, and of what reads more than a latent."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import pytest

from msae_jax import models
from msae_jax import weights as w
from msae_jax.config import ModelConfig, TrainConfig
from msae_jax.errors import InputError
from msae_jax.explorer import decoder, latents
from msae_jax.train import evaluation
from msae_jax.weights import Weights
from tests.explorer import node
from tests.interop import pt2_by_hand as by_hand


def test_a_program_decodes_to_the_axes_of_the_samples(tmp_path: Path) -> None:
    """It has the channels first, and the samples `[N, 2, 1, 2]` have them last."""
    program = tmp_path / "model.pt2"
    program.write_bytes(by_hand.written(by_hand.members()))
    weights = w.load_weights(program)
    x = np.random.default_rng(0).normal(size=(9, 2, 1, 2)).astype(np.float32)
    made = latents.as_values(latents.shown(weights, x, "pca"))
    found = node.run(
        """import { compile } from "page/graph.mjs";
        import { unpack } from "page/tensors.mjs";
        const decode = await compile(given.decoder);
        const z = (await unpack(given.latents)).data;
        const rows = Array.from({ length: 9 }, (_, i) => z.slice(3 * i, 3 * i + 3));
        const each = rows.map((row) => Array.from(decode(row)));
        console.log(JSON.stringify(each));""",
        made,
    )
    expected = evaluation.reconstruct(weights.model, weights.variables, x)
    flat = np.moveaxis(x, -1, 1).reshape(9, 4)
    hidden = np.maximum(flat @ by_hand.WEIGHT.T + by_hand.BIAS, 0)
    by_numpy = (hidden @ by_hand.WEIGHT + by_hand.CONSTANT).reshape(9, 2, 2, 1)
    np.testing.assert_allclose(expected, np.moveaxis(by_numpy, 1, -1), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found, expected.reshape(9, 4), rtol=1e-5, atol=1e-6)


def test_a_decoder_that_reads_a_class_too_is_refused() -> None:
    name = "msae_jax.models.conditional:ConditionalVae"
    settings = ModelConfig(name, {"features": 30, "classes": 3, "latent_dim": 4})
    model = models.build(settings)
    held = jax.eval_shape(lambda: models.init_variables(model, jax.random.key(0), (30,)))
    variables = jax.tree.map(lambda a: np.zeros(a.shape, a.dtype), held)
    weights = Weights(model, variables, TrainConfig(settings))
    with pytest.raises(InputError, match="reads 7 values, more than the 4 latents of a sample"):
        decoder.decoder(weights, (30,))
