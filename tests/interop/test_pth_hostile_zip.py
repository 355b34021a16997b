"""Other files, damaged ones, and zip files that lie about their members."""

from __future__ import annotations

import io
import os
import random
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from msae_jax.errors import InputError
from msae_jax.interop import read_pth, write_pth
from tests.interop.hostile_pth import PROTO, members, state, tensor, text, zipped


@pytest.mark.parametrize(
    "data",
    [b"", b"P", b"PK", b"PK\x03\x04", b"\x89PNG\r\n\x1a\n" + bytes(100), b"<html>", bytes(5_000)],
)
def test_other_files(refuse, data):
    assert "PyTorch weights file" in refuse(data)


def test_torchscript_and_big_endian_archives(refuse):
    assert "TorchScript" in refuse(members("archive/constants.pkl"))
    with zipfile.ZipFile(stream := io.BytesIO(), "w") as archive:
        archive.writestr("archive/data.pkl", PROTO + state(tensor()) + b".")
        archive.writestr("archive/byteorder", b"big")
    assert "little-endian" in refuse(stream.getvalue())


def real_file(tmp_path: Path) -> bytes:
    generator = np.random.default_rng(0)
    arrays = {
        f"layer.{index}.weight": generator.standard_normal((5, index + 1)).astype(np.float32)
        for index in range(4)
    }
    write_pth(tmp_path / "real.pth", arrays)
    return (tmp_path / "real.pth").read_bytes()


EVERY = pytest.mark.parametrize("step", [9, pytest.param(1, marks=pytest.mark.slow)])


@EVERY
def test_every_truncation(step, tmp_path):
    data = real_file(tmp_path)
    path = tmp_path / "a.pth"
    for length in range(0, len(data), step):
        path.write_bytes(data[:length])
        with pytest.raises(InputError, match=r"truncated|not a zip"):
            read_pth(path)


@EVERY
def test_flipped_bytes_are_noticed_or_do_not_matter(step, tmp_path):
    data = real_file(tmp_path)
    path = tmp_path / "real.pth"
    expected = read_pth(path)
    generator = random.Random(0)
    refused = 0
    for position in range(0, len(data), step):
        flipped = bytearray(data)
        flipped[position] ^= 1 << generator.randrange(8)
        path.write_bytes(flipped)
        try:
            got = read_pth(path)
        except InputError:
            refused += 1
            continue
        assert list(got) == list(expected)
        assert all(got[key].tobytes() == expected[key].tobytes() for key in expected)
    assert refused > len(data) / step / 2


def test_a_wrong_crc(refuse):
    data = zipped(state(tensor()), b"\x01\x02\x03\x04\x05\x06\x07\x08")
    assert "CRC" in refuse(data.replace(b"\x01\x02\x03\x04\x05\x06\x07\x08", bytes(8)))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (members("archive/../../ran"), "out of place"),
        (members("archive/.."), "out of place"),
        (members("../archive/data/0"), "out of place"),
        (members("/archive/data/1"), "out of place"),
        (members("archive/..\\ran"), "out of place"),
        (members("other/data/0"), "out of place"),
        (members("other/data.pkl"), "2 members"),
        (members("archive/data/0"), "share a name"),
        (members("archive/data.pkl"), "share a name"),
        (zipped(state(tensor())).replace(b"archive/data.pkl", b"archive/data.txt"), "0 members"),
        (zipped(state(tensor()), compression=zipfile.ZIP_DEFLATED), "compressed"),
        (
            members("archive/x", data=bytes(50 << 20), compression=zipfile.ZIP_DEFLATED),
            "compressed",
        ),
        (members("archive/x", data=bytes(50 << 20), compression=zipfile.ZIP_BZIP2), "compressed"),
        (members(*(f"archive/data/{index}" for index in range(1, 19_000))), "claims a part"),
        (zipped(b"N" * (16 << 20)), "larger than"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{len(value)} bytes",
)
def test_zip_tricks(refuse, data, message):
    assert message in refuse(data)


