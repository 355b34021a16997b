"""Writing .pth without PyTorch, and what is written read back; published files."""

from __future__ import annotations

import io
import zipfile

import ml_dtypes
import numpy as np
import pytest

from msae_jax.errors import InputError
from msae_jax.interop import read_pth, write_pth

ARRAYS = {
    "z.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "a.transposed": np.arange(6, dtype=np.float64).reshape(2, 3).T,
    "a.strided": np.arange(10, dtype=np.float16)[::3],
    "bf16": np.array([[1, -0.0], [np.inf, 3e-39]], ml_dtypes.bfloat16),
    "bn.num_batches_tracked": np.array(7),
    "flags": np.array([True, False]),
    "bytes": np.array([0, 255], np.uint8),
    "small": np.array([-1], np.int8),
    "big_endian": np.array([1, 2], ">i4"),
    "complex": np.array([1 + 2j], np.complex64),
    "empty": np.empty((3, 0), np.float32),
    "nan": np.array([np.nan, -np.nan], np.float32),
    "ключ": np.zeros((1, 2, 1), np.int16),
}


def test_what_is_written_is_read_back_bit_for_bit(tmp_path):
    path = tmp_path / "a.pth"
    write_pth(path, ARRAYS)
    got = read_pth(path)
    assert list(got) == list(ARRAYS)
    for key, array in ARRAYS.items():
        assert got[key].dtype == array.dtype.newbyteorder("<")
        assert got[key].shape == array.shape
        assert got[key].tobytes() == array.astype(got[key].dtype).tobytes()


def test_written_files_are_deterministic_aligned_and_as_torch_save_lays_them_out(tmp_path):
    base = np.arange(12, dtype=np.float32).reshape(3, 4)
    write_pth(tmp_path / "a.pth", {"w": base[:, :1]})
    write_pth(tmp_path / "b.pth", {"w": np.ascontiguousarray(base[:, :1])})
    data = (tmp_path / "a.pth").read_bytes()
    assert data == (tmp_path / "b.pth").read_bytes()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert archive.read("archive/version") == b"3\n"
        assert archive.read("archive/byteorder") == b"little"
        info = archive.getinfo("archive/data/0")
        assert info.compress_type == zipfile.ZIP_STORED
    start = data.index(base[:, 0].tobytes())
    assert start % 64 == 0


def test_existing_files_are_kept_unless_overwriting_is_asked_for(tmp_path):
    path = tmp_path / "a.pth"
    path.write_bytes(b"precious")
    with pytest.raises(InputError, match="overwrite=True"):
        write_pth(path, ARRAYS)
    assert path.read_bytes() == b"precious"
    write_pth(path, ARRAYS, overwrite=True)
    assert list(read_pth(path)) == list(ARRAYS)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({}, "got 0 tensors"),
        ({"w": np.zeros(2, np.uint16)}, "w has dtype uint16"),
        ({"w": np.array(["a"])}, "w has dtype"),
        ({"w": np.array([None])}, "w has dtype object"),
        ({"": np.zeros(2)}, "dotted key"),
        ({3: np.zeros(2)}, "dotted key"),
        ({"a\ud800": np.zeros(2)}, "dotted key"),
        ({"a" * 1001: np.zeros(2)}, "dotted key"),
    ],
)
def test_what_a_state_dict_cannot_hold_is_not_written(tmp_path, tensors, message):
    with pytest.raises(InputError, match=message):
        write_pth(tmp_path / "a.pth", tensors)
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_nothing_and_keeps_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "a.pth"
    path.write_bytes(b"precious")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "writestr", full)
    with pytest.raises(InputError, match="No space left"):
        write_pth(path, ARRAYS, overwrite=True)
    assert [item.name for item in tmp_path.iterdir()] == ["a.pth"]
    assert path.read_bytes() == b"precious"
    with pytest.raises(InputError, match="cannot be written"):
        write_pth(tmp_path / "no folder" / "a.pth", ARRAYS)
    with pytest.raises(InputError, match="cannot be written"):
        write_pth(path / "a.pth", ARRAYS)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "msae.pth",
            {
                "enc_short.1": (16, 1, 3),
                "enc_short.3": (32, 16, 3),
                "enc_short.7": (128, 512),
                "enc_short.9": (32, 128),
                "enc_long.1": (16, 1, 7),
                "enc_long.3": (32, 16, 7),
                "enc_long.7": (128, 256),
                "enc_long.9": (32, 128),
                "decoder.0": (128, 64),
                "decoder.2": (128, 128),
            },
        ),
        (
            "baseae.pth",
            {
                "encoder.0": (128, 128),
                "encoder.2": (64, 128),
                "decoder.0": (128, 64),
                "decoder.2": (128, 128),
            },
        ),
    ],
)
def test_published_checkpoints(tmp_path, reference, name, expected):
    path = reference(name)
    got = read_pth(path)
    shapes = {
        f"{layer}.{part}": shape[:ndim]
        for layer, shape in expected.items()
        for part, ndim in (("weight", None), ("bias", 1))
    }
    assert {key: array.shape for key, array in got.items()} == shapes
    assert list(got) == list(shapes)
    assert {array.dtype for array in got.values()} == {np.dtype(np.float32)}
    count = {"msae.pth": 137_024, "baseae.pth": 49_600}[name]
    assert sum(array.size for array in got.values()) == count

    with zipfile.ZipFile(path) as archive:  # a storage per tensor, in the same order
        for index, array in enumerate(got.values()):
            assert archive.read(f"{name.removesuffix('.pth')}/data/{index}") == array.tobytes()

    write_pth(tmp_path / name, got)
    again = read_pth(tmp_path / name)
    assert list(again) == list(got)
    assert all(again[key].tobytes() == got[key].tobytes() for key in got)
