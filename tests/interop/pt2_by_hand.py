"""A small `.pt2`, written by hand: relu(x W^T + b) V^T + c, where V is W transposed in memory."""

from __future__ import annotations

import copy
import io
import json
import zipfile
from typing import Any

import numpy as np

Json = dict[str, Any]

WEIGHT = np.arange(12, dtype=np.float32).reshape(3, 4) / 10 - 0.5
BIAS = np.array([0.1, -0.2, 0.3], np.float32)
CONSTANT = np.array([1, 2, 3, 4], np.float32)


def meta(sizes: list, strides: list, offset: int = 0, dtype: int = 7) -> Json:
    return {
        "dtype": dtype,
        "sizes": [{"as_int": n} if isinstance(n, int) else n for n in sizes],
        "requires_grad": False,
        "device": {"type": "cpu", "index": None},
        "strides": [{"as_int": n} for n in strides],
        "storage_offset": {"as_int": offset},
        "layout": 7,
    }


def tensor(name: str) -> Json:
    return {"as_tensor": {"name": name}}


def node(operator: str, output: str, module: str = "", **arguments: Json) -> Json:
    stack = "L__self__,,mine.Net"
    if module:
        stack += f";L__self__{module},{module},torch.nn.modules.linear.Linear"
    return {
        "target": f"torch.ops.aten.{operator}",
        "inputs": [{"name": k, "arg": v, "kind": 1} for k, v in arguments.items()],
        "outputs": [tensor(output)],
        "metadata": {"nn_module_stack": stack, "stack_trace": "somewhere"},
        "is_hop_single_tensor_return": None,
        "name": output,
    }


def model() -> Json:
    free = {"as_expr": {"expr_str": "Symbol('s0', integer=True)", "hint": {"as_int": 2}}}
    inputs = ["p_down_weight", "p_down_bias", "p_up_weight", "c_shift", "x"]
    return {
        "graph_module": {
            "graph": {
                "inputs": [tensor(name) for name in inputs],
                "outputs": [tensor("add")],
                "nodes": [
                    node("linear.default", "linear", "down", input=tensor("x"),
                         weight=tensor("p_down_weight"), bias=tensor("p_down_bias")),
                    node("relu.default", "relu", self=tensor("linear")),
                    node("linear.default", "linear_1", "up", input=tensor("relu"),
                         weight=tensor("p_up_weight")),
                    node("add.Tensor", "add", self=tensor("linear_1"), other=tensor("c_shift")),
                ],
                "tensor_values": {
                    "p_down_weight": meta([3, 4], [4, 1]), "p_down_bias": meta([3], [1]),
                    "p_up_weight": meta([4, 3], [1, 4]), "c_shift": meta([4], [1]),
                    "x": meta([free, 4], [4, 1]), "linear": meta([free, 3], [3, 1]),
                    "relu": meta([free, 3], [3, 1]), "linear_1": meta([free, 4], [4, 1]),
                    "add": meta([free, 4], [4, 1]),
                },
                "sym_int_values": {}, "sym_bool_values": {}, "is_single_tensor_return": False,
                "custom_obj_values": {}, "sym_float_values": {},
            },
            "signature": {
                "input_specs": [
                    {"parameter": {"arg": {"name": "p_down_weight"},
                                   "parameter_name": "down.weight"}},
                    {"parameter": {"arg": {"name": "p_down_bias"}, "parameter_name": "down.bias"}},
                    {"parameter": {"arg": {"name": "p_up_weight"}, "parameter_name": "up.weight"}},
                    {"tensor_constant": {"arg": {"name": "c_shift"},
                                         "tensor_constant_name": "shift"}},
                    {"user_input": {"arg": tensor("x")}},
                ],
                "output_specs": [{"user_output": {"arg": tensor("add")}}],
            },
            "module_call_graph": [{"fqn": name} for name in ("", "down", "up")],
            "metadata": {}, "treespec_namedtuple_fields": {},
        },
        "opset_version": {"aten": 10}, "range_constraints": {},
        "schema_version": {"major": 8, "minor": 20}, "verifiers": ["ATEN"],
        "torch_version": "2.13.0", "guards_code": [],
    }  # fmt: skip


def payload(file: str, described: Json, param: bool = True) -> Json:
    described["requires_grad"] = param
    return {"path_name": file, "is_param": param, "use_pickle": False, "tensor_meta": described}


def weights() -> Json:
    """W and V are views of one file; the bias is one of a file whose first value is another's."""
    return {
        "config": {
            "down.weight": payload("weight_0", meta([3, 4], [4, 1])),
            "up.weight": payload("weight_0", meta([4, 3], [1, 4])),
            "down.bias": payload("weight_1", meta([3], [1], 1)),
        }
    }


def members() -> dict[str, bytes | Json]:
    """Returns the members of the file below its root; JSON may be changed before `written`."""
    return {
        "data/weights/weight_0": WEIGHT.tobytes(),
        "data/weights/weight_1": np.concatenate([[9], BIAS]).astype(np.float32).tobytes(),
        "data/weights/model_weights_config.json": weights(),
        "data/constants/tensor_0": CONSTANT.tobytes(),
        "data/constants/model_constants_config.json": {
            "config": {"shift": payload("tensor_0", meta([4], [1]), False)}
        },
        "models/model.json": model(),
        "data/sample_inputs/model.pt": b"a pickle that nobody reads",
        "archive_format": b"pt2",
        "archive_version": b"0",
        ".data/version": b"6\n",
        "byteorder": b"little",
        ".data/serialization_id": b"0",
    }


def written(parts: dict[str, bytes | Json], root: str = "model") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, part in parts.items():
            data = part if isinstance(part, bytes) else json.dumps(part).encode()
            archive.writestr(zipfile.ZipInfo(f"{root}/{name}"), data)
    return buffer.getvalue()


def changed(**paths: Any) -> bytes:
    """Returns the file with parts of the graph's JSON replaced, by paths such as `a__0__b`."""
    parts = copy.deepcopy(members())
    for path, value in paths.items():
        *parents, last = path.split("__")
        place: Any = parts["models/model.json"]
        for key in parents:
            place = place[int(key) if key.isdigit() else key]
        place[int(last) if last.isdigit() else last] = value
    return written(parts)
