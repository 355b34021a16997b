"""Computes a PyTorch program on arrays, in batches, in PyTorch's layout and dtypes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from msae_jax.errors import InputError
from msae_jax.interop.exported import Exported, batch_symbol
from msae_jax.interop.files.pt2 import read_pt2
from msae_jax.interop.files.pt2_values import Free, Meta, Ref
from msae_jax.interop.files.storages import DTYPES
from msae_jax.interop.pt2 import exported_in_training, fields
from msae_jax.interop.pt2 import notes as sentences
from msae_jax.system.compiling import jit_inference

BATCH_SIZE = 256
_NORMAL = ("randn", "randn_like", "normal_functional", "normal")


class Applied(NamedTuple):
    """The outputs `output_0`, `output_1`, ... and sentences on how they were computed."""

    outputs: dict[str, np.ndarray]
    notes: list[str]


def apply_pt2(
    path: str | Path,
    arrays: Sequence[np.ndarray],
    *,
    batch_size: int | None = None,
    seed: int | None = None,
    train: bool = False,
) -> Applied:
    """Computes the program of a `.pt2` file, in the dtypes that it has in PyTorch.

    Args:
      arrays: the inputs, in PyTorch's layout; their first axes are cut into batches together.
      batch_size: by default 256, or what the program fixes. A program that mixes the samples of a
        batch, or has an output that is not one a sample, is computed in one batch.
      seed: of what the program draws at random.
      train: whether a program that was exported for training is computed as such, in one batch.

    Raises:
      InputError: as `load_pt2` says, or the arrays do not fit the program.
    """
    with jax.enable_x64(True):  # dtypes are the program's own: float32 stays that
        made = fields(read_pt2(path), str(path))
        module = Exported(**made)
        variables = module.tensors.variables()
        inputs = _fitting(module, arrays)
        notes = [note for note in sentences(module) if not train and "training mode" in note]
        operators = {node.operator.split(".")[1] for node in module.computation.graph.nodes
                     if node.operator.startswith("aten.")}  # fmt: skip
        if seed is None and operators & {*_NORMAL}:
            notes.append("it draws from a normal distribution, taken at its mean; --seed draws")
        if train and not exported_in_training(module):
            raise InputError(f"{path} was exported for evaluation: there is nothing to train.")

        @jit_inference
        def run(key: jax.Array | None, *inputs: jax.Array) -> tuple[Any, ...]:
            return module.apply(variables, *inputs, key=key, train=train)

        key = None if seed is None else jax.random.key(seed)
        rows = _rows(module, inputs, batch_size, train)
        if rows < len(inputs[0]) and _mixes(run, key, inputs, rows):
            if _fixed(module) is not None:
                raise InputError(
                    f"{path} mixes the {rows} samples of a batch, which its export fixed: give it "
                    f"{rows} samples, or export it with a free batch size."
                )
            notes.append("it mixes the samples of a batch, and is computed in one")
            rows = len(inputs[0])
        outputs = _in_batches(run, key, inputs, rows)
    return Applied({f"output_{i}": y for i, y in outputs.items()}, notes)


def _fitting(module: Exported, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Returns arrays of the program's dtypes, checked to have its shapes."""
    graph, source = module.computation.graph, module.computation.source
    wanted = graph.user_inputs
    if len(arrays) != len(wanted):
        names = ", ".join(value.name for value in wanted)
        raise InputError(f"{source} takes {len(wanted)} inputs ({names}), got {len(arrays)}.")
    free: dict[Free, int] = {}
    fitted = []
    for value, array in zip(wanted, arrays, strict=True):
        if value.name not in graph.metas:
            raise InputError(f"{source}: the input {value.name} is a number, not an array.")
        meta = graph.metas[value.name]
        _check_shape(array, meta, value.name, source)
        for size, n in zip(meta.sizes, array.shape, strict=True):
            if isinstance(size, Free) and size.is_symbol and free.setdefault(size, n) != n:
                raise InputError(f"{source}: sizes that should be equal are {free[size]} and {n}.")
        fitted.append(_converted(array, meta, value.name, source))
    return fitted


def _check_shape(array: np.ndarray, meta: Meta, name: str, source: str) -> None:
    """Checks every size that is fixed, but that of the batch."""
    fits = array.ndim == len(meta.sizes) and all(
        axis == 0 or isinstance(size, Free) or size == n
        for axis, (size, n) in enumerate(zip(meta.sizes, array.shape, strict=True))
    )
    if not fits or not array.size:
        sizes = [f"any, as {size.hint}" if isinstance(size, Free) else size for size in meta.sizes]
        raise InputError(
            f"{source}: the input {name} has the shape {list(array.shape)}, expected "
            f"[{', '.join(map(str, sizes))}], in PyTorch's order: channels before height and width."
        )


