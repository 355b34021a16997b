"""Opens PyTorch's exported programs, with the roles of their outputs and what is to be known."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax

from msae_jax.errors import InputError, unknown_name
from msae_jax.interop.exported import ROLES, Exported, Tensors, example_inputs
from msae_jax.interop.files.pt2 import Program, read_pt2
from msae_jax.interop.files.pt2_values import Free, Ref
from msae_jax.interop.graph.computation import Computation
from msae_jax.interop.graph.dtypes import named

_DROPOUT = ("dropout", "feature_dropout", "native_dropout")
_NORMS = ("batch_norm", "_native_batch_norm_legit_functional", "instance_norm")


class Opened(NamedTuple):
    """A program as a module, its variables, and what is worth knowing of it.

    Attributes:
      notes: sentences: what PyTorch would do otherwise than this module.
    """

    module: Exported
    variables: dict[str, Any]
    notes: tuple[str, ...]


def load_pt2(path: str | Path, roles: Mapping[str, int] | None = None) -> Opened:
    """Opens a `.pt2` file of `torch.export.save`; needs no PyTorch, and runs nothing of the file.

    Args:
      roles: which output is what: names in `ROLES`, and numbers from 0. By default those that are
        certain: of a program with one output that is shaped as its input, `recon`.

    Returns:
      The linen module, its variables with the file's dtypes, and notes.

    Raises:
      InputError: as `read_pt2` says; or, naming all of them, operators are not supported.
    """
    program = read_pt2(path)
    computation = Computation(program.graph, str(path))
    found = dict(roles) if roles is not None else _certain_roles(program)
    _check_roles(found, program, str(path))
    tensors = Tensors(program)
    module = Exported(computation, tensors, tuple(sorted(found.items())))
    _check_trace(module, tensors)
    return Opened(module, tensors.variables(), tuple(_notes(program)))


def _check_trace(module: Exported, tensors: Tensors) -> None:
    """Traces the program once, so that whatever it cannot do is refused before it is run.

    Raises:
      InputError: it asks for something that is not supported, or an output is not shaped as the
        file says.
    """
    graph = module.computation.graph
    if any(value.name not in graph.metas for value in graph.user_inputs):
        return  # a number among the inputs: known when it is given
    key = jax.eval_shape(lambda: jax.random.key(0))

    def run(values: dict[str, Any], key: jax.Array, *inputs: jax.Array) -> tuple[Any, ...]:
        return module.computation.run(values, inputs, key=key, train=True).outputs

    given = {
        k: jax.ShapeDtypeStruct(v.shape, named(None, v.dtype)) for k, v in tensors.initial.items()
    }
    given |= {
        k: jax.ShapeDtypeStruct(v.shape, named(None, v.dtype)) for k, v in tensors.constants.items()
    }
    found = jax.eval_shape(run, given, key, *example_inputs(module))
    results = [result.value for result in graph.outputs if result.kind == "user"]
    for number, (value, result) in enumerate(zip(found, results, strict=True)):
        if not isinstance(result, Ref) or result.name not in graph.metas:
            continue
        meta = graph.metas[result.name]
        sizes = [size.hint if isinstance(size, Free) else size for size in meta.sizes]
        same = len(sizes) == value.ndim and all(
            size in (None, n) for size, n in zip(sizes, value.shape, strict=True)
        )
        if not same or value.dtype != named(None, meta.dtype):
            raise InputError(
                f"{module.computation.source}: output {number} is computed as {value.dtype} "
                f"{list(value.shape)}, but the file has it as {meta.dtype} {sizes}."
            )


def _certain_roles(program: Program) -> dict[str, int]:
    """Returns the roles that leave no doubt."""
    graph = program.graph
    results = [result.value for result in graph.outputs if result.kind == "user"]
    metas = [graph.metas.get(v.name) if isinstance(v, Ref) else None for v in results]
    if len(graph.user_inputs) != 1 or len(results) != 1 or metas[0] is None:
        return {}
    return {"recon": 0} if metas[0] == graph.metas.get(graph.user_inputs[0].name) else {}


def _check_roles(roles: Mapping[str, int], program: Program, source: str) -> None:
    count = sum(result.kind == "user" for result in program.graph.outputs)
    for role, number in roles.items():
        if role not in ROLES:
            raise unknown_name("role of an output", role, ROLES)
        if not 0 <= number < count:
            raise InputError(
                f"{source} has the outputs 0 to {count - 1}; the role {role} is given to {number}."
            )
    if roles and not {"recon", "logits"} & set(roles):
        raise InputError(
            f"{source}: roles without a reconstruction: give recon or logits, too "
            f"(got {', '.join(roles)})."
        )


def exported_in_training(program: Program | Computation) -> bool:
    """Whether a program has flags of training that hold: it was exported in training mode."""
    return any(_flag(node.operator, node.arguments) for node in program.graph.nodes)


def _flag(operator: str, arguments: Mapping[str, Any]) -> bool | None:
    """Returns whether a node that has a flag of training is in training, None of other nodes."""
    name = operator.split(".")[1] if operator.startswith("aten.") else ""
    if name.rstrip("_") in _DROPOUT:
        return bool(arguments.get("train", True)) and bool(arguments.get("p"))
    if name in _NORMS and arguments.get("running_mean") is not None:
        return bool(arguments.get("training", arguments.get("use_input_stats")))
    if name == "_native_batch_norm_legit_no_training":
        return False
    if name in ("lstm", "gru", "rnn_tanh", "rnn_relu") and arguments.get("dropout"):
        return bool(arguments["train"])
    if name == "scaled_dot_product_attention" and arguments.get("dropout_p"):
        return True
    return None


def _notes(program: Program) -> list[str]:
    flags = [_flag(node.operator, node.arguments) for node in program.graph.nodes]
    notes = []
    if False in flags and True not in flags:
        notes.append(
            "exported for evaluation: training goes on with its batch norms fixed and without its "
            "dropout; to train as in PyTorch, export module.train()"
        )
    if True in flags:
        notes.append(
            "exported in training mode: evaluated here with its running statistics and without "
            "dropout, as module.eval() would be"
        )
    for name, other in program.shared.items():
        notes.append(f"{name} and {other} share memory in part, which training parts")
    return notes
