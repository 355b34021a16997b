"""Writes a PyTorch module, given as its author's code, as a `.pt2`. Needs the `torch` extra.

This is the one place where a user's Python is imported, and only because the user names it.
"""

from __future__ import annotations

import base64
import copy
import importlib
import importlib.util
import inspect
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from msae_jax.errors import InputError
from msae_jax.interop.autoencoder import Autoencoder
from msae_jax.interop.files.pt2 import TRAINING
from msae_jax.interop.files.tensor_files import read_tensors
from msae_jax.interop.pt2 import load_pt2
from msae_jax.interop.verification.programs import RECORDED
from msae_jax.system.files import replacing

SAMPLES = 3  # of the example: PyTorch takes a size of 0 or 1 for fixed
PARTS = ("encode", "decode")
_SEED = 0


class Written(NamedTuple):
    """The files that were written, and sentences on what is in them."""

    files: list[Path]
    notes: list[str]


def export_torch(
    target: str,
    out: str | Path,
    shapes: Sequence[Sequence[int]],
    *,
    weights: str | Path | None = None,
    key: str | None = None,
    arguments: Mapping[str, Any] | None = None,
    dtypes: Sequence[str] = (),
    overwrite: bool = False,
) -> Written:
    """Writes the module that `target` names, its graphs of evaluation and of training.

    Where the two are the same, it is written once. An autoencoder that cannot be cut at its latent,
    but has the methods `encode` and `decode`, gives two more files beside `out`.

    Args:
      target: `file.py:Class` or `package.module:Class`; also a function that returns a module, or a
        module.
      shapes: of one sample of each input, without the batch. dtypes: float32 where not given.
      weights: a file of weights (`read_tensors`), loaded strictly. arguments: of the class.
      key: which state dict of a file of several.

    Raises:
      InputError: PyTorch is not installed, the code cannot be imported or exported, or the weights
        do not fit.
    """
    if importlib.util.find_spec("torch") is None:
        raise InputError("export-torch needs PyTorch: pip install 'msae-jax[torch]'.")
    out = Path(out)
    if out.suffix != ".pt2":
        raise InputError(f"--out must end in .pt2, got {out}.")
    if out.exists() and not overwrite:
        raise InputError(f"{out} exists: choose another --out, or --overwrite to replace it.")
    apart = [out.with_name(f"{out.stem}-{name}.pt2") for name in PARTS]
    taken = [path for path in apart if path.exists()]
    if taken and not overwrite:
        raise InputError(f"{taken[0]} exists: choose another --out, or --overwrite to replace it.")
    module = _module(target, dict(arguments or {}))
    if weights is not None:
        _load(module, read_tensors(weights, key), str(weights))
    example = _example(shapes, dtypes)
    written = Written([], [])
    _write(module, example, out, overwrite, written, with_training=True)
    opened = load_pt2(out)
    written.notes.extend(opened.notes)
    if isinstance(opened.module, Autoencoder) and not opened.module.is_cut():
        _write_apart(module, example, out, overwrite, written)
    return written


def _module(target: str, arguments: dict[str, Any]) -> Any:
    """Returns the module that a name stands for; this runs the user's code."""
    import torch

    where, _, name = target.rpartition(":")
    if not where or not name:
        raise InputError(f"expected file.py:Class or package.module:Class, got {target!r}.")
    try:
        if where.endswith(".py"):
            spec = importlib.util.spec_from_file_location(Path(where).stem, where)
            assert spec is not None
            assert spec.loader is not None
            sys.path.insert(0, str(Path(where).resolve().parent))
            code = importlib.util.module_from_spec(spec)
            sys.modules.setdefault(spec.name, code)  # as pickles and dataclasses look it up
            spec.loader.exec_module(code)
        else:
            code = importlib.import_module(where)
        found = getattr(code, name)
        torch.manual_seed(_SEED)
        made = found if isinstance(found, torch.nn.Module) else found(**arguments)
    except (Exception, SystemExit) as error:  # the user's code can raise anything, and end
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise InputError(f"{target} cannot be made: {reason}.") from error
    if not isinstance(made, torch.nn.Module):
        raise InputError(f"{target} is of type {type(made).__name__}, expected a torch.nn.Module.")
    return made


def _load(module: Any, tensors: Mapping[str, np.ndarray], source: str) -> None:
    import torch

    held = module.state_dict()
    faults = [f"{name} is missing" for name in held if name not in tensors]
    faults += [f"{name} is unexpected" for name in tensors if name not in held]
    faults += [
        f"{name} is {list(tensors[name].shape)}, expected {list(tensor.shape)}"
        for name, tensor in held.items()
        if name in tensors and tuple(tensors[name].shape) != tuple(tensor.shape)
    ]
    if faults:
        shown = "; ".join(faults[:8]) + (f"; {len(faults) - 8} more" if len(faults) > 8 else "")
        raise InputError(f"{source} does not fit the module: {shown}.")
    arrays = {name: torch.from_numpy(np.array(tensors[name])) for name in held}
    module.load_state_dict(arrays, strict=True)


