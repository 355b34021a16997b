"""PyTorch files before 1.6: four pickles, the keys of the storages, and the storages themselves.

The pickles are a magic number, the protocol, facts about the machine, and what was saved. A fifth
lists the keys of the storages; then each storage follows in that order, its number of elements in
eight bytes first. Nothing in the format vouches for the bytes of a storage.

Source: `_legacy_save` and `_legacy_load` of torch/serialization.py, `THPStorage_readFileRaw` of
torch/csrc/serialization.cpp, PyTorch 2.13.
"""

from __future__ import annotations

import io

import numpy as np

from msae_jax.errors import InputError
from msae_jax.interop.files.sources import MAX_PICKLE, MAX_READ, BoundedFile
from msae_jax.interop.files.storages import Storage
from msae_jax.interop.files.unpickle import RESAVE, unpickle

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
_COUNT = 8  # bytes of a storage's number of elements


class Legacy:
    """An open file of the format before 1.6, a `Source`."""

    format = "PyTorch file of the format before 1.6"
    checked = False

    def __init__(self, file: BoundedFile) -> None:
        self._file = file
        stream = _head(file)
        self._begin(stream)
        storages: dict[str, Storage] = {}
        self.value = unpickle(stream, storages)
        keys = unpickle(stream)
        if type(keys) is not list or sorted(map(str, keys)) != sorted(storages):
            raise ValueError("its list of storages is not that of its tensors")
        self._places = self._located([storages[key] for key in keys], stream.tell())

    @staticmethod
    def _begin(stream: io.BytesIO) -> None:
        """Reads what comes before the saved value, and checks it."""
        try:
            magic = unpickle(stream)
        except InputError:
            raise
        except Exception:
            magic = None
        if magic != MAGIC_NUMBER:
            raise InputError(
                "is not a zip file, which PyTorch weights files are, and not of PyTorch's format "
                f"before 1.6. If PyTorch did write it, {RESAVE}"
            )
        protocol, system = unpickle(stream), unpickle(stream)
        if protocol != PROTOCOL:
            raise ValueError(f"its protocol is {str(protocol)[:20]}, not {PROTOCOL}")
        if type(system) is not dict or system.get("little_endian") is not True:
            raise InputError(f"was not saved on a little-endian machine. Please {RESAVE}")

    def _located(self, storages: list[Storage], start: int) -> dict[str, tuple[int, int]]:
        """Returns, by key, where the bytes of each storage begin, and how many they are."""
        size = self._file.seek(0, io.SEEK_END)
        places = {}
        for storage in storages:
            self._file.seek(start)
            count = int.from_bytes(self._file.read(_COUNT), "little", signed=True)
            start += _COUNT
            nbytes = count * storage.dtype.itemsize
            if nbytes != storage.nbytes:
                raise ValueError(
                    f"the storage {storage.key[:40]!a} has {nbytes} bytes where its tensors claim "
                    f"{storage.nbytes}"
                )
            if start + nbytes > size:
                raise ValueError(f"the storage {storage.key[:40]!a} ends behind the file")
            places[storage.key] = (start, nbytes)
            start += nbytes
        return places

    def nbytes(self, key: str) -> int:
        return self._places[key][1]

    def read(self, key: str) -> np.ndarray:
        start, nbytes = self._places[key]
        self._file.seek(start)
        buffer = np.empty(nbytes, np.uint8)
        for position in range(0, nbytes, MAX_READ):
            part = self._file.read(min(MAX_READ, nbytes - position))
            buffer[position : position + len(part)] = np.frombuffer(part, np.uint8)
        return buffer


def _head(file: BoundedFile) -> io.BytesIO:
    """Returns the beginning of the file, in which all pickles must lie."""
    file.seek(0)
    parts = []
    for _ in range(MAX_PICKLE // MAX_READ):
        parts.append(file.read(MAX_READ))
        if len(parts[-1]) < MAX_READ:
            break
    return io.BytesIO(b"".join(parts))
