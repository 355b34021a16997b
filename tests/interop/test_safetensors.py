"""Reading and writing safetensors, and choosing the format by suffix."""

from __future__ import annotations

import json
import os
import random
import stat
import struct
import tracemalloc

import ml_dtypes
import numpy as np
import pytest

from msae_jax.errors import InputError
from msae_jax.interop import read_safetensors, read_tensors, write_safetensors, write_tensors
from tests.interop.limits import MEMORY, in_time

ARRAYS = {
    "z.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "a.transposed": np.arange(6, dtype=np.float64).reshape(2, 3).T,
    "a.strided": np.arange(10, dtype=np.float16)[::3],
    "bf16": np.array([[1, -0.0], [np.inf, 3e-39]], ml_dtypes.bfloat16),
    "bn.num_batches_tracked": np.array(7),
    "flags": np.array([True, False]),
    "big_endian": np.array([1, 2], ">i4"),
    "empty": np.empty((3, 0), np.float32),
}


def file(header: object, data: bytes = b"") -> bytes:
    """A safetensors file by its specification: header length, JSON header, data."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(dtype: str, shape: list[int], begin: int, end: int) -> dict:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def test_what_is_written_is_read_back_bit_for_bit_in_order(tmp_path):
    path = tmp_path / "a.safetensors"
    write_safetensors(path, ARRAYS)
    got = read_safetensors(path)
    assert list(got) == list(ARRAYS)
    for key, array in ARRAYS.items():
        assert got[key].dtype == array.dtype.newbyteorder("<")
        assert got[key].shape == array.shape
        assert got[key].tobytes() == array.astype(got[key].dtype).tobytes()
        assert got[key].flags.owndata
        assert got[key].flags.writeable


def test_written_bytes_follow_the_specification(tmp_path):
    path = tmp_path / "a.safetensors"
    base = np.arange(6, dtype="<f4").reshape(2, 3)
    write_safetensors(path, {"w": base.T})
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    assert header["w"] == entry("F32", [3, 2], 0, 24)
    assert header["__metadata__"]["format"] == "pt"
    assert data[8 + length :] == np.array([0, 3, 1, 4, 2, 5], "<f4").tobytes()


def test_the_same_arrays_give_the_same_bytes(tmp_path):
    """The library's metadata come in another order each time."""
    written = []
    for i in range(8):
        path = tmp_path / f"{i}.safetensors"
        write_safetensors(path, ARRAYS | {'ü"': np.ones(2)}, note="é\n")
        written.append(path.read_bytes())
    assert set(written) == {written[0]}


def test_files_from_elsewhere(tmp_path):
    path = tmp_path / "a.safetensors"
    data = struct.pack("<2f", 1.5, -2) + struct.pack("<H", 0x3FC0)
    path.write_bytes(file({"b.w": entry("F32", [2], 0, 8), "a": entry("BF16", [], 8, 10)}, data))
    got = read_safetensors(path)
    np.testing.assert_array_equal(got["b.w"], np.array([1.5, -2], np.float32), strict=True)
    assert got["a"].dtype == ml_dtypes.bfloat16
    assert got["a"].shape == ()
    assert float(got["a"]) == 1.5


@pytest.mark.parametrize(
    "order", ['["b"]', '["a", "b", "b"]', '"ab"', "[[]]", "[1", "3", "[" * 9999]
)
def test_a_wrong_order_in_the_metadata_is_ignored(tmp_path, order):
    path = tmp_path / "a.safetensors"
    header = {
        "__metadata__": {"order": order},
        "a": entry("U8", [1], 0, 1),
        "b": entry("U8", [1], 1, 2),
    }
    path.write_bytes(file(header, b"\x01\x02"))
    assert {key: int(value[0]) for key, value in read_safetensors(path).items()} == {"a": 1, "b": 2}


HUGE = 2**62


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"1234567",
        bytes(8),
        b"PK\x03\x04" + bytes(100),
        struct.pack("<Q", 2**64 - 1) + b"{}",
        struct.pack("<Q", 100 << 20) + b"{}",
        struct.pack("<Q", 50) + b"{}",
        file(b"{"),
        file(b"\xff\xff"),
        file([1]),
        file(b"[" * 100_000),
        file(b'{"a":' * 100_000),
        file({"a": 3}),
        file({"a": entry("F32", [2], 0, 8)}, bytes(7)),
        file({"a": entry("F32", [2], 0, 8)}, bytes(9)),
        file({"a": entry("F32", [3], 0, 8)}, bytes(8)),
        file({"a": entry("F32", [2], 8, 0)}, bytes(8)),
        file({"a": entry("F32", [2], -8, 0)}, bytes(8)),
        file({"a": entry("F32", [-2], 0, 8)}, bytes(8)),
        file({"a": entry("F32", [HUGE, HUGE], 0, 8)}, bytes(8)),
        file({"a": entry("F32", [HUGE], 0, 4 * HUGE)}, bytes(8)),
        file({"a": entry("F32", [0, HUGE, HUGE], 0, 0)}),
        file({"a": entry("F32", [1] * 100, 0, 4)}, bytes(4)),
        file({"a": entry("F33", [2], 0, 8)}, bytes(8)),
        file({"a": entry("F8_E8M0", [8], 0, 8)}, bytes(8)),
        file({"a": entry("F32", [2], 0, 8), "b": entry("F32", [2], 0, 8)}, bytes(8)),
        file({"a": entry("F32", [1], 0, 4), "b": entry("F32", [1], 8, 12)}, bytes(12)),
        file({f"{k}": entry("F32", [0], 0, 0) for k in range(100_000)}),
        file({"a" * (5 << 20): entry("F32", [0], 0, 0)}),
    ],
    ids=lambda data: f"{data[8:30]!a}..{len(data)}",
)
def test_hostile_files(tmp_path, data):
    path = tmp_path / "a.safetensors"
    path.write_bytes(data)
    with in_time(), pytest.raises(InputError) as error:
        read_safetensors(path)
    assert error.type is InputError
    assert str(path) in str(error.value)
    tracemalloc.start()
    try:
        with pytest.raises(InputError):
            read_safetensors(path)
        assert tracemalloc.get_traced_memory()[1] < len(data) + MEMORY
    finally:
        tracemalloc.stop()