def patched(
    offset: int, value: bytes, member: str = "archive/data/0", central: bool = True
) -> bytes:
    """A zip with bytes of a member's header replaced, in the central directory or beside it."""
    data = bytearray(zipped(state(tensor())))
    if central:
        start = data.rindex(member.encode()) - 46
        assert data[start : start + 4] == b"PK\x01\x02"
    else:
        start = data.index(member.encode()) - 30
        assert data[start : start + 4] == b"PK\x03\x04"
    data[start + offset : start + offset + len(value)] = value
    return bytes(data)


LARGE = struct.pack("<II", 0xFFFFFF00, 0xFFFFFF00)


@pytest.mark.parametrize(
    "data",
    [
        patched(20, LARGE),
        patched(20, LARGE, member="archive/data.pkl"),
        patched(20, struct.pack("<II", 7, 7)),
        patched(20, struct.pack("<II", 8, 2**31)),
        patched(20, struct.pack("<II", 200, 200)),
        patched(42, struct.pack("<I", 0xFFFFFF00)),
        patched(42, struct.pack("<I", 0)),
        patched(8, b"\x01\x00"),
        patched(8, b"\x20\x00"),
        patched(8, b"\x40\x00"),
        patched(6, b"\xff\x00"),
        patched(10, b"\x63\x00"),
        patched(28, b"\xff\xff", central=True),
        patched(26, b"\xff\xff", central=False),
        patched(28, b"\xff\xff", central=False),
        patched(0, b"XXXX", central=False),
    ],
)
def test_lying_zip_headers(refuse, data):
    refuse(data)


@pytest.mark.parametrize("field", ["size", "offset", "entries"])
@pytest.mark.parametrize("value", [0xFFFFFFF0, 0x7FFFFFFF, 1 << 21])
def test_lying_end_of_directory(tmp_path, refuse, field, value):
    data = bytearray(zipped(state(tensor())))
    end = data.rindex(b"PK\x05\x06")
    if field == "entries":  # zipfile goes by the directory itself
        data[end + 8 : end + 12] = b"\xff\xfe\xff\xfe"
        (tmp_path / "a.pth").write_bytes(data)
        assert list(read_pth(tmp_path / "a.pth")) == ["w"]
        return
    at = end + {"size": 12, "offset": 16}[field]
    data[at : at + 4] = struct.pack("<I", value)
    refuse(bytes(data))


def test_lying_zip64_end_of_directory(refuse):
    data = zipped(state(tensor()))
    end = data.rindex(b"PK\x05\x06")
    huge = 2**60
    record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, huge, huge, huge, 0)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, end, 1)
    refuse(data[:end] + record + locator + data[end:])


def test_storages_that_overlap_are_not_read_over_and_over(refuse):
    """A hundred directory entries for one stretch of the file, each claiming all of it."""
    body = bytes(200_000)
    program = b"}("
    for index in range(100):
        name = f"archive/data/{index:03}"
        program += text(name) + tensor(50_000, (50_000,), (1,), key=f"{index:03}")
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/data.pkl", PROTO + program + b"u.")
        archive.writestr("archive/data/000", body)
        info = archive.getinfo("archive/data/000")
        for index in range(1, 100):
            other = zipfile.ZipInfo(f"archive/data/{index:03}")
            other.header_offset, other.CRC = info.header_offset, info.CRC
            other.file_size = other.compress_size = info.file_size
            archive.filelist.append(other)
            archive.NameToInfo[other.filename] = other
    assert "claim more bytes than the file has" in refuse(stream.getvalue())


def test_special_files_are_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.pth")
    with pytest.raises(InputError, match="not a file"):
        read_pth(tmp_path / "pipe.pth")
    with pytest.raises(InputError, match="not a file"):
        read_pth("/dev/zero")
