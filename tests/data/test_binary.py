""".npy and .npz files that claim what they do not hold."""

from __future__ import annotations

import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from msae_jax import data
from msae_jax.errors import InputError


def npy(descr: str, shape: str, content: bytes = bytes(64), version: int = 1) -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY" + bytes([version, 0]) + len(header).to_bytes(2, "little") + header + content


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (npy("'<f8'", "(1000000000000, 4)"), r"says 32,000,000,000,000 bytes.*file holds 64"),
        (npy("'<f8'", "(2, 4)", bytes(72)), "says 64 bytes, .*file holds 72"),
        (npy("'<f8'", "(-2, -4)"), r"has shape \(-2, -4\)"),
        (npy("'<f8'", f"({'9' * 5000}, 4)"), "Cannot parse header"),
        (npy("'<f8'", "(True, 8)"), r"has shape \(True, 8\)"),
        (npy("'|O'", "(2, 4)"), "Object arrays cannot be loaded"),
        (npy("[('a', '<f8')]", "(2, 4)"), "expected real numbers"),
        (npy("('<f8', (4,))", "(2,)"), "expected real numbers"),
        (npy("'<c8'", "(2, 4)"), "expected real numbers"),
        (npy("[" * 3000 + "]" * 3000, "(2, 4)"), "not a readable .npy file"),
        (npy("'<f8'", "(2, 4)", version=9), r"format version \(9, 0\)"),
        (npy("'<f8'", "()", bytes(8)), r"has shape \(\), expected \[samples"),
    ],
)
def test_headers_that_do_not_fit(tmp_path: Path, raw: bytes, message: str) -> None:
    (tmp_path / "x.npy").write_bytes(raw)
    tracemalloc.start()
    with pytest.raises(InputError, match=message) as caught:
        data.load_array(tmp_path / "x.npy")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(str(caught.value).splitlines()) == 1
    assert peak < 2**23  # Python's parser takes some for a header of 5,000 characters


def test_an_archive_that_unpacks_to_much_more_than_it_is(tmp_path: Path) -> None:
    with (
        zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("x.npy", "w") as member,
    ):
        member.write(npy("'|u1'", "(300, 1048576)", b""))
        for _ in range(300):
            member.write(bytes(2**20))
    tracemalloc.start()
    with pytest.raises(InputError, match="bytes unpack to 314,"):
        data.load_array(tmp_path / "x.npz")
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()


def test_members_that_lie_are_refused(tmp_path: Path) -> None:
    for title, name, content in [
        ("other", "note.txt", b"hello"),
        ("long", "x.npy", npy("'<f8'", "(2, 4)", bytes(72))),
        ("claim", "x.npy", npy("'<f8'", "(1000000000000, 4)")),
    ]:
        with zipfile.ZipFile(tmp_path / f"{title}.npz", "w") as archive:
            archive.writestr(name, content)
        with pytest.raises(InputError, match=f"{title}.npz: not a readable .npz file"):
            data.load_array(tmp_path / f"{title}.npz")
    np.savez(tmp_path / "x.npz", x=np.eye(4))
    raw = bytearray((tmp_path / "x.npz").read_bytes())
    raw[200] ^= 1  # in the values, where the CRC notices it
    (tmp_path / "x.npz").write_bytes(raw)
    with pytest.raises(InputError, match="Bad CRC-32"):
        data.load_array(tmp_path / "x.npz")


def test_arrays_can_be_written_to(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((2, 3), np.float32))
    assert data.load_array(tmp_path / "x.npy").flags.writeable
