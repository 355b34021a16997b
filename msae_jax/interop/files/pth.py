"""PyTorch weight files (`.pth`, `.pt`), read and written without PyTorch and without running code.

A file is a zip (`zipped.py`) or of the format before PyTorch 1.6 (`legacy.py`), both hold a pickle
(`unpickle.py`) and storages, and whatever a file claims, reading is bounded (`sources.py`).
"""

from __future__ import annotations

import contextlib
import io
import math
import pickle
import pickletools
import struct
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from msae_jax.errors import InputError
from msae_jax.interop.files import sources
from msae_jax.interop.files.legacy import Legacy
from msae_jax.interop.files.sources import BoundedFile, Source
from msae_jax.interop.files.state_dict import find_state_dict
from msae_jax.interop.files.storages import STORAGES
from msae_jax.interop.files.writing import own_arrays
from msae_jax.interop.files.zipped import Zipped
from msae_jax.system.files import replacing

ALIGNMENT = 64
_LOCAL_HEADER = 30  # bytes before a zip member's name


def read_pth(path: str | Path, key: str | None = None) -> dict[str, np.ndarray]:
    """Returns the arrays of a PyTorch weights file by dotted key, in the file's order.

    The state dict may lie anywhere in nested dicts, lists and tuples. Where there are several, that
    called `state_dict` (as Lightning does), `model_state_dict` or `model` is meant; optimizer
    states are none. `module.` (DataParallel) and `_orig_mod.` (torch.compile) are removed from the
    keys, and so is `model.` where it starts every key of a Lightning checkpoint. Every array is
    C-contiguous, owns its memory and has the tensor's dtype (bfloat16 and float8 of ml_dtypes).

    Args:
        key: where the state dict is, dotted (`ema.model`); several, divided by commas, are read as
            one, each with the last part of its own name before its keys.

    Warns:
        UserWarning: nothing in the file vouches for its bytes: it is of the format before PyTorch
            1.6, or was saved without checksums; or values beside the tensors were left out.

    Raises:
        InputError: the file is missing, truncated, corrupt or hostile; it carries code (which the
            error names and nothing runs); it is a pickled module or a TorchScript archive; it does
            not tell which of several state dicts is meant, has none, or not that at `key`; or
            tensors in it are quantised, sparse or without values.
    """
    path = Path(path)
    with opened(path) as (source, size):
        tensors, left_out = find_state_dict(source.value, key)
        found = sources.arrays(source, tensors, size)
    if left_out:
        warnings.warn(
            f"{path} has more than tensors in its state dict; left out: {left_out}.",
            stacklevel=2,
        )
    if not source.checked:
        warnings.warn(
            f"{path}, a {source.format}, has no checksums (CRC-32): nothing vouches for its bytes, "
            "and damage to them goes unnoticed.",
            stacklevel=2,
        )
    return found


@contextlib.contextmanager
def opened(path: str | Path) -> Iterator[tuple[Source, int]]:
    """Yields what a PyTorch file describes, and its size in bytes.

    Whatever goes wrong with the file while it is open is an `InputError`.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} does not exist or is not a file.")
    try:
        with BoundedFile(path) as file:
            size = file.seek(0, io.SEEK_END)
            file.seek(0)
            yield (Zipped(file) if file.read(2) == b"PK" else Legacy(file)), size
    except InputError as error:
        raise InputError(f"{path} {error}") from None
    except Exception as error:  # a stranger's file: whatever trips over it, the file is at fault
        reason = str(error)[:200] or type(error).__name__
        raise InputError(
            f"{path} is not a PyTorch weights file, or it is truncated or corrupt: {reason}."
        ) from error


def write_pth(path: str | Path, tensors: Mapping[str, np.ndarray], overwrite: bool = False) -> None:
    """Writes arrays by dotted key so that `torch.load(path, weights_only=True)` returns them.

    The order of the keys is kept; equal arrays make equal files, byte for byte. The file appears
    whole or not at all.

    Raises:
        InputError: the file exists and `overwrite` is False, it cannot be written, there is nothing
            to write, or a key or dtype is one that a state dict cannot have.
    """
    kinds = {dtype: kind for kind, dtype in STORAGES.items()}
    arrays = own_arrays(tensors, kinds)
    body = [b"\x80\x02", _global("collections", "OrderedDict"), b")R("]
    for index, (key, array) in enumerate(arrays.items()):
        strides = tuple(
            math.prod(max(n, 1) for n in array.shape[axis + 1 :]) for axis in range(array.ndim)
        )
        body += [
            _literal(key),
            _global("torch._utils", "_rebuild_tensor_v2"),
            b"((",
            _literal("storage"),
            _global("torch", kinds[array.dtype]),
            *map(_literal, (str(index), "cpu", array.size)),
            b"tQ",  # the persistent id of the storage
            *map(_literal, (0, array.shape, strides, False)),
            _global("collections", "OrderedDict"),  # no hooks
            b")RtR",
        ]
    body.append(b"u.")
    with replacing(path, overwrite) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        _add(archive, "archive/data.pkl", pickletools.optimize(b"".join(body)))
        _add(archive, "archive/byteorder", b"little")
        for index, array in enumerate(arrays.values()):
            _add(archive, f"archive/data/{index}", array.tobytes())
        _add(archive, "archive/version", b"3\n")


def _literal(value: object) -> bytes:
    """Returns the opcodes that push a plain value: its pickle without PROTO and STOP."""
    return pickle.dumps(value, protocol=2)[2:-1]


def _global(module: str, name: str) -> bytes:
    return pickle.GLOBAL + f"{module}\n{name}\n".encode()


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    """Stores a member whose data start at a multiple of `ALIGNMENT`, padded as PyTorch pads."""
    info = zipfile.ZipInfo(name)  # dated 1980: no clock in the file
    assert archive.fp is not None
    start = archive.fp.tell() + _LOCAL_HEADER + len(name) + 4
    padding = -start % ALIGNMENT
    info.extra = b"FB" + struct.pack("<H", padding) + b"Z" * padding
    archive.writestr(info, data)
