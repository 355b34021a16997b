"""PyTorch weight files (`.pth`, `.pt`), read and written without PyTorch and without running code.

Such a file is an uncompressed zip: `<root>/data.pkl` is a pickle of the state dict, each
`<root>/data/<key>` the raw bytes of one storage, and each tensor a view of a storage.

Whatever a file claims, reading is bounded: no read passes `MAX_READ` bytes at once (which bounds
the zip's directory too), the pickle passes neither `MAX_PICKLE` bytes nor the limits in
`unpickle.py`, the storages read do not pass the file's size, and the arrays made do not pass twice
the file's size plus `MAX_EXTRA` bytes (only tensors that share or repeat a storage come near it).
Storages that no tensor of the state dict uses, such as an optimizer's, are not read.

Sources: torch/serialization.py of PyTorch 2.13; caffe2/serialize/inline_container.cc.
"""

from __future__ import annotations

import copy
import io
import math
import pickle
import pickletools
import struct
import warnings
import zipfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from msae_jax.errors import InputError
from msae_jax.interop.files.state_dict import find_state_dict
from msae_jax.interop.files.storages import STORAGES, Tensor
from msae_jax.interop.files.unpickle import RESAVE, unpickle
from msae_jax.interop.files.writing import own_arrays
from msae_jax.system.files import replacing

MAX_READ = 1 << 20
MAX_PICKLE = 16 << 20
MAX_EXTRA = 64 << 20
ALIGNMENT = 64
_LOCAL_HEADER = 30  # bytes before a zip member's name


class _BoundedFile(io.FileIO):
    """A file that refuses to be read in larger pieces than `MAX_READ`."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > MAX_READ:
            raise ValueError(f"it claims a part of {size} bytes, of at most {MAX_READ}")
        return super().read(-1 if size is None else size)


def read_pth(path: str | Path) -> dict[str, np.ndarray]:
    """Returns the arrays of a PyTorch weights file by dotted key, in the file's order.

    The state dict may be wrapped as `state_dict` (as Lightning does), `model_state_dict` or
    `model`. `module.` (DataParallel) and `_orig_mod.` (torch.compile) are removed from the keys,
    and so is `model.` where it starts every key of a Lightning checkpoint. Every array is
    C-contiguous, owns its memory and has the tensor's dtype (bfloat16 and float8 of ml_dtypes).

    Warns:
        UserWarning: the file was saved without checksums, so that damage to it goes unnoticed.

    Raises:
        InputError: the file is missing, truncated, corrupt or hostile; it carries code (which the
            error names and nothing runs); it is a pickled module, a TorchScript archive or in the
            format before PyTorch 1.6; or it does not hold exactly one state dict.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} does not exist or is not a file.")
    try:
        with _BoundedFile(path) as file:
            tensors, checked = _read(file)
    except InputError as error:
        raise InputError(f"{path} {error}") from None
    except Exception as error:  # a stranger's file: whatever trips over it, the file is at fault
        reason = str(error)[:200] or type(error).__name__
        raise InputError(
            f"{path} is not a PyTorch weights file, or it is truncated or corrupt: {reason}."
        ) from error
    if not checked:
        warnings.warn(
            f"{path} was saved without checksums (CRC-32): nothing vouches for its bytes, and "
            "damage to them goes unnoticed.",
            stacklevel=2,
        )
    return tensors


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


def _read(file: _BoundedFile) -> tuple[dict[str, np.ndarray], bool]:
    """Returns the arrays by dotted key, and whether their bytes were compared with checksums."""
    if file.read(2) != b"PK":
        file.seek(0)
        _refuse_unzipped(file.read(MAX_READ))
    size = file.seek(0, io.SEEK_END)
    with zipfile.ZipFile(file) as archive:
        members, root = _members(archive)
        order = members.get(f"{root}byteorder")
        if order and (order.file_size != 6 or _bytes(archive, order).tobytes() != b"little"):
            raise InputError(f"was not saved on a little-endian machine. Please {RESAVE}")
        program = _bytes(archive, members[f"{root}data.pkl"])
        tensors = find_state_dict(unpickle(io.BytesIO(program.tobytes())))
        infos = {
            key: members[f"{root}data/{key}"] for key in {t.storage.key for t in tensors.values()}
        }
        checked = any(hasattr(info, "CRC") for info in members.values())
        return _arrays(archive, infos, tensors, size), checked


