"""Files of named arrays, whatever their format: flat dotted keys, in order.

safetensors files keep neither the order of the keys nor a checksum. Ours record the order in the
header's metadata, and a note, for which `.pth` has no place; values that changed on disk go
unnoticed, unlike in `.pth` (CRC-32).

Source: https://github.com/huggingface/safetensors (README, "Format").
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from msae_jax.errors import InputError
from msae_jax.interop.files.pth import read_pth, write_pth
from msae_jax.interop.files.storages import DTYPES
from msae_jax.interop.files.writing import own_arrays
from msae_jax.system.files import replacing

MAX_HEADER = 4 << 20
NOTE = "msae_jax"

_PTH = (".pth", ".pt", ".ckpt", ".bin", ".pth.tar")
_SAFETENSORS = (".safetensors",)
_NOT_IN_SAFETENSORS = {"complex128"} | {name for name in DTYPES if name.startswith("float8")}
_SAFETENSORS_DTYPES = [dtype for name, dtype in DTYPES.items() if name not in _NOT_IN_SAFETENSORS]


def read_tensors(path: str | Path, key: str | None = None) -> dict[str, np.ndarray]:
    """Returns the arrays of a file of PyTorch's or a `.safetensors` file by dotted key.

    PyTorch's end in `.pth`, `.pt`, `.ckpt`, `.bin` or `.pth.tar`.

    Args:
        key: which state dict of a file of PyTorch's, where it holds several (`read_pth`).

    Raises:
        InputError: the suffix is another, or as `read_pth` and `read_safetensors` say.
    """
    if not is_safetensors(path):
        return read_pth(path, key)
    if key is not None:
        raise InputError(f"--key picks a state dict of a file of PyTorch's; {path} holds one.")
    return read_safetensors(path)


def read_note(path: str | Path) -> str | None:
    """Returns what `write_tensors` noted in a `.safetensors` file; of other files, None.

    Raises:
        InputError: as `read_tensors` says.
    """
    if not is_safetensors(path):
        return None
    with _opened(Path(path)) as file:
        return (file.metadata() or {}).get(NOTE)


def write_tensors(
    path: str | Path,
    tensors: Mapping[str, np.ndarray],
    overwrite: bool = False,
    note: str | None = None,
) -> None:
    """Writes arrays by dotted key to a `.pth`, `.pt`, `.ckpt` or `.safetensors` file.

    Args:
        note: text for `read_note`; only `.safetensors` files keep it.

    Raises:
        InputError: the suffix is another, or as `write_pth` and `write_safetensors` say.
    """
    if is_safetensors(path):
        write_safetensors(path, tensors, overwrite, note)
    else:
        write_pth(path, tensors, overwrite)


def read_safetensors(path: str | Path) -> dict[str, np.ndarray]:
    """Returns the arrays of a safetensors file by dotted key, C-contiguous, owning their memory.

    Raises:
        InputError: the file is missing, truncated or malformed, its header is larger than
            `MAX_HEADER` bytes, or it holds a dtype that NumPy and ml_dtypes lack.
    """
    with _opened(Path(path)) as file:
        metadata = file.metadata() or {}
        names = file.keys()
        arrays = {key: np.array(file.get_tensor(key), order="C") for key in names}
    return {key: arrays[key] for key in _order(metadata, arrays)}


def arrays_in(data: bytes, source: str) -> dict[str, np.ndarray]:
    """Returns the arrays of the bytes of a safetensors file.

    Raises:
        InputError: they are none of such a file.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        if int.from_bytes(data[:8], "little") > MAX_HEADER:
            raise ValueError(f"its header is larger than {MAX_HEADER} bytes")
        return dict(load(data))
    except (SafetensorError, LookupError, TypeError, ValueError) as error:
        raise InputError(f"{source} holds no arrays that can be read: {error}.") from error


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Yields the open file; whatever goes wrong with it is an InputError."""
    from safetensors import safe_open

    if not path.is_file():
        raise InputError(f"{path} does not exist or is not a file.")
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
        if length > MAX_HEADER:
            raise ValueError(f"its header claims {length} bytes, of at most {MAX_HEADER}")
        with safe_open(path, framework="np") as opened:
            yield opened
    except Exception as error:  # a stranger's file: whatever trips over it, the file is at fault
        raise InputError(
            f"{path} is not a safetensors file, or it is truncated or corrupt: {str(error)[:200]}."
        ) from error


def write_safetensors(
    path: str | Path,
    tensors: Mapping[str, np.ndarray],
    overwrite: bool = False,
    note: str | None = None,
) -> None:
    """Writes arrays by dotted key to a safetensors file, which appears whole or not at all.

    The same arrays and note give the same bytes.

    Args:
        note: text for `read_note`.

    Raises:
        InputError: the file exists and `overwrite` is False, it cannot be written, there is nothing
            to write, or a key or dtype is one that the format cannot hold.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    arrays = own_arrays(tensors, _SAFETENSORS_DTYPES)  # it saves strided arrays wrong, silently
    if "__metadata__" in arrays:
        raise InputError("__metadata__ cannot name a tensor in a safetensors file.")
    metadata = {"format": "pt", "order": json.dumps(list(arrays))}
    if note is not None:
        metadata[NOTE] = note
    with replacing(path, overwrite) as temporary:
        try:
            save_file(arrays, temporary, metadata)
            _sort_metadata(temporary)
        except SafetensorError as error:
            raise InputError(f"{path} cannot be written: {error}.") from error


def _sort_metadata(path: Path) -> None:
    """Puts the metadata in order: the library's differs between two writings of the same arrays."""
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
        assert len(text) <= length, "the arrays begin behind it"
        file.seek(8)
        file.write(text.ljust(length))


def is_safetensors(path: str | Path) -> bool:
    """Whether a file is of the safetensors format by its suffix, else one of PyTorch's.

    Raises:
        InputError: the suffix is of neither.
    """
    name = Path(path).name.lower()
    if not name.endswith(_PTH + _SAFETENSORS):
        known, suffix = ", ".join(_PTH + _SAFETENSORS), Path(path).suffix.lower()
        raise InputError(f"{path} has the suffix {suffix!r}; a file of tensors has one of {known}.")
    return name.endswith(_SAFETENSORS)


def _order(metadata: Mapping[str, str], arrays: Mapping[str, np.ndarray]) -> list[str]:
    """Returns the keys in the order that `write_safetensors` noted, else as the file has them."""
    try:
        order = json.loads(metadata["order"])
        return list(order) if sorted(order) == sorted(arrays) else list(arrays)
    except (LookupError, TypeError, ValueError, RecursionError):
        return list(arrays)
