"""Every part of every model as a file, and the decoder of each in a page, against JAX."""

from __future__ import annotations

import functools
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import pytest

from msae_jax import models
from msae_jax.config import ModelConfig, TrainConfig
from msae_jax.data.facts import Facts
from msae_jax.errors import InputError
from msae_jax.explorer import decoder
from msae_jax.export import part, trace
from msae_jax.export.certificate import TOLERANCE, compared
from msae_jax.export.parts import PARTS
from msae_jax.models.output import Output, finish
from msae_jax.weights import Weights
from tests.explorer import node

pytestmark = pytest.mark.usefixtures("all_quick_to_compile")

CONDITIONAL = "msae_jax.models.conditional:ConditionalVae"
FLAT, SERIES = {"features": 30, "latent_dim": 6}, {"features": 26, "input_channels": 2}
MODELS: dict[str, dict[str, Any]] = {  # small, as sizes change no operator
    "ae5": FLAT | {"hidden": (12, 9, 7)},
    "baseline": FLAT | {"hidden": (9,)},
    "baseline-mlp": FLAT | {"hidden": (9,)},
    "conv": {"channels": (4, 8, 8), "activation": "elu", "image_shape": (8, 12, 1)},
    "lgta": {"features": 14, "input_channels": 2, "hidden": 4},
    "msae": {"signal_length": 50, "channels": (4, 6), "hidden": 9, "latent_dim": 6},
    "msae-mlp": FLAT | {"small_hidden": 7, "large_hidden": 9},
    "pca": SERIES | {"latent_dim": 5},
    "pyramid": {**SERIES, "level": "conv", "pools": (4, 2, 1), "latent_dim": 6},
    "pyramid-flat": SERIES | {"latent_dim": 6, "hidden": 9},
    "pyramid-vae": {**SERIES, "pools": (3, 1), "latent_dim": 6, "hidden": 9},
    "stacked": FLAT | {"hidden": (12, 9, 7), "activation": "gelu"},
    "superres": {"channels": (4, 8), "decoder_channels": (4, 4), "image_shape": (8, 12, 3)},
    "vae3": FLAT | {"hidden": (9,)},
    "vae5": FLAT | {"hidden": (12, 9, 7), "activation": "leaky_relu"},
    CONDITIONAL: {"features": 30, "classes": 3, "latent_dim": 4},
}
BATCHES = (1, 7)
SLOW = ("ae5", "baseline", "baseline-mlp", "msae-mlp", "pca", "pyramid-flat", "vae3")
"""Whose operators others have, too."""


def every_model() -> pytest.MarkDecorator:
    marked = [pytest.param(m, marks=pytest.mark.slow) if m in SLOW else m for m in MODELS]
    return pytest.mark.parametrize("model", marked)


class Case:
    """A model with random weights, and what JAX makes of samples and of latents."""

    def __init__(self, name: str) -> None:
        settings = ModelConfig(name, MODELS[name])
        model, rng = models.build(settings), np.random.default_rng(1)

        def drawn(of: jax.ShapeDtypeStruct, statistic: bool) -> np.ndarray:
            if statistic:  # a mean, or a variance, which is above 0
                return rng.uniform(0.2, 1, of.shape).astype(np.float32)
            return (rng.normal(size=of.shape) / np.sqrt(of.size / of.shape[-1])).astype(np.float32)

        shapes = jax.eval_shape(
            lambda: models.init_variables(model, jax.random.key(0), model.sample_shape)
        )
        held = {
            kind: jax.tree.map(functools.partial(drawn, statistic=kind == "batch_stats"), tree)
            for kind, tree in shapes.items()
        }
        self.weights = Weights(model, held, TrainConfig(settings))
        shape = part(self.weights, "decode")[1][0].shape[1:]
        self.x = rng.random((max(BATCHES), *model.sample_shape), np.float32)
        self.z = rng.standard_normal((max(BATCHES), *shape), np.float32)

        @jax.jit
        def expected(x: jax.Array, z: jax.Array) -> dict[str, jax.Array]:
            out = model.apply(held, x)
            decoded = model.apply(held, z, method="decode")
            return {"encode": out.z, "decode": decoded, "reconstruct": out.recon}

        with jax.default_matmul_precision("highest"):
            self.expected = {k: np.asarray(v) for k, v in expected(self.x, self.z).items()}

    def check(self, got: Any, name: str) -> None:
        """Checks what was made of the first samples, or of the first latents, for `decode`."""
        check = compared(len(got), got, self.expected[name][: len(got)])
        assert check.relative <= TOLERANCE, (name, check)


cases = functools.cache(Case)


