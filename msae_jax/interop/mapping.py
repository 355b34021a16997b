"""The strict walk between a PyTorch state dict and Flax variables: both ways, bit for bit.

A model's table (`msae_jax.models.layout`) and the shapes of its variables give one `Entry` an
array; everything else follows from the entries. Arrays are moved, never computed with, and keep
their dtypes, except that PyTorch's `num_batches_tracked` is int64 and Flax's `count` int32.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np

from msae_jax.errors import InputError
from msae_jax.models import init_variables
from msae_jax.models.layout import Layer, Layout

Variables = Mapping[str, Any]
Path = tuple[str, ...]

_PARTS = {
    "weight": ("params", "kernel"),
    "bias": ("params", "bias"),
}
_BATCH_NORM_PARTS = {
    "weight": ("params", "scale"),
    "bias": ("params", "bias"),
    "running_mean": ("batch_stats", "mean"),
    "running_var": ("batch_stats", "var"),
    "num_batches_tracked": ("batch_stats", "count"),
}
_LSTM_PARTS = {
    f"{torch}_l0{suffix}": ("params", f"{flax}{suffix}")
    for suffix in ("", "_reverse")
    for torch, flax in (
        ("weight_ih", "input_kernel"),
        ("weight_hh", "hidden_kernel"),
        ("bias_ih", "input_bias"),
        ("bias_hh", "hidden_bias"),
    )
}
_ATTENTION_PARTS = {
    "in_proj_weight": ("params", "in_kernel"),
    "in_proj_bias": ("params", "in_bias"),
    "out_proj.weight": ("params", "out_kernel"),
    "out_proj.bias": ("params", "out_bias"),
}
_PARTS_OF = {"batch_norm": _BATCH_NORM_PARTS, "lstm": _LSTM_PARTS, "attention": _ATTENTION_PARTS}
"""Of kinds of layers whose arrays are not `weight` and `bias` alone."""


class Entry(NamedTuple):
    """One array on both sides.

    Attributes:
      key: in the state dict. path: in the variables, the collection first.
      shape: in PyTorch. flax_shape: in Flax.
      split: `shape` with flattened grids taken apart. axes: the order that Flax has those axes in.
      dtype: of a Flax array that counts; None for one that keeps the dtype it has.
    """

    key: str
    path: Path
    shape: tuple[int, ...]
    flax_shape: tuple[int, ...]
    split: tuple[int, ...]
    axes: tuple[int, ...]
    dtype: np.dtype | None = None

    def to_flax(self, array: np.ndarray) -> np.ndarray:
        moved = array.reshape(self.split).transpose(self.axes).reshape(self.flax_shape)
        return np.array(moved, self.dtype, order="C")

    def to_torch(self, array: np.ndarray) -> np.ndarray:
        apart = array.reshape([self.split[axis] for axis in self.axes])
        moved = apart.transpose(np.argsort(self.axes)).reshape(self.shape)
        return np.array(moved, None if self.dtype is None else np.int64, order="C")

    def problem(self, array: np.ndarray, shape: tuple[int, ...]) -> str | None:
        """Returns what is wrong with an array that should have `shape` on its side, or None."""
        if array.shape != shape:
            return f"has shape {list(array.shape)}, expected {list(shape)}"
        counts = array.dtype.kind in "iu"
        if counts != (self.dtype is not None) or array.dtype.kind in "bcUSO":
            expected = "an integer" if self.dtype is not None else "a float"
            return f"is {array.dtype}, expected {expected}"
        if self.dtype is not None and not (array >= 0).all() & (array < 2**31).all():
            return f"is {array}, expected 0 to {2**31 - 1}"
        return None


def table(layout: Layout, model: nn.Module) -> list[Entry]:
    """Returns the entries of a model, in the order of PyTorch's state dict.

    Raises:
      InputError: the layout does not cover the model's variables one to one.
    """
    shape = model.sample_shape
    abstract = jax.eval_shape(lambda key: init_variables(model, key, shape), jax.random.key(0))
    shapes = {path: leaf.shape for path, leaf in leaves(abstract)}
    entries = [e for layer in layout.layers(model) for e in _entries(layer, shapes)]
    faults = {
        "its layout lists twice": [
            *_doubled(e.key for e in entries),
            *("/".join(path) for path in _doubled(e.path for e in entries)),
        ],
        "its layout lacks": ["/".join(path) for path in shapes.keys() - {e.path for e in entries}],
        "its layout names modules that it does not have": [
            layer.flax for layer in layout.layers(model) if not any(_entries(layer, shapes))
        ],
    }
    _raise(f"the layout does not fit {type(model).__name__}", faults)
    return entries


def leaves(tree: Variables) -> Iterator[tuple[Path, Any]]:
    """Yields the path and the value of each leaf of nested dicts."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        yield tuple(str(part.key) for part in path), leaf


