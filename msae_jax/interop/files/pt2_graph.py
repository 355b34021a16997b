"""The graph of a `.pt2` file as typed values, checked: every name is made once, before it is used.

The file keeps it as JSON. What this library cannot read becomes an `Unreadable` argument, so that
whoever computes the graph can refuse all such nodes together, by the names of their operators.

Source: torch/_export/serde/schema.py of PyTorch 2.13, schema version 8.20.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from msae_jax.errors import InputError
from msae_jax.interop.files.pt2_values import (
    Free,
    Graph,
    Input,
    Meta,
    Node,
    Output,
    Ref,
    Result,
    Setting,
    Unreadable,
)
from msae_jax.interop.files.storages import MAX_DIMENSIONS

MAX_NODES = 20_000
MAX_NAME = 1_000
SCALAR_TYPES = {
    1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float16", 7: "float32",
    8: "float64", 10: "complex64", 11: "complex128", 12: "bool", 13: "bfloat16", 28: "uint16",
    29: "float8_e4m3fn", 30: "float8_e5m2", 31: "float8_e4m3fnuz", 32: "float8_e5m2fnuz",
    34: "uint32", 35: "uint64",
}  # fmt: skip
_LAYOUTS = {1: "sparse", 2: "sparse_csr", 3: "sparse_csc", 7: "strided"}
_FORMATS = {1: "contiguous", 2: "channels_last", 3: "channels_last_3d", 4: "preserve"}
_FLOATS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def parse_graph(module: Mapping[str, Any]) -> Graph:
    """Returns the graph of the JSON of a `GraphModule`.

    Raises:
      LookupError, TypeError, ValueError: it is not such JSON, or a name is used before it is made.
    """
    graph, signature = module["graph"], module["signature"]
    if len(graph["nodes"]) > MAX_NODES:
        raise ValueError(f"it has {len(graph['nodes'])} nodes, of at most {MAX_NODES}")
    inputs = tuple(_input(spec) for spec in signature["input_specs"])
    nodes = tuple(_node(raw) for raw in graph["nodes"])
    outputs = tuple(_output(spec) for spec in signature["output_specs"])
    if len(inputs) != len(graph["inputs"]) or len(outputs) != len(graph["outputs"]):
        raise ValueError("its signature and its graph have other numbers of inputs or outputs")
    metas = {_name(name): parse_meta(raw) for name, raw in graph["tensor_values"].items()}
    _check_names(inputs, nodes, outputs)
    modules = tuple(_string(entry["fqn"]) for entry in module["module_call_graph"])
    return Graph(inputs, nodes, outputs, metas, modules)


def parse_meta(raw: Mapping[str, Any]) -> Meta:
    """Returns the dtype and sizes of the JSON of a `TensorMeta`."""
    if raw["layout"] != 7:
        layout = _LAYOUTS.get(raw["layout"], raw["layout"])
        raise ValueError(f"a tensor has the layout {layout!r}, not strided")
    sizes = tuple(map(_size, raw["sizes"]))
    if len(sizes) > MAX_DIMENSIONS:
        raise ValueError("a tensor has too many dimensions")
    return Meta(SCALAR_TYPES[raw["dtype"]], sizes)


def _size(raw: Mapping[str, Any]) -> int | Free:
    kind, value = _only(raw)
    if kind == "as_int":
        return _integer(value)
    if kind != "as_expr":
        raise ValueError(f"a size is given {kind}")
    hint = value.get("hint") or {}
    known = hint.get("as_int")
    return Free(_string(value["expr_str"]), None if known is None else _integer(known))


def _node(raw: Mapping[str, Any]) -> Node:
    operator = _name(raw["target"]).removeprefix("torch.ops.")
    arguments = {}
    for place, given in enumerate(raw["inputs"]):
        name = _name(given["name"] or f"input {place}")  # of an operator on graphs
        if name in arguments:
            raise ValueError(f"the argument {name!a} is given twice")
        arguments[name] = argument(given["arg"])
    outputs = tuple(_destination(part) for part in raw["outputs"])
    path, kind = _module(raw.get("metadata", {}).get("nn_module_stack", ""))
    shown = raw.get("name") or next(_flat(outputs), operator)
    return Node(_name(shown), operator, arguments, outputs, path, kind)


def argument(raw: Mapping[str, Any]) -> Any:
    """Returns what the JSON of an `Argument` stands for."""
    kind, value = _only(raw)
    if kind == "as_none":
        return None
    if kind in _READERS:
        return _READERS[kind](value)
    single = kind.removesuffix("s")
    if kind.endswith("s") and single in _READERS:
        return tuple(_READERS[single](part) for part in value)
    return Unreadable(kind)


def _named(raw: Mapping[str, Any]) -> Any:
    """Returns the value of a union of a name and a constant."""
    kind, value = _only(raw)
    if kind == "as_none":
        return None
    if kind == "as_tensor":
        return Ref(_name(value["name"]))
    return Ref(_name(value)) if kind == "as_name" else _READERS[kind](value)


def _float(value: Any) -> float:
    if type(value) is str:
        return _FLOATS[value]
    if type(value) not in (int, float):
        raise TypeError("a number is none")
    return float(value)


def _integer(value: Any) -> int:
    if type(value) is not int or abs(value) >= 2**63:
        raise TypeError("an integer is none, or beyond 64 bits")
    return value


def _boolean(value: Any) -> bool:
    if type(value) is not bool:
        raise TypeError("a truth value is none")
    return value


def _string(value: Any) -> str:
    if type(value) is not str:
        raise TypeError("a text is none")
    return value


_READERS: dict[str, Callable[[Any], Any]] = {
    "as_tensor": lambda value: Ref(_name(value["name"])),
    "as_int": _integer,
    "as_float": _float,
    "as_bool": _boolean,
    "as_string": _string,
    "as_sym_int": _named,
    "as_sym_bool": _named,
    "as_sym_float": _named,
    "as_optional_tensor": _named,
    "as_scalar_type": lambda value: Setting("dtype", SCALAR_TYPES[value]),
    "as_layout": lambda value: Setting("layout", _LAYOUTS[value]),
    "as_memory_format": lambda value: Setting("format", _FORMATS[value]),
    "as_device": lambda value: Setting("device", _string(value["type"])),
    "as_int_list": lambda value: tuple(map(_integer, value)),
    "as_float_list": lambda value: tuple(map(_float, value)),
}


def _destination(raw: Mapping[str, Any]) -> Output:
    value = argument(raw)
    if value is None:
        return None
    if isinstance(value, tuple):
        return tuple(None if part is None else part.name for part in value)
    if not isinstance(value, Ref):
        raise TypeError("a node's output has no name")
    return value.name


def _module(stack: str) -> tuple[str, str]:
    """Returns path and class of the innermost module of a node's stack of modules."""
    parts = _string(stack).rpartition(";")[2].split(",")
    return (parts[1], parts[2]) if len(parts) == 3 and "." in parts[2] else ("", "")


