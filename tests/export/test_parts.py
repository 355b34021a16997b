"""Every part of every model as a file, against JAX."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from msae_jax import models
from msae_jax.config import ModelConfig, TrainConfig
from msae_jax.errors import InputError
from msae_jax.export import part, trace
from msae_jax.export.certificate import TOLERANCE, compared
from msae_jax.export.parts import PARTS
from msae_jax.models.output import Output
from msae_jax.weights import Weights

CONDITIONAL = "msae_jax.models.conditional:ConditionalVae"
SERIES = {"features": 26, "input_channels": 2}
MODELS: dict[str, dict[str, Any]] = {  # small where the size changes no operator
    "ae5": {},
    "baseline": {},
    "baseline-mlp": {},
    "conv": {"channels": (4, 8, 8), "activation": "elu"},
    "lgta": {"features": 14, "input_channels": 2, "hidden": 4},
    "msae": {"signal_length": 50},
    "msae-mlp": {},
    "pca": SERIES | {"latent_dim": 5},
    "pyramid": {**SERIES, "level": "conv", "pools": (4, 2, 1), "latent_dim": 6},
    "pyramid-flat": SERIES | {"latent_dim": 6},
    "pyramid-vae": {**SERIES, "pools": (3, 1), "latent_dim": 6},
    "stacked": {"activation": "gelu"},
    "superres": {"channels": (4, 8), "decoder_channels": (4, 4), "image_shape": (8, 12, 3)},
    "vae3": {},
    "vae5": {"activation": "leaky_relu"},
    CONDITIONAL: {"features": 30, "classes": 3, "latent_dim": 4},
}
JS = {
    "MatMul", "Gemm", "Add", "Sub", "Mul", "Div", "Neg", "Max", "Min", "Pow", "Exp", "Log", "Sqrt",
    "Reciprocal", "Abs", "Sign", "Tanh", "Sigmoid", "Erf", "Sin", "Cos", "Where", "Greater", "Less",
    "Equal", "GreaterOrEqual", "LessOrEqual", "And", "Or", "Not", "Cast", "Reshape", "Transpose",
    "Concat", "Slice", "Pad", "Expand", "Squeeze", "Unsqueeze", "Gather", "ReduceSum", "ReduceMax",
    "ReduceMin", "ReduceMean", "Conv", "ConvTranspose", "MaxPool", "AveragePool", "Identity",
}  # fmt: skip


class Case:
    """A model with its initial weights, running statistics moved off theirs, and what JAX makes."""

    def __init__(self, name: str) -> None:
        model = models.build(ModelConfig(name, MODELS[name]))
        variables = models.init_variables(model, jax.random.key(0), model.sample_shape)
        shaken = {
            kind: jax.tree.map(lambda a: a + 0.3 if a.dtype == jnp.float32 else a, dict(tree))
            if kind == "batch_stats"
            else tree
            for kind, tree in variables.items()
        }
        held = jax.tree.map(np.asarray, shaken)
        self.weights = Weights(model, held, TrainConfig(ModelConfig(name, MODELS[name])))
        rng = np.random.default_rng(1)
        self.x = rng.random((7, *model.sample_shape), np.float32)
        shape = part(self.weights, "decode")[1][0].shape[1:]
        self.z = rng.standard_normal((7, *shape), np.float32)

        @jax.jit
        def expected(x: jax.Array, z: jax.Array) -> dict[str, jax.Array]:
            out = model.apply(held, x)
            decoded = model.apply(held, z, method="decode")
            return {"encode": out.z, "reconstruct": out.recon, "decode": decoded}

        with jax.default_matmul_precision("highest"):
            self.expected = {k: np.asarray(v) for k, v in expected(self.x, self.z).items()}

    def check(self, run: Any, name: str, batch: int) -> None:
        x = (self.z if name == "decode" else self.x)[:batch]
        check = compared(batch, run(x), self.expected[name][:batch])
        assert check.relative <= TOLERANCE, (name, check)


@pytest.fixture(scope="module", params=MODELS)
def case(request: pytest.FixtureRequest) -> Case:
    return Case(request.param)


@pytest.mark.parametrize("name", PARTS)
def test_onnxruntime_computes_any_batch(case: Case, name: Any) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from msae_jax.export import onnx_format

    function, inputs = part(case.weights, name)
    run = onnx_format.opened(onnx_format.make(function, inputs, {"part": name}))
    for batch in (1, 7):
        case.check(run, name, batch)


@pytest.mark.parametrize("name", PARTS)
def test_a_graph_of_a_fixed_batch_has_few_operators(case: Case, name: Any) -> None:
    graph = trace(*part(case.weights, name), batch=1)
    assert {node.operator for node in graph.nodes} <= JS
    (made,) = graph.outputs
    assert made.shape == (1, *case.expected[name].shape[1:])
    assert made.dtype == np.float32


@pytest.mark.parametrize("name", ["conv", "lgta"])
def test_stablehlo_computes_any_batch(name: str) -> None:
    from msae_jax.export import stablehlo_format

    case = Case(name)
    for each in ("encode", "decode"):
        run = stablehlo_format.opened(stablehlo_format.make(*part(case.weights, each), {}))
        for batch in (1, 7):
            case.check(run, each, batch)


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
