"""ONNX: a graph as a file, and what onnxruntime makes of it; they need the extra `export`."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from typing import Any

import jax
import numpy as np

from msae_jax.errors import InputError
from msae_jax.export.builder import CODES, Graph, Node, Value
from msae_jax.export.graph import trace

OPSET = 18
IR_VERSION = 8  # the oldest that this opset may have, which most programs read
MOST = 2**31 - 1  # bytes; protocol buffers hold no more


def check_installed() -> None:
    """Raises InputError, which says how to install it, where a package is missing."""
    missing = [name for name in ("onnx", "onnxruntime") if not _is_installed(name)]
    if missing:
        raise InputError(
            f"ONNX needs {' and '.join(missing)}, not installed: pip install 'msae-jax[export]' "
            "(in a checkout: pip install -e '.[export]'), or --format stablehlo, which needs none."
        )


def _is_installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def versions() -> dict[str, Any]:
    """Returns the versions that the file and its check depend on."""
    found = {name: metadata.version(name) for name in ("onnx", "onnxruntime")}
    return {**found, "opset": OPSET, "IR version": IR_VERSION}


def make(
    function: Callable[..., jax.Array],
    inputs: Sequence[jax.ShapeDtypeStruct],
    about: Mapping[str, str],
) -> bytes:
    """Returns the file of a function of arrays `[B, ...]`, of any batch size.

    Args:
      about: what the file says of itself.

    Raises:
      InputError: something in the function has no translation, or the file would be too large.
    """
    try:
        graph = trace(function, inputs)
    except InputError as error:
        raise InputError(f"{error} --format stablehlo takes every primitive.") from error
    size = sum(array.nbytes for array in graph.constants.values())
    if size > MOST - 2**24:
        raise InputError(
            f"the weights are {size:,} bytes, and an ONNX file holds at most {MOST:,}: take "
            "--format stablehlo."
        )
    return encoded(graph, about)


def encoded(graph: Graph, about: Mapping[str, str]) -> bytes:
    """Returns the file of a graph, after onnx has checked it and inferred every shape."""
    import onnx
    from onnx import helper, numpy_helper

    model = helper.make_model(
        helper.make_graph(
            [_node(node) for node in graph.nodes],
            about.get("part", "graph"),
            [_value(value) for value in graph.inputs],
            [_value(value) for value in graph.outputs],
            [numpy_helper.from_array(array, name) for name, array in graph.constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="msae_jax",
        producer_version=metadata.version("msae-jax"),
    )
    helper.set_model_props(model, dict(about))
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # onnx has several, without a base of their own
        raise InputError(f"onnx takes this graph for wrong: {error}") from error
    return model.SerializeToString(deterministic=True)


def _node(node: Node) -> Any:
    """Returns a node with a name, which onnxruntime 1.20 needs to tell what it fuses apart."""
    from onnx import helper

    return helper.make_node(
        node.operator, node.inputs, node.outputs, name=node.outputs[0], **node.attributes
    )


def _value(value: Value) -> Any:
    from onnx import helper

    sizes = ["batch" if n is None else n for n in value.shape]
    return helper.make_tensor_value_info(value.name, CODES[value.dtype.name], sizes)


def opened(file: bytes) -> Callable[[np.ndarray], np.ndarray]:
    """Returns what onnxruntime computes of a file, on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    try:
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has several, without a base of their own
        raise InputError(f"onnxruntime cannot compute this graph: {error}") from error
    (name,) = [given.name for given in session.get_inputs()]

    def run(x: np.ndarray) -> np.ndarray:
        return session.run(None, {name: x})[0]

    return run
