"""A program that was read here, as a graph that PyTorch computes. Needs the `torch` extra.

PyTorch's own loader is not given the file: it unpickles some of its parts and evaluates its sizes
as Python, so that a stranger's file could run code. What it would load is in the parsed graph,
whose operators are those of `interop.graph.table` and nothing else.
"""

from __future__ import annotations

import math
import operator
from typing import Any

import torch
from torch import fx

from msae_jax.errors import InputError
from msae_jax.interop.files.pt2_values import Graph, Node, Ref, Setting
from msae_jax.interop.graph.table import OPERATORS, find

FLAGS = ("training", "train", "use_input_stats")
INNER = ("dropout", "dropout_p")
_FLOATS = ("float32", "float64")
_FORMATS = {
    "contiguous": torch.contiguous_format,
    "preserve": torch.preserve_format,
    "channels_last": torch.channels_last,
    "channels_last_3d": torch.channels_last_3d,
}


def graph_module(
    graph: Graph, *, train: bool, dtype: torch.dtype, inner_dropout: bool = True
) -> fx.GraphModule:
    """Returns a graph of PyTorch's own operators: of all inputs in order, a tuple of all outputs.

    Args:
      train: whether flags of training hold as they were exported; else they are False.
      dtype: of what the graph makes as float32 or float64.
      inner_dropout: whether recurrent and attention layers drop.

    Raises:
      InputError: an operator is not one of PyTorch's.
    """
    made = fx.Graph()
    values: dict[str, Any] = {}
    for value in graph.inputs:
        values[value.name] = made.placeholder(value.name)
    for node in graph.nodes:
        target = _target(node)
        arguments = {
            name: _argument(values, value, dtype) for name, value in node.arguments.items()
        }
        # a norm without running statistics has those of the batch in evaluation, too
        kept = "running_mean" in node.arguments and node.arguments["running_mean"] is None
        for name in arguments:
            if name in FLAGS and not train and not kept:
                arguments[name] = False
            if name in INNER and not inner_dropout and isinstance(arguments[name], float):
                arguments[name] = 0.0
        _bind(made, values, node, _called(made, target, arguments))
    made.output(tuple(_argument(values, result.value, dtype) for result in graph.outputs))
    return fx.GraphModule(torch.nn.Module(), made)


def _target(node: Node) -> Any:
    """Returns PyTorch's operator; its name is in our table, or that of one in place there."""
    name = node.operator
    if name not in OPERATORS and find(name)[0] is None:
        raise InputError(f"the operator {name} is not known.")
    space, _, rest = name.partition(".")
    try:
        if space == "aten":
            packet, _, overload = rest.partition(".")
            return getattr(getattr(torch.ops.aten, packet), overload)
        return getattr({"_operator": operator, "math": math, "torch": torch}[space], rest)
    except (AttributeError, KeyError):
        raise InputError(f"PyTorch {torch.__version__} has no operator {name}.") from None


def _argument(values: dict[str, Any], value: Any, dtype: torch.dtype) -> Any:
    if isinstance(value, tuple):
        return [_argument(values, part, dtype) for part in value]
    if isinstance(value, Ref):
        return values[value.name]
    if not isinstance(value, Setting):
        return value
    if value.kind == "dtype":
        return dtype if value.value in _FLOATS else getattr(torch, value.value)
    if value.kind == "format":
        return _FORMATS[value.value]
    return torch.device("cpu") if value.kind == "device" else getattr(torch, value.value)


def _called(made: fx.Graph, target: Any, arguments: dict[str, Any]) -> fx.Node:
    """Returns a call with PyTorch's positional arguments in their order."""
    if not hasattr(target, "_schema"):
        return made.call_function(target, tuple(arguments.values()))
    schema = target._schema.arguments
    given, positional = dict(arguments), []
    for argument in schema:
        if argument.kwarg_only or argument.name not in given:
            break
        positional.append(given.pop(argument.name))
    return made.call_function(target, tuple(positional), given)


def _bind(made: fx.Graph, values: dict[str, Any], node: Node, call: fx.Node) -> None:
    """Names a call's value, or its parts, as the program does."""
    if len(node.outputs) == 1 and isinstance(node.outputs[0], str):
        values[node.outputs[0]] = call
        return
    parts = node.outputs[0] if len(node.outputs) == 1 else node.outputs
    for number, name in enumerate(parts if isinstance(parts, tuple) else ()):
        if isinstance(name, str):
            values[name] = made.call_function(operator.getitem, (call, number))
