"""What hostile .pth files are put together from, opcode by opcode."""

from __future__ import annotations

import io
import pickle
import struct
import warnings
import zipfile

PROTO = b"\x80\x02"
ORDERED_DICT = b"ccollections\nOrderedDict\n)R"
REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"


def text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def number(value: int) -> bytes:
    return pickle.dumps(value, protocol=2)[2:-1]


def tensor(
    count: int = 2,
    shape: tuple[int, ...] = (2,),
    strides: tuple[int, ...] = (1,),
    offset: int = 0,
    key: str = "0",
) -> bytes:
    storage = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text(key) + text("cpu")
    sizes = b"".join(b"(" + b"".join(map(number, part)) + b"t" for part in (shape, strides))
    view = number(offset) + sizes + b"\x89" + ORDERED_DICT
    return REBUILD + b"(" + storage + number(count) + b"tQ" + view + b"tR"


def state(item: bytes) -> bytes:
    return ORDERED_DICT + text("w") + item + b"s"


def zipped(program: bytes, data: bytes = bytes(8), **options: int) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", **options) as archive:
        archive.writestr("archive/data.pkl", PROTO + program + b".")
        archive.writestr("archive/byteorder", b"little")
        archive.writestr("archive/data/0", data)
        archive.writestr("archive/version", b"3\n")
    return stream.getvalue()


def members(*names: str, data: bytes = b"", **options: int) -> bytes:
    stream = io.BytesIO(zipped(state(tensor())))
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "a", **options) as archive:
        warnings.simplefilter("ignore")
        for name in names:
            archive.writestr(name, data)
    return stream.getvalue()
