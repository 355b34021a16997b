"""Initial weights as PyTorch draws them, by the classes of the modules that a program names.

Sources: `reset_parameters` of the modules in torch.nn of PyTorch 2.13.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from msae_jax.errors import InputError
from msae_jax.interop.exported import Tensors, nested
from msae_jax.interop.graph.computation import Computation
from msae_jax.interop.roles import refs

Arrays = Mapping[str, np.ndarray]
Draw = Callable[[jax.Array, str, Arrays], jax.Array]


def variables(
    computations: Sequence[Computation], tensors: Tensors, key: jax.Array
) -> dict[str, Any]:
    """Returns the variables of a program, in one mode or two, drawn anew.

    Buffers are those of the file, but a normalisation's statistics, which begin at 0 and 1; so are
    parameters that nothing is computed from.

    Raises:
      InputError: naming every parameter whose module's class does not tell how it is drawn.
    """
    nodes = [node for each in computations for node in each.graph.nodes]
    classes = {node.module: node.module_class.split(".") for node in nodes}
    used = {name for each in computations for name in _used(each)}
    draws = {name: _draw(name, classes) if name in used else _kept for name in tensors.parameters}
    unknown = [name for name, draw in draws.items() if draw is None]
    if unknown:
        raise InputError(
            f"{computations[0].source} does not tell how PyTorch draws {', '.join(unknown)}: train "
            "from the file's weights (--set begin=file)."
        )
    params = {}
    for number, (name, draw) in enumerate(draws.items()):
        assert draw is not None
        module, _, leaf = name.rpartition(".")
        siblings = {
            other.removeprefix(f"{module}."): array
            for other, array in tensors.initial.items()
            if other.startswith(f"{module}.")
        }
        values = draw(jax.random.fold_in(key, number), leaf, siblings)
        params[name] = values.astype(jax.dtypes.canonicalize_dtype(tensors.dtypes[name]))
    buffers = {name: _buffer(name, tensors.initial[name]) for name in tensors.buffers}
    found = {"params": nested(params)}
    return found | ({"batch_stats": nested(buffers)} if buffers else {})


def _used(computation: Computation) -> set[str]:
    """Returns the parameters that any node or output of a graph reads."""
    graph = computation.graph
    values = [value for node in graph.nodes for value in node.arguments.values()]
    values += [result.value for result in graph.outputs]
    read = {name for value in values for name in refs(value)}
    return {value.target for value in graph.inputs if value.name in read}


def _kept(key: jax.Array, leaf: str, arrays: Arrays) -> jax.Array:
    return jnp.asarray(arrays[leaf])


def _buffer(name: str, array: np.ndarray) -> np.ndarray:
    leaf = name.rpartition(".")[2]
    if leaf in ("running_mean", "num_batches_tracked"):
        return np.zeros_like(array)
    return np.ones_like(array) if leaf == "running_var" else array


def _draw(name: str, classes: Mapping[str, list[str]]) -> Draw | None:
    """Returns how a parameter is drawn: its module's class tells, or that of the one around it."""
    path = name.rpartition(".")[0]
    if path in classes:
        return _DRAWS.get(classes[path][-1]) if classes[path][:2] == ["torch", "nn"] else None
    outer, _, last = path.rpartition(".")
    around = classes.get(outer, [""])
    # attention reads the weights of its output layer itself
    inside = around[-1] == "MultiheadAttention" and around[:2] == ["torch", "nn"]
    return _attention_out if inside and last == "out_proj" else None


def _uniform(key: jax.Array, shape: tuple[int, ...], bound: float) -> jax.Array:
    return jax.random.uniform(key, shape, jnp.float32, -bound, bound)


def _by_fan_in(key: jax.Array, leaf: str, arrays: Arrays) -> jax.Array:
    """Returns U(+-1 / sqrt(fan_in)), as `kaiming_uniform_` with a = sqrt(5) is.

    PyTorch counts as inputs what lies on axis 1, of transposed convolutions, too.
    """
    weight = arrays["weight"].shape
    fan_in = weight[1] * math.prod(weight[2:])
    return _uniform(key, arrays[leaf].shape, 1 / math.sqrt(fan_in) if fan_in else 0.0)


def _norm(key: jax.Array, leaf: str, arrays: Arrays) -> jax.Array:
    return jnp.full(arrays[leaf].shape, 1.0 if leaf == "weight" else 0.0)


def _embedding(key: jax.Array, leaf: str, arrays: Arrays) -> jax.Array:
    return jax.random.normal(key, arrays[leaf].shape)


def _recurrent(key: jax.Array, leaf: str, arrays: Arrays) -> jax.Array:
    hidden = arrays["weight_hh_l0"].shape[1]
    if "weight_hr_l0" in arrays:  # projected: the state is narrower than the hidden size
        hidden = arrays["weight_hr_l0"].shape[1]
    return _uniform(key, arrays[leaf].shape, 1 / math.sqrt(hidden))


def _attention(key: jax.Array, leaf: str, arrays: Arrays) -> jax.Array:
    if leaf.endswith("bias"):
        return jnp.zeros(arrays[leaf].shape)
    if leaf in ("bias_k", "bias_v"):  # Xavier's normal distribution of [1, 1, E]
        return jax.random.normal(key, arrays[leaf].shape) / math.sqrt(arrays[leaf].shape[-1])
    fan_out, fan_in = arrays[leaf].shape
    return _uniform(key, arrays[leaf].shape, math.sqrt(6 / (fan_in + fan_out)))


def _attention_out(key: jax.Array, leaf: str, arrays: Arrays) -> jax.Array:
    if leaf == "bias":
        return jnp.zeros(arrays[leaf].shape)
    return _by_fan_in(key, leaf, arrays)


def _prelu(key: jax.Array, leaf: str, arrays: Arrays) -> jax.Array:
    return jnp.full(arrays[leaf].shape, 0.25)


_DRAWS: dict[str, Draw] = {
    **dict.fromkeys(("Linear", "Conv1d", "Conv2d", "Conv3d"), _by_fan_in),
    **dict.fromkeys(("ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"), _by_fan_in),
    **dict.fromkeys(("BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "LayerNorm"), _norm),
    **dict.fromkeys(("GroupNorm", "RMSNorm", "InstanceNorm1d", "InstanceNorm2d"), _norm),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), _recurrent),
    "Embedding": _embedding,
    "MultiheadAttention": _attention,
    "PReLU": _prelu,
}