_INPUTS = {
    "parameter": ("parameter", "parameter_name"),
    "buffer": ("buffer", "buffer_name"),
    "tensor_constant": ("constant", "tensor_constant_name"),
}


def _input(raw: Mapping[str, Any]) -> Input:
    kind, spec = _only(raw)
    if kind in _INPUTS:
        ours, key = _INPUTS[kind]
        persistent = _boolean(spec.get("persistent", True))
        return Input(ours, _name(spec["arg"]["name"]), _name(spec[key]), persistent)
    if kind == "constant_input":
        return Input("fixed", _name(spec["name"]), value=argument(spec["value"]))
    if kind != "user_input":
        raise InputError(
            f"has an input of the kind {kind[:40]!a} (a token: of checks on values, or prints), "
            "which is not supported. Exporting with `.run_decompositions({})` may do without it."
        )
    value = argument(spec["arg"])
    if not isinstance(value, Ref):
        raise TypeError("an input has no name")
    return Input("user", value.name)


def _output(raw: Mapping[str, Any]) -> Result:
    kind, spec = _only(raw)
    if kind == "buffer_mutation":
        return Result("buffer", Ref(_name(spec["arg"]["name"])), _name(spec["buffer_name"]))
    if kind == "user_output":
        return Result("user", argument(spec["arg"]))
    if kind == "loss_output":
        return Result("user", Ref(_name(spec["arg"]["name"])))
    raise ValueError(f"an output of the kind {kind!a} is not among those that are read")


def _only(raw: Mapping[str, Any]) -> tuple[str, Any]:
    """Returns the one key of a union and its value."""
    [(kind, value)] = raw.items()
    return kind, value


def _name(value: Any) -> str:
    if type(value) is not str or not 0 < len(value) <= MAX_NAME:
        raise ValueError(f"a name is none, or longer than {MAX_NAME} characters")
    return value


def _flat(value: Any) -> Iterator[str]:
    """Yields the names in a value or an output."""
    if isinstance(value, tuple):
        for part in value:
            yield from _flat(part)
    elif isinstance(value, Ref):
        yield value.name
    elif isinstance(value, str):
        yield value


def _check_names(
    inputs: tuple[Input, ...], nodes: tuple[Node, ...], outputs: tuple[Result, ...]
) -> None:
    known: set[str] = set()

    def made(names: Iterator[str]) -> None:
        for name in names:
            if name in known:
                raise ValueError(f"the value {name[:80]!a} is made twice")
            known.add(name)

    def used(value: Any, where: str) -> None:
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, tuple):
                used(part, where)
            elif isinstance(part, Ref) and part.name not in known:
                raise ValueError(f"{where[:80]!a} uses {part.name[:80]!a} before it is made")

    made(value.name for value in inputs)
    for node in nodes:
        for value in node.arguments.values():
            used(value, node.name)
        made(_flat(node.outputs))
    for result in outputs:
        used(result.value, "an output")