class Bare(nn.Module):
    """A user's model as the tutorial has it: without a sample_shape."""

    def setup(self) -> None:
        self.down, self.up = nn.Dense(2), nn.Dense(5)

    def encode(self, x: jax.Array) -> jax.Array:
        return self.down(x)

    def decode(self, z: jax.Array) -> jax.Array:
        return self.up(z)

    def __call__(self, x: jax.Array) -> Output:
        z = self.encode(x)
        return finish(x, z, self.decode(z), "identity")


def test_a_model_without_a_sample_shape_reads_what_it_was_trained_on() -> None:
    model, x = Bare(), np.random.default_rng(0).random((7, 5), np.float32)
    facts = Facts("float32", (5,), 0.0, 1.0, 7, 7, "")
    settings = TrainConfig(ModelConfig("mine:Bare"))
    weights = Weights(model, model.init(jax.random.key(0), x), settings, facts)
    function, (given,) = part(weights, "encode")
    assert given.shape == (1, 5)
    dense = weights.variables["params"]["down"]
    np.testing.assert_allclose(function(x), x @ dense["kernel"] + dense["bias"], atol=1e-6)
    assert part(weights, "decode")[1][0].shape == (1, 2)
    assert decoder.decoder(weights, (5,))["output"]["shape"] == [1, 5]
    with pytest.raises(InputError, match="give the class a property sample_shape"):
        part(weights._replace(facts=None), "encode")


@every_model()
def test_onnxruntime_computes_every_part_of_any_batch(model: str) -> None:
    """The parts are one graph here, as most of the time goes by with each file."""
    pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    from msae_jax.export import onnx_format

    case = cases(model)
    functions = {name: part(case.weights, name)[0] for name in PARTS}
    shapes = [part(case.weights, name)[1][0] for name in ("encode", "decode")]
    assert [s.shape[1:] for s in shapes] == [case.x.shape[1:], case.z.shape[1:]]

    def every(x: jax.Array, z: jax.Array) -> tuple[jax.Array, ...]:
        return tuple(functions[name](z if name == "decode" else x) for name in PARTS)

    file = onnx_format.encoded(trace(every, shapes), {})
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    for batch in BATCHES:
        given = {"input_0": case.x[:batch], "input_1": case.z[:batch]}
        for name, got in zip(PARTS, session.run(None, given), strict=True):
            case.check(got, name)


@functools.cache
def decoded(quick: bool) -> dict[str, list[list[float]]]:
    """What the page's decoder of each model makes of the latents, in one process."""
    given = {
        model: {
            "graph": decoder.as_values(trace(*part(cases(model).weights, "decode"), batch=1)),
            "z": cases(model).z.reshape(max(BATCHES), -1).astype(float).tolist(),
        }
        for model in MODELS
        if (model not in SLOW) == quick
    }
    return node.run(
        """import { compile } from "page/graph.mjs";
        const found = {};
        for (const [model, { graph, z }] of Object.entries(given)) {
          const decode = await compile(graph);
          found[model] = z.map((row) => Array.from(decode(Float32Array.from(row))));
        }
        console.log(JSON.stringify(found));""",
        given,
    )


@every_model()
def test_a_page_computes_the_decoder(model: str) -> None:
    case = cases(model)
    values = np.array(decoded(model not in SLOW)[model], np.float32)
    case.check(values.reshape(case.expected["decode"].shape), "decode")


@pytest.mark.parametrize("model", ["conv", "lgta"])
def test_stablehlo_computes_any_batch(model: str) -> None:
    from msae_jax.export import stablehlo_format

    case = cases(model)
    run = stablehlo_format.opened(stablehlo_format.make(*part(case.weights, "reconstruct"), {}))
    for batch in BATCHES:
        case.check(run(case.x[:batch]), "reconstruct")


class NoLatent(nn.Module):
    """A model without a latent that is certain, as a program may be."""

    sample_shape: tuple[int, ...] = (3,)

    def __call__(self, x: jax.Array) -> Output:
        return Output(x, None)  # type: ignore[arg-type]


def test_a_part_that_is_none_is_refused() -> None:
    weights = Weights(NoLatent(), {}, TrainConfig())
    with pytest.raises(InputError, match=r"unknown part 'encoder'\. Did you mean 'encode'"):
        part(weights, "encoder")  # type: ignore[arg-type]
    for name in ("encode", "decode"):
        with pytest.raises(InputError, match="the latent of this program is not certain"):
            part(weights, name)
    x = np.ones((2, 3), np.float32)
    np.testing.assert_array_equal(part(weights, "reconstruct")[0](x), x)