def _refuse_unzipped(head: bytes) -> None:
    """Raises; the error names the code, if these are pickles, as PyTorch wrote before 1.6."""
    stream = io.BytesIO(head)
    try:
        for _ in range(4):  # a magic number, the protocol, the system, the state dict
            unpickle(stream)
    except InputError:
        raise
    except Exception:  # not pickles, or the raw storages that follow them
        pass
    raise InputError(
        "is not a zip file, which PyTorch weights files are. If PyTorch did write it, before 1.6 "
        f"or with _use_new_zipfile_serialization=False, {RESAVE}"
    )


def _members(archive: zipfile.ZipFile) -> tuple[dict[str, zipfile.ZipInfo], str]:
    """Returns the zip's members and their common root, checked to be such as PyTorch writes."""
    members = {info.filename: info for info in archive.infolist()}
    if not any(info.CRC for info in members.values()):
        members = {name: _unchecked(info) for name, info in members.items()}
    if len(members) != len(archive.infolist()):
        raise ValueError("two zip members share a name")
    programs = [name for name in members if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(programs) != 1:
        raise ValueError(f"its zip has {len(programs)} members <root>/data.pkl, not one")
    root = programs[0].removesuffix("data.pkl")
    if f"{root}constants.pkl" in members:
        raise InputError(f"is a TorchScript archive, which is a program. Please {RESAVE}")
    for name, info in members.items():
        shown = ascii(name[:80])
        if not name.startswith(root) or ".." in name.split("/") or "\\" in name:
            raise ValueError(f"the zip member {shown} is out of place")
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
            raise ValueError(f"the zip member {shown} is compressed, which PyTorch never does")
    if members[programs[0]].file_size > MAX_PICKLE:
        raise ValueError(f"its data.pkl is larger than {MAX_PICKLE} bytes")
    return members, root


def _unchecked(info: zipfile.ZipInfo) -> zipfile.ZipInfo:
    """Returns a member without a CRC-32, so that zipfile compares its bytes with none.

    Where PyTorch was told not to compute them (`set_crc32_options(False)`), every one is zero.
    """
    unchecked = copy.copy(info)
    del unchecked.CRC
    return unchecked


def _bytes(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    """Returns a member's bytes, which zipfile compares with their CRC-32, if any, at the end."""
    buffer = np.empty(info.file_size, np.uint8)
    position = 0
    with archive.open(info) as member:
        while chunk := member.read(MAX_READ):
            buffer[position : position + len(chunk)] = np.frombuffer(chunk, np.uint8)
            position += len(chunk)
    if position != info.file_size:
        raise ValueError(f"the zip member {info.filename[:80]!a} ends early")
    return buffer


def _arrays(
    archive: zipfile.ZipFile,
    infos: Mapping[str, zipfile.ZipInfo],
    tensors: Mapping[str, Tensor],
    size: int,
) -> dict[str, np.ndarray]:
    """Reads each storage once, and lets go of it after the last tensor that views it."""
    if sum(info.file_size for info in infos.values()) > size:
        raise ValueError("its storages claim more bytes than the file has")
    if sum(tensor.nbytes for tensor in tensors.values()) > 2 * size + MAX_EXTRA:
        raise ValueError("its tensors repeat their storages beyond twice the file's size")
    views = Counter(tensor.storage.key for tensor in tensors.values())
    storages: dict[str, np.ndarray] = {}
    arrays = {}
    for name, tensor in tensors.items():
        key = tensor.storage.key
        if tensor.storage.nbytes > infos[key].file_size:
            raise ValueError(f"the storage of {name[:80]!a} is shorter than claimed")
        if key not in storages:
            storages[key] = _bytes(archive, infos[key])
        if tensor.nbytes:
            arrays[name] = np.ndarray(
                tensor.shape,
                tensor.dtype,
                buffer=storages[key],
                offset=tensor.offset * tensor.dtype.itemsize,
                strides=[stride * tensor.dtype.itemsize for stride in tensor.strides],
            ).copy(order="C")
        else:
            arrays[name] = np.empty(tensor.shape, tensor.dtype)
        views[key] -= 1
        if not views[key]:
            del storages[key]
    return arrays
