"""The zip around a `.pt2` file: its members, checked to be in place, read in bounded pieces."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

from msae_jax.errors import InputError

MAX_READ = 1 << 20
MAX_JSON = 64 << 20
MAX_PARTS = 700_000  # some 5,000 nodes, of which PyTorch writes 130 each
ANEW = (
    "With PyTorch 2.9 or later: torch.export.save(torch.export.load(FILE), NEW), or export the "
    "module anew: torch.export.save(torch.export.export(module, (x,)), 'model.pt2')."
)


class BoundedFile(io.FileIO):
    """A file that refuses to be read in larger pieces than `MAX_READ`."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > MAX_READ:
            raise ValueError(f"it claims a part of {size} bytes, of at most {MAX_READ}")
        return super().read(-1 if size is None else size)


class Members:
    """The members of a `.pt2`'s zip by their names below its root, checked to be in place."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self.archive = archive
        infos = archive.infolist()
        names = [info.filename for info in infos]
        if "serialized_exported_program.json" in names:
            raise InputError(f"was written by PyTorch before 2.8. {ANEW}")
        roots = [name for name in names if name.endswith("/archive_format")]
        if len(roots) != 1 or roots[0].count("/") != 1:
            raise ValueError(f"its zip has {len(roots)} members <root>/archive_format, not one")
        root = roots[0].removesuffix("archive_format")
        self.infos: dict[str, zipfile.ZipInfo] = {}
        for name, info in zip(names, infos, strict=True):
            shown, below = ascii(name[:80]), name.removeprefix(root)
            if not name.startswith(root) or ".." in name.split("/") or "\\" in name:
                raise ValueError(f"the zip member {shown} is out of place")
            if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
                raise ValueError(f"the zip member {shown} is compressed, which PyTorch never does")
            if below in self.infos:
                raise ValueError(f"two zip members are named {shown}")
            self.infos[below] = info

    def bytes(self, name: str) -> bytearray:
        """Returns a member's bytes, which zipfile compares with their CRC-32."""
        if name not in self.infos:
            raise ValueError(f"it has no {name[:80]!a}")
        info = self.infos[name]
        found = bytearray()
        with self.archive.open(info) as member:
            while chunk := member.read(MAX_READ):
                found += chunk
        if len(found) != info.file_size:
            raise ValueError(f"the zip member {name[:80]!a} ends early")
        return found

    def text(self, name: str, expected: str) -> None:
        """Checks a member that holds a word."""
        info = self.infos.get(name)
        found = bytes(self.bytes(name)).strip() if info and info.file_size <= 80 else b""
        if found != expected.encode():
            raise InputError(f"has {found[:40]!r} as its {name}, not {expected!r}. {ANEW}")

    def json(self, name: str) -> Any:
        if name in self.infos and self.infos[name].file_size > MAX_JSON:
            raise ValueError(f"{name[:80]!a} is larger than {MAX_JSON} bytes")
        text = self.bytes(name)
        if sum(map(text.count, b"[{,")) > MAX_PARTS:
            raise ValueError(f"{name[:80]!a} has more than {MAX_PARTS} parts")
        return json.loads(text)
