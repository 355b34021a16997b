"""The weights and constants of a `.pt2` file: views of files of raw bytes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from msae_jax.errors import InputError
from msae_jax.interop.files.pt2_graph import parse_meta
from msae_jax.interop.files.pt2_values import Graph
from msae_jax.interop.files.pt2_zip import ANEW, Members
from msae_jax.interop.files.storages import DTYPES


@dataclass(frozen=True)
class View:
    """A tensor as a view of a file; offset and strides are in elements."""

    file: str
    dtype: np.dtype
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def read_views(members: Members, name: str) -> dict[str, View]:
    """Returns the views that a configuration of weights or constants describes, by dotted name."""
    folder = name.rpartition("/")[0]
    views = {}
    for key, raw in members.json(name)["config"].items():
        if raw["use_pickle"] or raw["tensor_meta"] is None:
            raise InputError(
                f"keeps {key[:80]!a} as a pickle, which can carry code: it is a tensor of a class "
                f"of its own, or no tensor. Please replace it by a plain one. {ANEW}"
            )
        meta, described = raw["tensor_meta"], parse_meta(raw["tensor_meta"])
        strides = tuple(part["as_int"] for part in meta["strides"])
        offset = meta["storage_offset"]["as_int"]
        shape = tuple(n for n in described.sizes if isinstance(n, int))
        if len(shape) != len(described.sizes) or len(strides) != len(shape):
            raise ValueError(f"sizes and strides of {key[:80]!a} do not match")
        if not all(type(n) is int and 0 <= n < 2**62 for n in (offset, *shape, *strides)):
            raise ValueError(f"{key[:80]!a} has sizes that are negative, huge or no numbers")
        file = f"{folder}/{raw['path_name']}"
        views[key] = View(file, DTYPES[described.dtype], offset, shape, strides)
    return views


def frozen_names(members: Members, name: str) -> frozenset[str]:
    """Returns the names of the parameters that PyTorch does not train: `requires_grad` is False."""
    return frozenset(
        key
        for key, raw in members.json(name)["config"].items()
        if raw["is_param"] is True and raw["tensor_meta"]["requires_grad"] is False
    )


def read_arrays(members: Members, views: Mapping[str, View]) -> dict[str, np.ndarray]:
    """Reads each file once; every array is C-contiguous and owns its memory."""
    by_file: dict[str, list[str]] = {}
    for name, view in views.items():
        by_file.setdefault(view.file, []).append(name)
    arrays = {}
    for file, names in by_file.items():
        buffer = members.bytes(file)
        for name in names:
            view = views[name]
            if not view.nbytes:
                arrays[name] = np.empty(view.shape, view.dtype)
                continue
            steps = zip(view.shape, view.strides, strict=True)
            last = view.offset + sum((n - 1) * stride for n, stride in steps)
            if (last + 1) * view.dtype.itemsize > len(buffer):
                raise ValueError(f"{name[:80]!a} reaches beyond its file {file[:80]!a}")
            arrays[name] = np.ndarray(
                view.shape,
                view.dtype,
                buffer=buffer,
                offset=view.offset * view.dtype.itemsize,
                strides=[stride * view.dtype.itemsize for stride in view.strides],
            ).copy(order="C")
    return arrays


def state_order(names: Mapping[str, object], graph: Graph) -> list[str]:
    """Returns names of weights in the order of the state dict, which the file does not keep.

    PyTorch's order: module by module, of each its parameters, then its buffers.
    """
    places = {path: place for place, path in enumerate(graph.modules)}
    listed = [
        value.target
        for kind in ("parameter", "buffer")
        for value in graph.inputs
        if value.kind == kind and value.target in names
    ]
    known = dict.fromkeys([*listed, *names])
    return sorted(known, key=lambda name: places.get(name.rpartition(".")[0], len(places)))


def tied_names(views: Mapping[str, View]) -> tuple[dict[str, str], dict[str, str]]:
    """Returns the names of equal views, and those of other views of a memory that overlap."""
    first: dict[View, str] = {}
    spans: dict[str, list[tuple[int, int, str]]] = {}
    tied, shared = {}, {}
    for name, view in views.items():
        if view in first and view.nbytes:
            tied[name] = first[view]
            continue
        first.setdefault(view, name)
        steps = zip(view.shape, view.strides, strict=True)
        last = view.offset + sum((n - 1) * stride for n, stride in steps if n)
        for start, stop, other in spans.get(view.file, ()):
            if view.nbytes and start <= last and view.offset <= stop:
                shared[name] = other
                break
        spans.setdefault(view.file, []).append((view.offset, last, name))
    return tied, shared