def _example(shapes: Sequence[Sequence[int]], dtypes: Sequence[str]) -> tuple[Any, ...]:
    """Returns a batch of each input: uniform noise, or whole numbers 0 and 1."""
    import torch

    if not shapes:
        raise InputError("--input-shape is needed: the shape of one sample, such as 1,28,28.")
    if len(dtypes) > len(shapes):
        raise InputError(f"{len(dtypes)} --input-dtype for {len(shapes)} --input-shape.")
    generator = torch.Generator().manual_seed(_SEED)
    found = []
    for number, shape in enumerate(shapes):
        name = dtypes[number] if number < len(dtypes) else "float32"
        dtype = getattr(torch, name, None)
        if (
            not isinstance(dtype, torch.dtype)
            or dtype.is_complex
            or name in ("float16", "half", "bfloat16")
        ):
            raise InputError(f"--input-dtype {name!r}: expected float32, float64 or integers.")
        size = (SAMPLES, *shape)
        if dtype.is_floating_point:
            found.append(torch.rand(size, generator=generator, dtype=dtype))
        else:
            found.append(torch.randint(0, 2, size, generator=generator).to(dtype))
    return tuple(found)


def _exported(module: Any, example: tuple[Any, ...], what: str) -> Any:
    import torch

    names = inspect.signature(module.forward).parameters
    free = {0: torch.export.Dim.AUTO}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.export(
                module, example, dynamic_shapes=tuple(free for _ in example)
            )
            return program.run_decompositions({})
    except (Exception, SystemExit) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:400]
        raise InputError(
            f"PyTorch cannot export {what} ({', '.join(names)}): {reason}. Branches on values, "
            ".item() and packed sequences do not export."
        ) from error


def _write(
    module: Any,
    example: tuple[Any, ...],
    out: Path,
    overwrite: bool,
    written: Written,
    *,
    with_training: bool,
) -> None:
    from torch.export.pt2_archive._package import package_pt2

    evaluation = _exported(module.eval(), example, "the module in evaluation mode")
    programs = {"model": evaluation}
    graphs = "evaluation, which is that of training, too"
    if with_training:
        try:
            training = _exported(module.train(), example, "the module in training mode")
            if _text(training) != _text(evaluation):
                programs[TRAINING] = training
                graphs = "evaluation and training"
        except InputError as error:
            written.notes.append(f"without the graph of training: {error}")
            graphs = "evaluation alone"
        module.eval()
    recorded = _recorded(evaluation, example)
    extra = {} if recorded is None else {RECORDED: recorded}
    with replacing(out, overwrite) as temporary, temporary.open("w+b") as stream:
        # to a path PyTorch would write the temporary file's name, and so this machine's, into it
        package_pt2(stream, exported_programs=programs, extra_files=extra)
    written.files.append(out)
    if with_training:
        written.notes.append(f"{out} has the graph of {graphs}")
    sizes = [spec.arg.name for spec in evaluation.graph_signature.input_specs
             if spec.kind.name == "USER_INPUT"]  # fmt: skip
    for node in evaluation.graph.nodes:
        if node.name in sizes and isinstance(node.meta["val"].shape[0], int):
            written.notes.append(
                f"the module fixes {node.meta['val'].shape[0]} as the batch size of {node.name}"
            )


def _text(program: Any) -> str:
    """Returns the nodes of a program as text, by which two graphs are compared."""
    nodes = [f"{n.op} {n.target} {n.args} {dict(n.kwargs)}" for n in program.graph.nodes]
    return "\n".join([*nodes, *(f"{k} {v!r}" for k, v in program.constants.items())])


def _recorded(program: Any, example: tuple[Any, ...]) -> str | None:
    """Returns inputs and what PyTorch makes of them, normal draws at their means.

    They are safetensors, in base64: PyTorch takes text alone. None of a program that draws from
    anything else, which has no mean to be compared with.
    """
    import torch
    from safetensors.numpy import save

    normal = [torch.ops.aten.randn.default, torch.ops.aten.randn_like.default]
    tags = [node for node in program.graph.nodes if node.op == "call_function"
            and torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())]  # fmt: skip
    if any(node.target not in normal for node in tags):
        return None

    class AtMeans(torch.fx.Interpreter):
        def run_node(self, n: Any) -> Any:
            value = super().run_node(n)
            return torch.zeros_like(value) if n.target in normal else value

    given = iter(example)
    held = dict(program.state_dict) | dict(program.constants)
    specs = program.graph_signature.input_specs
    args = [next(given) if spec.target is None else held[spec.target] for spec in specs]
    with torch.no_grad():
        found = AtMeans(program.graph_module).run(*args)
    outputs = zip(found, program.graph_signature.output_specs, strict=True)
    user = [value for value, spec in outputs if spec.kind.name == "USER_OUTPUT"]
    arrays = {f"input_{i}": x.numpy() for i, x in enumerate(example)}
    arrays |= {f"output_{i}": y.numpy() for i, y in enumerate(user) if isinstance(y, torch.Tensor)}
    data = save({name: np.array(array, order="C") for name, array in arrays.items()})
    return base64.b64encode(data).decode()


def _write_apart(
    module: Any, example: tuple[Any, ...], out: Path, overwrite: bool, written: Written
) -> None:
    """Writes a module's `encode` and `decode` as programs of their own, where it has them."""
    import torch

    if not all(callable(getattr(module, name, None)) for name in PARTS):
        written.notes.append("it cannot be cut at a latent, and has no encode and decode")
        return
    inputs: tuple[Any, ...] = example
    for name in PARTS:
        path = out.with_name(f"{out.stem}-{name}.pt2")
        part = copy.copy(module)
        object.__setattr__(part, "forward", getattr(module, name))
        _write(part, inputs, path, overwrite, written, with_training=False)
        with torch.no_grad():
            made = getattr(module.eval(), name)(*inputs)
        inputs = made if isinstance(made, tuple) else (made,)
        needed = len(inspect.signature(module.decode).parameters)
        inputs = inputs[:needed]
    written.notes.append("it cannot be cut at a latent: encode and decode are programs beside it")