def test_the_largest_header_is_read_in_time(tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(file({f"{k}": entry("U8", [0], 0, 0) for k in range(60_000)}))
    assert path.stat().st_size > 3.5e6
    with in_time():
        assert len(read_safetensors(path)) == 60_000


@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_truncations_and_flips_raise_nothing_but_input_error(step, tmp_path):
    path = tmp_path / "a.safetensors"
    write_safetensors(path, ARRAYS)
    data = path.read_bytes()
    for length in range(0, len(data), step):
        path.write_bytes(data[:length])
        with pytest.raises(InputError):
            read_safetensors(path)
    generator = random.Random(0)
    start = 8 + struct.unpack("<Q", data[:8])[0]
    refused = 0
    for position in range(0, start, step):
        flipped = bytearray(data)
        flipped[position] ^= 1 << generator.randrange(8)
        path.write_bytes(flipped)
        try:
            read_safetensors(path)
        except InputError:
            refused += 1
    assert refused > start / step / 3


@pytest.mark.parametrize("name", ["a.pth", "a.pt", "a.ckpt", "A.PTH", "a.safetensors"])
def test_the_suffix_chooses_the_format(tmp_path, name):
    path = tmp_path / name
    write_tensors(path, ARRAYS)
    assert path.read_bytes().startswith(b"PK") == (not name.endswith("safetensors"))
    got = read_tensors(str(path))
    assert list(got) == list(ARRAYS)
    np.testing.assert_array_equal(got["z.weight"], ARRAYS["z.weight"], strict=True)
    with pytest.raises(InputError, match="overwrite=True"):
        write_tensors(path, ARRAYS)
    write_tensors(path, {"w": np.ones(2)}, overwrite=True)
    assert list(read_tensors(path)) == ["w"]
    assert [item.name for item in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o007, 0o660)])
@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
def test_files_have_the_mode_that_open_gives(tmp_path, name, umask, mode):
    before = os.umask(umask)
    try:
        write_tensors(tmp_path / name, ARRAYS)
        write_tensors(tmp_path / name, ARRAYS, overwrite=True)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / name).stat().st_mode) == mode


@pytest.mark.parametrize("name", ["a.tar", "a", "pth", "a.pth.gz", "a.npz"])
def test_other_suffixes_are_refused(tmp_path, name):
    for call in (lambda: read_tensors(name), lambda: write_tensors(tmp_path / name, ARRAYS)):
        with pytest.raises(
            InputError, match=r"\.pth, \.pt, \.ckpt, \.bin, \.pth\.tar, \.safetensors"
        ):
            call()
    assert not list(tmp_path.iterdir())


def test_formats_are_not_taken_for_each_other(tmp_path):
    write_tensors(tmp_path / "a.pth", ARRAYS)
    (tmp_path / "a.pth").rename(tmp_path / "b.safetensors")
    with pytest.raises(InputError, match="not a safetensors file"):
        read_tensors(tmp_path / "b.safetensors")
    write_tensors(tmp_path / "c.safetensors", ARRAYS)
    (tmp_path / "c.safetensors").rename(tmp_path / "d.pth")
    with pytest.raises(InputError, match="not a zip"):
        read_tensors(tmp_path / "d.pth")
    with pytest.raises(InputError, match="does not exist"):
        read_tensors(tmp_path / "none.safetensors")


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({}, "got 0 tensors"),
        ({"w": np.zeros(2, np.complex128)}, "w has dtype complex128"),
        ({"w": np.array([None])}, "w has dtype object"),
        ({"__metadata__": np.zeros(2)}, "__metadata__"),
    ],
)
def test_what_the_format_cannot_hold_is_not_written(tmp_path, tensors, message):
    with pytest.raises(InputError, match=message):
        write_safetensors(tmp_path / "a.safetensors", tensors)
    assert not list(tmp_path.iterdir())


def test_a_write_that_fails_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="cannot be written"):
        write_safetensors(tmp_path / "no folder" / "a.safetensors", ARRAYS)