def _converted(array: np.ndarray, meta: Meta, name: str, source: str) -> np.ndarray:
    """Returns an array in the program's dtype, if that is of its kind."""
    dtype = DTYPES[meta.dtype]
    kinds = {"b": 0, "u": 1, "i": 1, "f": 2, "V": 2, "c": 3}
    if kinds.get(array.dtype.kind) != kinds.get(dtype.kind):
        raise InputError(
            f"{source}: the input {name} is of {array.dtype}, expected {meta.dtype}. Convert it "
            "as the model's training did, e.g. (x / 255).astype('float32')."
        )
    return array.astype(dtype, copy=False)


def _fixed(module: Exported) -> int | None:
    """Returns the batch size that the program fixes, None where it is free."""
    sizes = module.computation.graph.metas[module.computation.graph.user_inputs[0].name].sizes
    return sizes[0] if sizes and isinstance(sizes[0], int) else None


def _rows(
    module: Exported, inputs: Sequence[np.ndarray], batch_size: int | None, train: bool
) -> int:
    """Returns how many samples are computed at once."""
    graph, source = module.computation.graph, module.computation.source
    count, fixed, symbol = len(inputs[0]) if inputs[0].ndim else 1, _fixed(module), None
    if batch_size is not None and batch_size < 1:
        raise InputError(f"--batch-size is a number from 1, got {batch_size}.")
    if fixed is None:
        symbol = batch_symbol(graph)
    firsts = [graph.metas[v.name].sizes[:1] for v in graph.user_inputs]
    metas = [
        graph.metas.get(result.value.name) if isinstance(result.value, Ref) else None
        for result in graph.outputs
        if result.kind == "user"
    ]
    wanted = (symbol if symbol is not None else fixed,)
    each = [meta is not None and meta.sizes[:1] == wanted for meta in metas]
    if symbol is None:
        if count == fixed or fixed is None:
            return count
        if train or not all(each) or any(first != wanted for first in firsts):
            raise InputError(
                f"{source} was exported with {fixed} samples, and not all that goes in and comes "
                f"out is one a sample: give {fixed} samples, got {count}. Or export it with a free "
                "batch size: torch.export.export(m, (x,), dynamic_shapes=({0: Dim.AUTO},))."
            )
        if batch_size not in (None, fixed):
            raise InputError(f"{source} was exported with {fixed} samples a batch.")
        return fixed
    if train or not all(each) or any(first != wanted for first in firsts):
        return count
    return min(count, batch_size or BATCH_SIZE)


def _mixes(run: Any, key: jax.Array | None, inputs: Sequence[np.ndarray], rows: int) -> bool:
    """Whether what comes of a sample hangs on the others of its batch, tried on the first batch."""
    kept = max(1, rows // 2)
    if rows == 1:
        return False
    first = [x[:rows] for x in inputs]
    other = [np.concatenate([x[:kept], x[-(rows - kept) :]]) for x in inputs]
    return any(
        y is not None and not np.allclose(y[:kept], z[:kept], rtol=1e-4, atol=1e-5, equal_nan=True)
        for y, z in zip(run(key, *first), run(key, *other), strict=True)
    )


def _in_batches(
    run: Any, key: jax.Array | None, inputs: Sequence[np.ndarray], rows: int
) -> dict[int, np.ndarray]:
    """Returns each output by its number; a last batch that is not full is filled up, and cut."""
    count = len(inputs[0]) if inputs[0].ndim else 1
    found: dict[int, list[np.ndarray]] = {}
    for number, start in enumerate(range(0, count, rows)):
        batch = [jnp.asarray(_filled(x[start : start + rows], rows)) for x in inputs]
        if rows >= count:
            batch = [jnp.asarray(x) for x in inputs]
        own = None if key is None else jax.random.fold_in(key, number)
        for i, y in enumerate(run(own, *batch)):
            if y is not None:
                array = np.asarray(y)
                kept = array if rows >= count else array[: count - start]
                found.setdefault(i, []).append(kept)
    joined = {i: np.concatenate(y) if len(y) > 1 else y[0] for i, y in found.items()}
    return {i: y.astype(np.float32) if y.dtype.kind == "V" else y for i, y in joined.items()}


def _filled(x: np.ndarray, rows: int) -> np.ndarray:
    return x if len(x) == rows else np.concatenate([x, np.repeat(x[-1:], rows - len(x), axis=0)])