def _entries(layer: Layer, shapes: Mapping[Path, tuple[int, ...]]) -> Iterator[Entry]:
    """Yields the entries of one layer, of the variables that its module has."""
    for name, (collection, leaf) in _PARTS_OF.get(layer.kind, _PARTS).items():
        path = (collection, *layer.flax.split("/"), leaf)
        if path not in shapes:
            continue
        flax_shape = shapes[path]
        counts = name == "num_batches_tracked"
        order = _axes(layer, len(flax_shape))
        shape = tuple(flax_shape[order.index(axis)] for axis in range(len(order)))
        split, groups = _take_apart(shape, _grids(layer, len(shape)))
        axes = tuple(part for axis in order for part in groups[axis])
        dtype = np.dtype(np.int32) if counts else None
        yield Entry(f"{layer.torch}.{name}", path, shape, flax_shape, split, axes, dtype)


def _axes(layer: Layer, ndim: int) -> tuple[int, ...]:
    """Returns PyTorch's axes in Flax's order: kernels are [*K, I, O], vectors the same."""
    if ndim < 2:
        return tuple(range(ndim))
    last = (0, 1) if layer.kind == "conv_transpose" else (1, 0)
    return (*range(2, ndim), *last)


def _grids(layer: Layer, ndim: int) -> dict[int, tuple[int, ...]]:
    """Returns the grids that axes of a linear layer's PyTorch array are the flattening of."""
    found = {0: layer.flatten_out, 1: layer.flatten_in if ndim == 2 else None}
    return {axis: grid for axis, grid in found.items() if grid is not None}


def _take_apart(
    shape: tuple[int, ...], grids: Mapping[int, tuple[int, ...]]
) -> tuple[tuple[int, ...], list[tuple[int, ...]]]:
    """Splits each axis that is a flattened grid into (C, *spatial).

    Returns:
      The shape so split and, for each axis of `shape`, its parts in Flax's order, (*spatial, C).
    """
    split: list[int] = []
    groups = []
    for axis, size in enumerate(shape):
        grid = grids.get(axis, (size,))
        start = len(split)
        split += [grid[-1], *grid[:-1]]
        groups.append((*range(start + 1, start + len(grid)), start))
    return tuple(split), groups


def to_variables(
    entries: list[Entry], tensors: Mapping[str, np.ndarray], source: str
) -> dict[str, Any]:
    """Returns the Flax variables of a state dict.

    PyTorch before 0.4.1 saved no `num_batches_tracked`: where it is missing it is 0, as there.

    Raises:
      InputError: naming every missing, unexpected, doubled and mis-shaped key of `source`.
    """
    arrays = {key: np.asarray(tensor) for key, tensor in tensors.items()}
    _raise(f"{source} does not fit", mismatches(entries, arrays))
    variables: dict[str, Any] = {}
    for entry in entries:
        node = variables
        for part in entry.path[:-1]:
            node = node.setdefault(part, {})
        array = arrays[entry.key] if entry.key in arrays else np.zeros(entry.shape, np.int64)
        node[entry.path[-1]] = entry.to_flax(array)
    return variables


def to_state_dict(entries: list[Entry], variables: Variables, source: str) -> dict[str, np.ndarray]:
    """Returns the PyTorch state dict, in its order, of Flax variables.

    Raises:
      InputError: naming every missing, unexpected and mis-shaped variable of `source`.
    """
    arrays = {path: np.asarray(leaf) for path, leaf in leaves(variables)}
    wanted = {entry.path: entry for entry in entries}
    found = {
        path: entry.problem(arrays[path], entry.flax_shape)
        for path, entry in wanted.items()
        if path in arrays
    }
    faults = {
        "missing": ["/".join(path) for path in wanted if path not in arrays],
        "unexpected": ["/".join(path) for path in arrays if path not in wanted],
        "wrong": [f"{'/'.join(path)} {problem}" for path, problem in found.items() if problem],
    }
    _raise(f"{source} does not fit", faults)
    return {entry.key: entry.to_torch(arrays[entry.path]) for entry in entries}


def mismatches(entries: list[Entry], arrays: Mapping[str, np.ndarray]) -> dict[str, list[str]]:
    """Returns what is wrong with a state dict, by kind; empty lists where nothing is.

    A count of batches may be missing (`to_variables`).
    """
    wanted = {entry.key: entry for entry in entries}
    extra = [key for key in arrays if key not in wanted]
    doubled = {key: _bare(key) for key in extra if _bare(key) in wanted and _bare(key) in arrays}
    problems = {
        key: entry.problem(arrays[key], entry.shape)
        for key, entry in wanted.items()
        if key in arrays
    }
    return {
        "missing": [k for k, entry in wanted.items() if k not in arrays and entry.dtype is None],
        "unexpected": [key for key in extra if key not in doubled],
        "doubled": [f"{bare} (also as {key})" for key, bare in doubled.items()],
        "wrong": [f"{key} {problem}" for key, problem in problems.items() if problem],
    }


def _bare(key: str) -> str:
    """Returns a key without the prefixes of PyTorch's wrappers."""
    for prefix in ("module.", "_orig_mod.", "model."):
        key = key.removeprefix(prefix)
    return key


def _doubled(names: Iterable[Any]) -> list[Any]:
    return [name for name, count in Counter(names).items() if count > 1]


def _raise(what: str, faults: Mapping[str, list[str]]) -> None:
    listed = [f"{kind}: {', '.join(names)}" for kind, names in faults.items() if names]
    if listed:
        raise InputError(f"{what}; {'; '.join(listed)}.")
