"""The decoder of a model as a graph that the page computes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import flax.linen as nn
import jax
import numpy as np

from msae_jax.errors import InputError
from msae_jax.explorer.packing import packed
from msae_jax.interop.autoencoder import Autoencoder

if TYPE_CHECKING:
    from msae_jax.export.graph import Graph, Node
    from msae_jax.weights import Weights

OPERATORS = frozenset((
    "Abs", "Add", "And", "AveragePool", "Cast", "Concat", "Conv", "ConvTranspose", "Cos", "Div",
    "Equal", "Erf", "Exp", "Expand", "Gather", "Gemm", "Greater", "GreaterOrEqual", "Identity",
    "Less", "LessOrEqual", "Log", "MatMul", "Max", "MaxPool", "Min", "Mul", "Neg", "Not", "Or",
    "Pad", "Pow", "Reciprocal", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum", "Relu",
    "Reshape", "Sigmoid", "Sign", "Sin", "Slice", "Sqrt", "Squeeze", "Sub", "Tanh", "Transpose",
    "Unsqueeze", "Where",
))  # fmt: skip
"""What `page/graph.mjs` computes; a test holds the two against each other."""

CASTS = (1, 6, 7, 9)  # float32, int32, int64, bool, as ONNX numbers them
SPATIAL = ("Conv", "ConvTranspose", "MaxPool", "AveragePool")
MAX_NODES = 20_000


def decoder(weights: Weights, sample_shape: tuple[int, ...]) -> dict[str, Any]:
    """Returns the graph of a model's decoder for one latent, as JSON values.

    Args:
      sample_shape: of the samples that are shown, as which reconstructions are laid out.

    Raises:
      InputError: the decoder reads more than a latent, cannot be traced, or is made of what the
        page lacks.
    """
    from msae_jax.export import graph, parts

    function, inputs = parts.part(weights, "decode")
    x = jax.ShapeDtypeStruct((1, *sample_shape), np.float32)
    latents, read = jax.eval_shape(parts.part(weights, "encode")[0], x).size, inputs[0].size
    if latents != read:
        raise InputError(
            f"the decoder of {weights.config.model.name} reads {read} values, more than the "
            f"{latents} latents of a sample, as conditional models do: a page cannot set the "
            "others. The other commands (embed, reconstruct) take the model."
        )
    laid_out = functools.partial(_laid_out, weights.model, function, x)
    return as_values(graph.trace(laid_out, inputs, batch=1))


def _laid_out(
    model: nn.Module, decode: Callable[[jax.Array], jax.Array], x: jax.ShapeDtypeStruct,
    z: jax.Array,
) -> jax.Array:  # fmt: skip
    """Returns what a latent decodes to, of a program, too, with its axes in the samples' order."""
    y = decode(z)
    return model.as_samples(y, x.shape[1:]) if isinstance(model, Autoencoder) else y


def as_values(graph: Graph) -> dict[str, Any]:
    """Returns a graph as JSON values.

    Raises:
      InputError: it has operators that the page lacks, all of them named.
    """
    lacking = sorted({text for node in graph.nodes for text in _lacking(node)})
    if lacking:
        raise InputError(
            f"this decoder cannot run in a page, which lacks {', '.join(lacking)}. The other "
            "commands (embed, reconstruct) take the model."
        )
    if len(graph.nodes) > MAX_NODES:
        raise InputError(
            f"this decoder has {len(graph.nodes)} operations, more than the {MAX_NODES} that a "
            "page computes while a point is dragged."
        )
    (given,), (made,) = graph.inputs, graph.outputs
    return {
        "nodes": [
            {
                "operator": node.operator,
                "inputs": list(node.inputs),
                "outputs": list(node.outputs),
                "attributes": {name: _plain(value) for name, value in node.attributes.items()},
            }
            for node in graph.nodes
        ],
        "constants": {name: packed(array) for name, array in graph.constants.items()},
        "input": {"name": given.name, "shape": list(given.shape)},
        "output": {"name": made.name, "shape": list(made.shape)},
    }


def _lacking(node: Node) -> Iterator[str]:
    """Yields what of a node the page does not compute."""
    name, given = node.operator, node.attributes
    if name not in OPERATORS:
        yield name
    if name == "Cast" and given.get("to") not in CASTS:
        yield f"Cast to type {given.get('to')}"
    if name == "Pad" and _text(given.get("mode", "constant")) != "constant":
        yield f"Pad in mode {_text(given['mode'])}"
    if name in SPATIAL and _text(given.get("auto_pad", "NOTSET")) != "NOTSET":
        yield f"{name} with auto_pad {_text(given['auto_pad'])}"
    if name in SPATIAL and len(given.get("kernel_shape", ())) > 2:
        yield f"{name} over {len(given['kernel_shape'])} axes"
    if len(node.outputs) != 1:
        yield f"{name} with {len(node.outputs)} outputs"


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _plain(value: Any) -> Any:
    """Returns an attribute as JSON has it."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value
