"""Every operator that a graph may have, by PyTorch's name, and what each takes.

An operator is a pure function whose parameters have PyTorch's names and defaults. One that has a
parameter `context` is told of the run. What is said of every tensor, how and where it is kept, has
no bearing on values and is checked here (`is_neutral`).
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from msae_jax.interop.files.pt2_values import Node, Setting, Unreadable
from msae_jax.interop.graph import (
    activations,
    attention,
    convolutions,
    creation,
    elementwise,
    linear,
    losses,
    matrices,
    norms,
    picking,
    pools,
    recurrent,
    reductions,
    resizing,
    shapes,
    symbols,
    warping,
)

OPERATORS: dict[str, Callable[..., Any]] = {
    **elementwise.TABLE,
    **activations.TABLE,
    **losses.TABLE,
    **linear.TABLE,
    **matrices.TABLE,
    **convolutions.TABLE,
    **norms.TABLE,
    **shapes.TABLE,
    **picking.TABLE,
    **pools.TABLE,
    **resizing.TABLE,
    **warping.TABLE,
    **reductions.TABLE,
    **creation.TABLE,
    **recurrent.TABLE,
    **attention.TABLE,
    **symbols.TABLE,
}

_VIEWS = """
    view.default reshape.default _unsafe_view.default flatten.using_ints unflatten.int
    transpose.int swapaxes.default t.default numpy_T.default mT.default adjoint.default
    permute.default movedim.int movedim.intlist unsqueeze.default squeeze.default squeeze.dim
    squeeze.dims expand.default expand_as.default view_as.default reshape_as.default
    broadcast_to.default broadcast_tensors.default split.Tensor split_with_sizes.default
    split.sizes chunk.default unbind.int select.int slice.Tensor narrow.default
    diagonal.default unfold.default contiguous.default alias.default detach.default to.dtype
    to.dtype_layout to.device to.other tensor_split.sections tensor_split.indices
    swapdims.default ravel.default lift_fresh.default
"""
VIEWS = frozenset(f"aten.{name}" for name in _VIEWS.split())
"""Operators whose result may be the memory of their first argument, seen in another way."""

CHANGES = dict.fromkeys(
    ("aten.batch_norm.default", "aten.instance_norm.default"), ("running_mean", "running_var")
)
"""The arguments that operators change in place without saying so by their names."""

_IN_PLACE = {
    "aten.zero_.default": "aten.zeros_like.default",
    "aten.normal_.default": "aten.normal_functional.default",
}
_NEUTRAL = ("device", "pin_memory", "layout", "memory_format", "non_blocking", "generator")


def is_neutral(name: str, value: Any) -> bool:
    """Whether an argument says how tensors are kept, in the one way that is supported."""
    if name == "layout":
        return value in (None, Setting("layout", "strided"))
    return name in _NEUTRAL and (name != "generator" or value is None)


def find(operator: str) -> tuple[Callable[..., Any] | None, bool]:
    """Returns the function of an operator, None where there is none, and whether it is in place."""
    if operator in OPERATORS:
        return OPERATORS[operator], False
    namespace, _, rest = operator.partition(".")
    name, _, overload = rest.partition(".")
    if operator in _IN_PLACE:
        return OPERATORS[_IN_PLACE[operator]], True
    if namespace == "aten" and name.endswith("_") and not name.endswith("__"):
        return OPERATORS.get(f"aten.{name[:-1]}.{overload}"), True
    return None, False


@functools.cache
def parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(function).parameters


def problem(node: Node) -> str | None:
    """Returns why a node cannot be computed, None where it can."""
    function, _ = find(node.operator)
    if function is None:
        return ""
    known = parameters(function)
    for name, value in node.arguments.items():
        parts = value if isinstance(value, tuple) else (value,)
        if any(isinstance(part, Unreadable) for part in parts):
            return f"with an argument {name} of an unknown kind"
        if name == "context" or (name not in known and not is_neutral(name, value)):
            return f"with an argument {name}"
    for name, parameter in known.items():
        if (
            name != "context"
            and parameter.default is inspect.Parameter.empty
            and name not in node.arguments
        ):
            return f"without an argument {name}"
    return None
