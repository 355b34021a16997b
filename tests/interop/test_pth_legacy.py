"""Reading the format before PyTorch 1.6, without PyTorch; hostile and damaged files of it.

The files are put together by hand; those of PyTorch's own writing are in test_pth_torch.py.
"""

from __future__ import annotations

import pickle
import struct
from pathlib import Path

import numpy as np
import pytest

from msae_jax.errors import InputError
from msae_jax.interop import read_pth
from tests.interop.test_pth_reading import state, tensor, text

MAGIC = 0x1950A86A20F9469CFC6C
SYSTEM = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}
W = np.array([[1.5, -2, 3], [0, 7, -0.0]], "<f4")
COUNT = np.array(2**40, "<i8")
STORED = ("5", 6, W.tobytes())


def pickled(value: object) -> bytes:
    return pickle.dumps(value, protocol=2)


def legacy(
    program: bytes | None = None,
    storages: tuple[tuple[str, int, bytes], ...] = (
        STORED,
        ("6", 1, COUNT.tobytes()),
    ),
    magic: int = MAGIC,
    protocol: int = 1001,
    system: object = SYSTEM,
    part: bytes = b"N",
) -> bytes:
    """The bytes of a file.

    `storages` are key, number of elements, and data; `part` the opcodes that say which part of a
    storage a tensor views, none by default.
    """
    if program is None:
        program = state(
            w=tensor("5", 6, (2, 3), (3, 1)),
            n=tensor("6", 1, (), (), storage="torch LongStorage"),
        )
    return (
        b"".join(pickled(value) for value in (magic, protocol, system))
        + b"\x80\x02"
        + program.replace(b"tq\x08Q", part + b"tq\x08Q")
        + b"."
        + pickled([key for key, _, _ in storages])
        + b"".join(struct.pack("<q", count) + data for _, count, data in storages)
    )


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.filterwarnings("ignore:.*nothing vouches:UserWarning")
@pytest.mark.parametrize("name", ["a.pth", "a.pth.tar", "a.bin"])
def test_arrays_arrive_as_they_are(tmp_path, name):
    got = read_pth(write(tmp_path / name, legacy()))
    assert list(got) == ["w", "n"]
    np.testing.assert_array_equal(got["w"], W, strict=True)
    assert got["w"].tobytes() == W.tobytes()
    np.testing.assert_array_equal(got["n"], COUNT, strict=True)
    assert all(array.flags.owndata and array.flags.c_contiguous for array in got.values())


def test_it_is_said_that_nothing_vouches_for_the_bytes(tmp_path):
    with pytest.warns(UserWarning, match=r"a\.pth, a PyTorch file of the format before 1\.6,"):
        read_pth(write(tmp_path / "a.pth", legacy()))


@pytest.mark.filterwarnings("ignore:.*nothing vouches:UserWarning")
def test_a_tensor_may_view_a_part_of_a_storage(tmp_path):
    program = state(w=tensor("5", 6, (2,), (1,)))
    part = b"(" + text("own key") + b"K\x04K\x02t"  # of elements 4 and 5
    data = legacy(program, (STORED,), part=part)
    np.testing.assert_array_equal(read_pth(write(tmp_path / "a.pth", data))["w"], [7, 0])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (legacy(magic=3), "not a zip file"),
        (legacy(protocol=1002), "its protocol is 1002"),
        (legacy(system={"little_endian": False}), "little-endian"),
        (legacy(system=3), "little-endian"),
        (legacy(storages=(STORED,)), "its list of storages"),
        (legacy(storages=(STORED,) * 2), "its list of storages"),
        (legacy(storages=(("5", 5, W.tobytes()), ("6", 1, bytes(8)))), "has 20 bytes where"),
        (legacy(storages=(("5", -6, W.tobytes()), ("6", 1, bytes(8)))), "has -24 bytes where"),
        (legacy(storages=(STORED, ("6", 1, bytes(7)))), "ends behind the file"),
        (legacy(storages=(STORED, ("6", 2**60, bytes(8)))), "bytes where"),
        (legacy(b"cposix\nsystem\n" + text("x") + b"\x85R"), "wants to run posix.system"),
        (legacy(state(w=tensor("5", 6, (7,), (1,)))), "beyond its storage"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_file_is_said(refuse, data, message):
    assert message in refuse(data)


def test_every_truncation_is_refused(tmp_path):
    data = legacy()
    for length in range(len(data)):
        with pytest.raises(InputError):
            read_pth(write(tmp_path / "a.pth", data[:length]))
