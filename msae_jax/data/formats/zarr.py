"""Zarr arrays, versions 2 and 3, and groups of them, by TensorStore (https://zarr-specs.readthedocs.io)."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from msae_jax.data.formats.stored import Content, check_size, readable

CHUNK = 2**24  # bytes that are read at once, or the chunks along the first axis if these are larger


class Array:
    """A zarr array [N, ...], a `Stored`."""

    images = False

    def __init__(self, path: Path, driver: str) -> None:
        import tensorstore as ts

        self._path = path
        with readable(path, "zarr array"):
            spec = {
                "driver": driver,
                "kvstore": {"driver": "file", "path": str(path.absolute())},
                "context": {"cache_pool": {"total_bytes_limit": 0}},
            }
            self._store = ts.open(spec, read=True).result()
            self.shape = tuple(self._store.shape)
            self.dtype = np.dtype(self._store.dtype.numpy_dtype)
            stored = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
            self._chunk: tuple[Any, ...] = tuple(self._store.chunk_layout.read_chunk.shape or ())
            for shape in (self.shape, self._chunk):
                check_size(math.prod(shape) * self.dtype.itemsize, stored)

    def __len__(self) -> int:
        return self.shape[0]

    def whole(self) -> np.ndarray:
        """Returns all values."""
        with readable(self._path, "zarr array"):
            return self._store.read().result()

    def chunks(self) -> Iterator[np.ndarray]:
        size = max(1, math.prod(self.shape[1:]) * self.dtype.itemsize)
        whole = self._chunk[0]
        rows = max(whole, CHUNK // size // whole * whole)
        for begin in range(0, len(self), rows):
            with readable(self._path, "zarr array"):
                yield self._store[begin : min(begin + rows, len(self))].read().result()


def is_zarr(path: Path) -> bool:
    """Whether a folder is a zarr array or group."""
    return any((path / name).is_file() for name in ("zarr.json", ".zarray", ".zgroup"))


def read(path: Path) -> Content:
    """Returns the array of a folder as `x`, or the arrays of a group by their names.

    Raises: InputError if they are damaged, or hold something else than numbers.
    """
    if (driver := _driver(path)) is not None:
        return {"x": Array(path, driver)}
    inner = sorted(folder for folder in path.iterdir() if folder.is_dir())
    drivers = {folder: _driver(folder) for folder in inner}
    arrays: dict[str, Any] = {
        folder.name: Array(folder, driver) for folder, driver in drivers.items() if driver
    }
    for name, array in arrays.items():
        if name == "y" or name.startswith("y_"):  # labels are held in memory
            arrays[name] = array.whole()
    return arrays


def _driver(path: Path) -> str | None:
    """Returns TensorStore's name for the version of an array; None for what is no array."""
    if (path / ".zarray").is_file():
        return "zarr"
    if not (path / "zarr.json").is_file():
        return None
    with readable(path / "zarr.json", "zarr file"):
        kind = json.loads((path / "zarr.json").read_text(encoding="utf-8"))["node_type"]
    return "zarr3" if kind == "array" else None
