"""A JAX function as a graph of ONNX operators.

The function is traced to a jaxpr. Each primitive becomes the operators that one table gives for it;
what does not hang on the input is computed, calls are written out, and so are loops of a known
length. Nothing is written where something has no translation: all of it is named in one error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.extend import core

from msae_jax.errors import InputError
from msae_jax.export import elementwise, products, shapes
from msae_jax.export.builder import (
    Builder,
    Graph,
    Node,
    Tensor,
    Unsupported,
    Value,
    constant,
    is_static,
)

LONGEST = 512  # steps of a loop that is written out

__all__ = ["Graph", "Node", "Value", "trace"]

_RULES = {**elementwise.RULES, **shapes.RULES, **products.RULES}
_CALLED = ("jaxpr", "call_jaxpr", "fun_jaxpr")  # the parameter that holds what is called
_CALLS = (
    "checkpoint",
    "closed_call",
    "core_call",
    "custom_jvp_call",
    "custom_vjp_call",
    "custom_vjp_call_jaxpr",
    "jit",
    "pjit",
    "remat",
    "remat2",
)


def trace(
    function: Callable[..., Any],
    inputs: Sequence[jax.ShapeDtypeStruct],
    *,
    batch: int | None = None,
) -> Graph:
    """Returns the graph of a function of arrays whose first axis is the batch.

    Args:
      function: of so many arrays; it returns one array, or several.
      inputs: shapes and dtypes; whatever the first size is, the batch size takes its place.
      batch: the batch size, if it is to be fixed; then the graph computes no shapes.

    Raises:
      InputError: naming every primitive that has no translation, or saying why the function cannot
        be traced with a free batch size.
    """
    size = jax.export.symbolic_shape("b")[0] if batch is None else batch
    given = [jax.ShapeDtypeStruct((size, *x.shape[1:]), x.dtype) for x in inputs]
    try:
        closed = jax.make_jaxpr(function)(*given)
    except InputError:
        raise
    except Exception as error:
        if batch is not None:
            raise
        raise InputError(
            f"this model cannot be traced with a free batch size: {type(error).__name__}: {error}"
        ) from error
    names = ["input"] if len(given) == 1 else [f"input_{i}" for i in range(len(given))]
    g = Builder(size, names[0])
    tensors = [
        Tensor(name, np.dtype(x.dtype), x.shape, x.shape)
        for name, x in zip(names, given, strict=True)
    ]
    found = _walk(g, closed.jaxpr, closed.consts, tensors)
    if g.missing:
        listed = ", ".join(f"{name}{case}" for name, case in g.missing.items())
        raise InputError(f"these primitives of JAX have no translation to ONNX here: {listed}.")
    return _finished(g, names, tensors, [g.full(tensor) for tensor in found if tensor is not None])


def _finished(g: Builder, names: list[str], tensors: list[Tensor], outputs: list[Tensor]) -> Graph:
    """Returns the graph of what the outputs hang on."""
    made = ["output"] if len(outputs) == 1 else [f"output_{i}" for i in range(len(outputs))]
    for name, tensor in zip(made, outputs, strict=True):
        g.nodes.append(Node("Identity", (g.named(tensor),), (name,), {}))
    needed, nodes = set(made), []
    for node in reversed(g.nodes):
        if needed & set(node.outputs):
            nodes.append(node)
            needed |= set(node.inputs)
    return Graph(
        tuple(reversed(nodes)),
        {name: array for name, array in g.constants.items() if name in needed},
        tuple(_value(name, tensor) for name, tensor in zip(names, tensors, strict=True)),
        tuple(_value(name, tensor) for name, tensor in zip(made, outputs, strict=True)),
    )


def _value(name: str, tensor: Tensor) -> Value:
    sizes = tuple(n if isinstance(n, int) else None for n in tensor.shape)
    return Value(name, tensor.dtype, sizes)


def _walk(
    g: Builder,
    jaxpr: Any,
    consts: Sequence[Any],
    inputs: Sequence[Tensor],
    wanted: Sequence[bool] | None = None,
) -> list[Tensor | None]:
    """Translates the equations that the outputs hang on; None stands for what is not wanted."""
    known: dict[Any, Tensor] = dict(zip(jaxpr.constvars, map(constant, consts), strict=True))
    known |= dict(zip(jaxpr.invars, inputs, strict=True))

    def read(atom: Any) -> Tensor:
        if isinstance(atom, core.Literal):
            return constant(np.asarray(atom.val, atom.aval.dtype))  # type: ignore[attr-defined]
        return known[atom]

    flags = [True] * len(jaxpr.outvars) if wanted is None else wanted
    live = {v for v, flag in zip(jaxpr.outvars, flags, strict=True) if flag and _is_variable(v)}
    equations = []
    for equation in reversed(jaxpr.eqns):
        if any(v in live for v in equation.outvars):
            equations.append((equation, [v in live for v in equation.outvars]))
            live |= {v for v in equation.invars if _is_variable(v)}
    for equation, flags_ in reversed(equations):
        results = _translated(g, equation, [read(v) for v in equation.invars], flags_)
        known |= {
            v: tensor
            for v, tensor in zip(equation.outvars, results, strict=True)
            if tensor is not None
        }
    return [read(v) if flag else None for v, flag in zip(jaxpr.outvars, flags, strict=True)]


def _is_variable(atom: Any) -> bool:
    return not isinstance(atom, core.Literal)


def _translated(
    g: Builder, equation: Any, inputs: list[Tensor], wanted: list[bool]
) -> list[Tensor | None]:
    """Returns the outputs of one equation."""
    name, params = equation.primitive.name, equation.params
    outs = [v.aval for v in equation.outvars]
    try:
        if name in _CALLS:
            called = next(params[key] for key in _CALLED if key in params)
            closed = called if hasattr(called, "jaxpr") else None
            inner, consts = (closed.jaxpr, closed.consts) if closed else (called, ())
            return _walk(g, inner, consts, inputs, wanted)
        if name == "platform_index":  # what is not for one platform alone
            return [constant(np.int32(params["platforms"].index(None)))]
        if name == "cond":
            return _branch(g, params, inputs, wanted)
        if name == "scan":
            return _scan(g, params, inputs)
        if name == "optimization_barrier":
            return list(inputs)
        folded = _folded(equation, inputs, outs)
        if folded is not None:
            return list(folded)
        if name == "split":
            return list(shapes.split(g, inputs[0], params))
        if name not in _RULES:
            raise Unsupported("")
        return [_RULES[name](g, inputs, outs[0], params)]
    except Unsupported as error:
        case = f" ({error})" if str(error) else ""
        g.missing.setdefault(name, case)
        return [Tensor(g.name(), np.dtype(out.dtype), out.shape, out.shape) for out in outs]


def _folded(equation: Any, inputs: list[Tensor], outs: list[Any]) -> list[Tensor] | None:
    """Returns what an equation makes of constants, None where not all are."""
    name = equation.primitive.name
    arrays = [tensor.array for tensor in inputs if tensor.array is not None]
    if name == "broadcast_in_dim" or len(arrays) < len(inputs):
        return None  # the first is a view: it is not to become an array
    sizes: tuple[int, ...] | None = None
    if name in elementwise.RULES and inputs:
        arrays = list(np.broadcast_arrays(*arrays))
        if arrays[0].ndim == len(outs[0].shape):
            sizes = arrays[0].shape
    elif is_static([n for x in (*inputs, *outs) for n in x.shape]):
        arrays = [np.broadcast_to(a, x.shape) for a, x in zip(arrays, inputs, strict=True)]
    else:
        return None
    results = equation.primitive.bind(*map(jax.numpy.asarray, arrays), **equation.params)
    if not equation.primitive.multiple_results:
        results = [results]
    made = [np.asarray(result) for result in results]
    if sizes is None:
        return [constant(array) for array in made]
    return [Tensor(made[0], made[0].dtype, sizes, outs[0].shape)]


def _branch(
    g: Builder, params: dict[str, Any], inputs: list[Tensor], wanted: list[bool]
) -> list[Tensor | None]:
    index, *operands = inputs
    if index.array is None:
        raise Unsupported("on a value that hangs on the input")
    last = len(params["branches"]) - 1
    closed = params["branches"][min(max(int(index.array), 0), last)]
    return _walk(g, closed.jaxpr, closed.consts, operands, wanted)


def _scan(g: Builder, params: dict[str, Any], inputs: list[Tensor]) -> list[Tensor | None]:
    """Writes a loop out: carries become inputs of the next step, and outputs are stacked."""
    length, n_consts, n_carry = (params[key] for key in ("length", "num_consts", "num_carry"))
    if not isinstance(length, int) or length > LONGEST:
        raise Unsupported(f"of {length} steps; {LONGEST} are the most")
    closed = params["jaxpr"]
    consts, carry = inputs[:n_consts], inputs[n_consts : n_consts + n_carry]
    series = [g.full(x) for x in inputs[n_consts + n_carry :]]
    steps: list[Any] = [None] * length
    for i in reversed(range(length)) if params["reverse"] else range(length):
        now = [_entry(g, x, i) for x in series]
        results = _walk(g, closed.jaxpr, closed.consts, [*consts, *carry, *now])
        carry, steps[i] = [x for x in results[:n_carry] if x is not None], results[n_carry:]
    return [*carry, *(_stacked(g, column) for column in zip(*steps, strict=True))]


def _entry(g: Builder, x: Tensor, i: int) -> Tensor:
    """Returns entry i along the first axis."""
    if x.array is not None:
        return constant(x.array[i])
    return g.node("Gather", [x, g.ints(i)], x.shape[1:], x.dtype, axis=0)


def _stacked(g: Builder, parts: Sequence[Tensor]) -> Tensor:
    """Returns equal parts along a new first axis."""
    if all(part.array is not None and is_static(part.shape) for part in parts):
        return constant(np.stack([np.broadcast_to(p.array, p.shape) for p in parts]))  # type: ignore[arg-type]
    first = g.ints([0])
    apart = [
        g.node("Unsqueeze", [g.full(part), first], (1, *part.shape), part.dtype) for part in parts
    ]
    return g.node("Concat", apart, (len(parts), *parts[0].shape), parts[0].dtype, axis=0)
