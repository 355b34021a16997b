"""PyTorch files since 1.6: an uncompressed zip of a pickle and one member a storage.

`<root>/data.pkl` is a pickle of what was saved, each `<root>/data/<key>` the raw bytes of one
storage, and each tensor a view of a storage.

Sources: torch/serialization.py of PyTorch 2.13; caffe2/serialize/inline_container.cc.
"""

from __future__ import annotations

import copy
import io
import zipfile

import numpy as np

from msae_jax.errors import InputError
from msae_jax.interop.files.sources import MAX_PICKLE, MAX_READ, BoundedFile
from msae_jax.interop.files.unpickle import RESAVE, RESAVE_SCRIPT, unpickle

_SCRIPT = "is a TorchScript archive, which is a program. Please"


class Zipped:
    """An open zip of PyTorch's, a `Source`."""

    format = "PyTorch file (zip, since PyTorch 1.6)"

    def __init__(self, file: BoundedFile) -> None:
        self._archive = zipfile.ZipFile(file)
        self._members, self._root = _members(self._archive)
        order = self._members.get(f"{self._root}byteorder")
        if order and (order.file_size != 6 or self._bytes(order).tobytes() != b"little"):
            raise InputError(f"was not saved on a little-endian machine. Please {RESAVE}")
        program = self._bytes(self._members[f"{self._root}data.pkl"])
        self.value = unpickle(io.BytesIO(program.tobytes()))
        self.checked = any(hasattr(info, "CRC") for info in self._members.values())

    def nbytes(self, key: str) -> int:
        return self._members[f"{self._root}data/{key}"].file_size

    def read(self, key: str) -> np.ndarray:
        return self._bytes(self._members[f"{self._root}data/{key}"])

    def _bytes(self, info: zipfile.ZipInfo) -> np.ndarray:
        """Returns a member's bytes, which zipfile compares with their CRC-32, if any."""
        buffer = np.empty(info.file_size, np.uint8)
        position = 0
        with self._archive.open(info) as member:
            while chunk := member.read(MAX_READ):
                buffer[position : position + len(chunk)] = np.frombuffer(chunk, np.uint8)
                position += len(chunk)
        if position != info.file_size:
            raise ValueError(f"the zip member {info.filename[:80]!a} ends early")
        return buffer


def _members(archive: zipfile.ZipFile) -> tuple[dict[str, zipfile.ZipInfo], str]:
    """Returns the zip's members and their common root, checked to be such as PyTorch writes."""
    members = {info.filename: info for info in archive.infolist()}
    if not any(info.CRC for info in members.values()):
        members = {name: _unchecked(info) for name, info in members.items()}
    if len(members) != len(archive.infolist()):
        raise ValueError("two zip members share a name")
    programs = [name for name in members if name.endswith("/data.pkl") and name.count("/") == 1]
    scripts = [name for name in members if name.endswith(("/constants.pkl", "/model.json"))]
    if not programs and scripts:
        raise InputError(f"{_SCRIPT} {RESAVE_SCRIPT}")
    if len(programs) != 1:
        raise ValueError(f"its zip has {len(programs)} members <root>/data.pkl, not one")
    root = programs[0].removesuffix("data.pkl")
    if f"{root}constants.pkl" in members:
        raise InputError(f"{_SCRIPT} {RESAVE_SCRIPT}")
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
