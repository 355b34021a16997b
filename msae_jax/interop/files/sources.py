"""A PyTorch file as its reader sees it: what its pickle describes, and the storages it can give.

Whatever a file claims, reading is bounded: no read passes `MAX_READ` bytes at once (which bounds a
zip's directory too), the pickle passes neither `MAX_PICKLE` bytes nor the limits in `unpickle.py`,
the storages read do not pass the file's size, and the arrays made do not pass twice the file's size
plus `MAX_EXTRA` bytes (only tensors that share or repeat a storage come near it). Storages that no
chosen tensor uses, such as an optimizer's, are not read.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping
from typing import Protocol

import numpy as np

from msae_jax.interop.files.storages import Tensor

MAX_READ = 1 << 20
MAX_PICKLE = 16 << 20
MAX_EXTRA = 64 << 20


class BoundedFile(io.FileIO):
    """A file that refuses to be read in larger pieces than `MAX_READ`."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > MAX_READ:
            raise ValueError(f"it claims a part of {size} bytes, of at most {MAX_READ}")
        return super().read(-1 if size is None else size)


class Source(Protocol):
    """An open file, whatever its format.

    Attributes:
      format: in words. value: what the pickle describes (`unpickle`).
      checked: whether checksums vouch for the bytes.
    """

    format: str
    value: object
    checked: bool

    def nbytes(self, key: str) -> int:
        """Returns the size of a storage in bytes."""

    def read(self, key: str) -> np.ndarray:
        """Returns the bytes of a storage."""


def arrays(source: Source, tensors: Mapping[str, Tensor], size: int) -> dict[str, np.ndarray]:
    """Reads each storage once, and lets go of it after the last tensor that views it.

    Args:
      size: of the file, in bytes.
    """
    views = Counter(tensor.storage.key for tensor in tensors.values())
    if sum(map(source.nbytes, views)) > size:
        raise ValueError("its storages claim more bytes than the file has")
    if sum(tensor.nbytes for tensor in tensors.values()) > 2 * size + MAX_EXTRA:
        raise ValueError("its tensors repeat their storages beyond twice the file's size")
    storages: dict[str, np.ndarray] = {}
    found = {}
    for name, tensor in tensors.items():
        storage = tensor.storage
        if storage.start + storage.nbytes > source.nbytes(storage.key):
            raise ValueError(f"the storage of {name[:80]!a} is shorter than claimed")
        if storage.key not in storages:
            storages[storage.key] = source.read(storage.key)
        if tensor.nbytes:
            found[name] = np.ndarray(
                tensor.shape,
                tensor.dtype,
                buffer=storages[storage.key],
                offset=storage.start + tensor.offset * tensor.dtype.itemsize,
                strides=[stride * tensor.dtype.itemsize for stride in tensor.strides],
            ).copy(order="C")
        else:
            found[name] = np.empty(tensor.shape, tensor.dtype)
        views[storage.key] -= 1
        if not views[storage.key]:
            del storages[storage.key]
    return found
