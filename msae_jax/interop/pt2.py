"""Opens PyTorch's exported programs, with the roles of their outputs and what is to be known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax

from msae_jax.errors import InputError, unknown_name
from msae_jax.interop.autoencoder import Autoencoder
from msae_jax.interop.exported import Exported, Tensors, example_inputs
from msae_jax.interop.files.pt2 import Program, read_pt2
from msae_jax.interop.files.pt2_values import Free, Node, Ref
from msae_jax.interop.graph.computation import Computation
from msae_jax.interop.graph.dtypes import named
from msae_jax.interop.roles import ROLES

_DROPOUT = (
    "dropout",
    "feature_dropout",
    "native_dropout",
    "alpha_dropout",
    "feature_alpha_dropout",
)
_NORMS = ("batch_norm", "_native_batch_norm_legit_functional", "instance_norm")
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")

MAX_COMPUTED = 64 << 30  # bytes of all values of one run at the batch size of the export


class Opened(NamedTuple):
    """A program as a module, its variables, and what is worth knowing of it.

    Attributes:
      notes: sentences: what PyTorch would do otherwise than this module.
    """

    module: Exported
    variables: dict[str, Any]
    notes: tuple[str, ...]


def load_pt2(path: str | Path, **roles: Any) -> Opened:
    """Opens a `.pt2` file of `torch.export.save`; needs no PyTorch, and runs nothing of the file.

    Args:
      roles: which value is what, an int or a str by its role's name; see `interop.roles`. By
        default those that are certain.

    Returns:
      The linen module, its variables with the file's dtypes, and notes. The module is an
      `Autoencoder` where the reconstruction is certain or named, else an `Exported`, which returns
      the program's outputs as a tuple.

    Raises:
      InputError: as `read_pt2` says; or, naming all of them, operators are not supported; or a
        role stands for nothing.
    """
    made = fields(read_pt2(path), str(path))
    for role in roles:
        if role not in ROLES:
            raise unknown_name("role of a value", role, ROLES)
    module: Exported = Exported(**made)
    if len(module.computation.graph.user_inputs) == 1:
        known: Any = Autoencoder(**made, **roles)
        if {"recon", "logits"} & set(known.values()):
            module = known
    return Opened(module, module.tensors.variables(), notes(module))


def fields(program: Program, source: str) -> dict[str, Any]:
    """Returns the fields of the `Exported` of a program, which was traced once.

    Raises:
      InputError: it asks for something that is not supported.
    """
    tensors = Tensors(program)
    computation = Computation(program.graph, source)
    training = None if program.training is None else Computation(program.training, source)
    _check_trace(computation, tensors, tensors.constants)
    if training is not None:
        _check_trace(training, tensors, tensors.training_constants)
    return {"computation": computation, "tensors": tensors, "training": training}


def _check_trace(computation: Computation, tensors: Tensors, constants: dict[str, Any]) -> None:
    """Traces the program once, so that whatever it cannot do is refused before it is run.

    Raises:
      InputError: it asks for something that is not supported, or an output is not shaped as the
        file says.
    """
    graph = computation.graph
    if any(value.name not in graph.metas for value in graph.user_inputs):
        return  # a number among the inputs: known when it is given
    key = jax.eval_shape(lambda: jax.random.key(0))
    total = 0

    def count(node: Node, value: Any) -> None:
        nonlocal total
        arrays = [part for part in jax.tree.leaves(value) if hasattr(part, "dtype")]
        total += sum(array.size * array.dtype.itemsize for array in arrays)
        if total > MAX_COMPUTED:
            raise InputError(
                f"{computation.source} computes values of more than {MAX_COMPUTED >> 30} GiB."
            )

    def run(values: dict[str, Any], key: jax.Array, *inputs: jax.Array) -> tuple[Any, ...]:
        return computation.run(values, inputs, key=key, train=True, watch=count).outputs

    given = {
        k: jax.ShapeDtypeStruct(v.shape, named(None, v.dtype)) for k, v in tensors.initial.items()
    }
    given |= {k: jax.ShapeDtypeStruct(v.shape, named(None, v.dtype)) for k, v in constants.items()}
    found = jax.eval_shape(run, given, key, *example_inputs(graph))
    results = [result.value for result in graph.outputs if result.kind == "user"]
    for number, (value, result) in enumerate(zip(found, results, strict=True)):
        if not isinstance(result, Ref) or result.name not in graph.metas:
            continue
        meta = graph.metas[result.name]
        wanted = [size.hint if isinstance(size, Free) else size for size in meta.sizes]
        same = len(wanted) == value.ndim and all(
            size in (None, n) for size, n in zip(wanted, value.shape, strict=True)
        )
        if not same or value.dtype != named(None, meta.dtype):
            raise InputError(
                f"{computation.source}: output {number} is computed as {value.dtype} "
                f"{list(value.shape)}, but the file has it as {meta.dtype} {wanted}."
            )


def exported_in_training(module: Exported) -> bool:
    """Whether a program has flags of training that hold: it was exported in training mode."""
    graph = module.graph_for(train=True).graph
    return any(_flag(node.operator, node.arguments) for node in graph.nodes)


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


def notes(module: Exported) -> tuple[str, ...]:
    """Returns sentences on what PyTorch would do otherwise than a program does here."""
    graph = module.computation.graph
    flags = [_flag(node.operator, node.arguments) for node in graph.nodes]
    found = []
    if False in flags and True not in flags and module.training is None:
        found.append(
            "exported for evaluation: training goes on with its batch norms fixed and without its "
            "dropout; to train as in PyTorch, export module.train()"
        )
    if True in flags:
        found.append(
            "exported in training mode: evaluated here with its running statistics and without "
            "dropout, as module.eval() would be"
        )
    changed = [
        result.target
        for result in graph.outputs
        if result.kind == "buffer" and result.target.rpartition(".")[2] not in _STATISTICS
    ]
    if changed and module.training is None:
        found.append(
            f"exported in training mode: it changes {_few(changed)}, also when it is "
            "evaluated, as module.eval() would not"
        )
    frozen = module.tensors.frozen
    if frozen:
        found.append(f"not trained, as requires_grad=False has it: {_few(frozen)}")
    for name, other in module.tensors.shared.items():
        found.append(f"{name} and {other} share memory in part, which training parts")
    return tuple(found)


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
