"""Reads `.npy` and `.npz` files without trusting their headers.

`numpy.load` allocates the size that a header names before it reads the values, and ignores bytes
after them. Here the size in the header must first equal the size of the file.
"""

from __future__ import annotations

import math
import warnings
import zipfile
from pathlib import Path
from typing import IO, Literal

import numpy as np

from msae_jax.data.dataset import empty_aligned
from msae_jax.data.formats.stored import check_size
from msae_jax.errors import InputError

CHUNK = 2**20  # bytes that are unpacked at once
HEADER = 2**16  # bytes: a longer header cannot describe an array of numbers


def read(path: Path, *, mapped: bool = False) -> np.ndarray | dict[str, np.ndarray]:
    """Returns the array of an `.npy` file, or the named arrays of an `.npz` file.

    Args:
      mapped: leaves the values of an `.npy` file where they are; parts are read when they are used.

    Raises: InputError for anything else: a damaged file, one that is shorter or longer than its
      header says, Python objects, or an archive that unpacks to over 256 MiB and 200 times its
      size.
    """
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NumPy's, of odd headers
            if file.read(2) == b"PK":
                return _archive(file)
            file.seek(0)
            if not mapped:
                return _array(file, path.stat().st_size)
            shape, fortran_order, dtype = _header(file, path.stat().st_size)
            order: Literal["C", "F"] = "F" if fortran_order else "C"
            return np.memmap(path, dtype, "r", file.tell(), shape, order)
    except Exception as error:  # whatever damage leads NumPy, zipfile and zlib to
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        kind = path.suffix.lower()
        raise InputError(f"{path}: not a readable {kind} file of numbers: {reason}") from error


def _array(file: IO[bytes], size: int) -> np.ndarray:
    """Returns the array of an opened `.npy` file that is `size` bytes long."""
    shape, fortran_order, dtype = _header(file, size)
    values = np.frombuffer(_bytes(file, math.prod(shape) * dtype.itemsize), dtype)
    return values.reshape(shape, order="F" if fortran_order else "C")


def _header(file: IO[bytes], size: int) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Returns the shape, the order and the dtype of an opened `.npy` file of `size` bytes."""
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        header = np.lib.format.read_array_header_1_0(file, max_header_size=HEADER)
    elif version in ((2, 0), (3, 0)):  # 3.0 differs in field names outside Latin-1 only
        header = np.lib.format.read_array_header_2_0(file, max_header_size=HEADER)
    else:
        raise ValueError(f"format version {version}, expected 1.0, 2.0 or 3.0")
    shape, fortran_order, dtype = header
    if dtype.hasobject:
        raise ValueError("Object arrays cannot be loaded: they hold Python's own objects")
    if dtype.kind not in "biuf" or dtype.subdtype is not None:
        raise ValueError(f"has dtype {dtype}, expected real numbers in one rectangular array")
    if any(type(n) is not int or n < 0 for n in shape):
        raise ValueError(f"has shape {shape}")
    claimed, held = math.prod(shape) * dtype.itemsize, size - file.tell()
    if claimed != held:
        raise ValueError(
            f"the header says {claimed:,} bytes, {dtype} {list(shape)}, the file holds {held:,}"
        )
    return shape, fortran_order, dtype


def _bytes(file: IO[bytes], size: int) -> np.ndarray:
    """Returns the next `size` bytes, which are the last; an archive's CRC is checked with them.

    They lie where JAX on a CPU needs no copy of them.
    """
    content = empty_aligned((size,), np.dtype(np.uint8))
    view = memoryview(content)  # type: ignore[arg-type]
    done = 0
    while done < size:
        done += (got := file.readinto(view[done : done + CHUNK]))  # type: ignore[attr-defined]
        if not got:
            raise ValueError(f"{size - done:,} bytes are missing at the end")
    if file.read(1):
        raise ValueError("it is longer than its header says")
    return content


def _archive(file: IO[bytes]) -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        stored = sum(info.compress_size for info in members)
        check_size(sum(info.file_size for info in members), stored)
        for info in members:
            name = info.filename.removesuffix(".npy")
            if name == info.filename or name in arrays:
                raise ValueError(f"member {info.filename!r} is no .npy file, or is there twice")
            with archive.open(info) as member:
                arrays[name] = _array(member, info.file_size)
    return arrays
