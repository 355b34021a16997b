"""Reading .pth without PyTorch: values, dtypes, views, wrappings.

The files read here are put together by hand, opcode by opcode, as `torch.save` does it, and share
nothing with `write_pth`. tests/interop/test_pth_torch.py repeats this with files of PyTorch's own.
"""

from __future__ import annotations

import pickle
import struct
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from msae_jax.errors import InputError
from msae_jax.interop import read_pth

ORDERED_DICT = b"ccollections\nOrderedDict\n)R"


def text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def numbers(*values: int) -> bytes:
    return b"(" + b"".join(b"J" + struct.pack("<i", value) for value in values) + b"t"


def tensor(
    key: str,
    count: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    offset: int = 0,
    storage: str = "torch FloatStorage",
    dtype: str = "",
) -> bytes:
    """The opcodes of a tensor; `dtype` makes it one of version 3."""
    module, name = storage.split()
    return (
        f"ctorch._utils\n_rebuild_tensor_v{3 if dtype else 2}\nq\x05".encode()
        + b"(("
        + text("storage")
        + f"c{module}\n{name}\n".encode()
        + text(key)
        + text("cuda:0")
        + b"J"
        + struct.pack("<i", count)
        + b"tq\x08Q"
        + b"J"
        + struct.pack("<i", offset)
        + numbers(*shape)
        + numbers(*strides)
        + b"\x89"
        + ORDERED_DICT
        + (f"ctorch\n{dtype}\n".encode() if dtype else b"")
        + b"tR"
    )


def state(**tensors: bytes) -> bytes:
    """The opcodes of a state dict, `_metadata` attribute included; `__` in names stands for `.`."""
    items = b"".join(text(name.replace("__", ".")) + item for name, item in tensors.items())
    metadata = (
        b"}" + text("_metadata") + ORDERED_DICT + text("") + b"}" + text("version") + b"K\x01"
    )
    return ORDERED_DICT + b"(" + items + b"u" + metadata + b"sss" + b"b"


def write_zip(path: Path, program: bytes, storages: dict[str, bytes] | None = None) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + program + b".")
        archive.writestr("archive/byteorder", "little")
        for key, data in (storages or {}).items():
            archive.writestr(f"archive/data/{key}", data)
        archive.writestr("archive/version", "3\n")
    return path


ONE = tensor("0", 2, (2,), (1,))
QUANTISED = b"ctorch._utils\n_rebuild_qtensor\n)R"
SPARSE = b"ctorch._utils\n_rebuild_sparse_tensor\n)R"
META = b"ctorch._utils\n_rebuild_meta_tensor_no_storage\n)R"
ONE_DATA = {"0": np.array([1.5, -2], "<f4").tobytes()}


@pytest.mark.parametrize(
    ("storage", "dtype"),
    [
        ("DoubleStorage", np.float64),
        ("FloatStorage", np.float32),
        ("HalfStorage", np.float16),
        ("BFloat16Storage", ml_dtypes.bfloat16),
        ("LongStorage", np.int64),
        ("IntStorage", np.int32),
        ("ShortStorage", np.int16),
        ("CharStorage", np.int8),
        ("ByteStorage", np.uint8),
        ("BoolStorage", np.bool_),
        ("ComplexFloatStorage", np.complex64),
        ("ComplexDoubleStorage", np.complex128),
    ],
)
def test_every_storage_type_arrives_with_its_dtype(tmp_path, storage, dtype):
    expected = np.array([[0, 1, 1], [1, 0, 0]]).astype(dtype)
    item = tensor("7", 6, (2, 3), (3, 1), storage=f"torch {storage}")
    path = write_zip(tmp_path / "a.pth", state(w=item), {"7": expected.tobytes()})
    got = read_pth(path)["w"]
    assert got.dtype == expected.dtype
    np.testing.assert_array_equal(got, expected)
    assert got.flags.owndata
    assert got.flags.writeable


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("uint16", np.uint16), ("uint64", np.uint64), ("float8_e4m3fn", ml_dtypes.float8_e4m3fn)],
)
def test_newer_dtypes_come_in_untyped_storages(tmp_path, name, dtype):
    expected = np.array([1, 2, 3]).astype(dtype)
    item = tensor(
        "0", expected.nbytes, (3,), (1,), storage="torch.storage UntypedStorage", dtype=name
    )
    path = write_zip(tmp_path / "a.pth", state(w=item), {"0": expected.tobytes()})
    got = read_pth(path)["w"]
    assert got.dtype == expected.dtype
    np.testing.assert_array_equal(got.astype(float), [1, 2, 3])


def test_views_of_one_storage_arrive_contiguous_and_apart(tmp_path):
    base = np.arange(12, dtype=np.float32)
    program = state(
        whole=tensor("0", 12, (3, 4), (4, 1)),
        transposed=tensor("0", 12, (4, 3), (1, 4)),
        column=tensor("0", 12, (3,), (4,), offset=2),
        repeated=tensor("0", 12, (2, 3), (0, 1), offset=9),
        scalar=tensor("0", 12, (), (), offset=11),
        odd_stride=tensor("0", 12, (1, 2), (1_000_000, 1)),
        empty=tensor("0", 12, (0, 5), (5, 1)),
    )
    got = read_pth(write_zip(tmp_path / "a.pth", program, {"0": base.tobytes()}))
    whole = base.reshape(3, 4)
    expected = {
        "whole": whole,
        "transposed": whole.T,
        "column": whole[:, 2],
        "repeated": [[9, 10, 11], [9, 10, 11]],
        "scalar": 11,
        "odd_stride": [[0, 1]],
        "empty": np.empty((0, 5)),
    }
    assert list(got) == list(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(got[name], value, strict=False)
        assert got[name].shape == np.shape(value)
        assert got[name].flags.c_contiguous
    got["whole"][:] = 0
    np.testing.assert_array_equal(got["transposed"], whole.T)


def test_counters_and_parameters(tmp_path):
    parameter = b"ctorch._utils\n_rebuild_parameter\n(" + ONE + b"\x88" + ORDERED_DICT + b"tR"
    program = state(
        bn__num_batches_tracked=tensor("1", 1, (), (), storage="torch LongStorage"),
        weight=parameter,
    )
    path = write_zip(tmp_path / "a.pth", program, ONE_DATA | {"1": struct.pack("<q", 2**40)})
    got = read_pth(path)
    assert list(got) == ["bn.num_batches_tracked", "weight"]
    assert got["bn.num_batches_tracked"].dtype == np.int64
    assert got["bn.num_batches_tracked"].shape == ()
    assert got["bn.num_batches_tracked"] == 2**40
    np.testing.assert_array_equal(got["weight"], np.array([1.5, -2], np.float32), strict=True)


@pytest.mark.parametrize(
    ("program", "keys"),
    [
        (state(a__w=ONE, b=ONE), ["a.w", "b"]),
        (b"}" + text("state_dict") + state(w=ONE) + b"s", ["w"]),
        (b"}" + text("model_state_dict") + state(w=ONE) + b"s", ["w"]),
        (b"}" + text("model") + state(w=ONE) + b"s", ["w"]),
        (b"}" + text("model") + b"}" + text("state_dict") + state(w=ONE) + b"ss", ["w"]),
        (b"}" + text("best") + ONE + b"s" + text("state_dict") + state(w=ONE) + b"s", ["w"]),
        (
            b"}" + text("model") + text("mlp") + b"s" + text("state_dict") + state(w=ONE) + b"s",
            ["w"],
        ),
        (state(w=ONE) + text("_metadata") + b"}s", ["w"]),
        (state(_metadata=ONE), ["_metadata"]),
        (state(module__a__w=ONE, module__b=ONE), ["a.w", "b"]),
        (state(module__a__w=ONE, b=ONE), ["module.a.w", "b"]),
        (state(_orig_mod__module__a=ONE), ["a"]),
        (state(module___orig_mod__a=ONE), ["a"]),
        (state(enc___orig_mod__a=ONE, b=ONE), ["enc.a", "b"]),
        (state(model__a=ONE, model__b=ONE), ["model.a", "model.b"]),
        (
            b"}"
            + text("pytorch-lightning_version")
            + text("2.5.0")
            + b"s"
            + text("state_dict")
            + state(model__a=ONE, model___orig_mod__b=ONE)
            + b"s",
            ["a", "b"],
        ),
    ],
)
def test_wrappings_and_prefixes(tmp_path, program, keys):
    got = read_pth(write_zip(tmp_path / "a.pth", program, ONE_DATA))
    assert list(got) == keys
    for array in got.values():
        np.testing.assert_array_equal(array, [1.5, -2])


def test_hyper_parameters_and_optimizer_states_are_passed_over(tmp_path):
    """What Lightning keeps beside the weights; the optimizer's storage need not even be there."""
    plain = pickle.dumps(
        {
            "lr": 1e-3, "big": 2**80, "layers": [1, 2, (3, None)], "name": "é", "raw": b"\0\xff",
            3: {4: True}, "set": {1, 2}, "frozen": frozenset("a"), "complex": 1j,
            ("a", 1): "tuple key", "array": bytearray(b"x"), "scalar": np.float64(0.5),
        },
        protocol=2,
    )  # fmt: skip
    program = (
        b"}("
        + text("hyper_parameters")
        + plain[2:-1]
        + text("milestones")
        + b"ccollections\nCounter\n}K\x05K\x01s\x85R"
        + text("optimizer_states")
        + b"](}K\x00}"
        + text("exp_avg")
        + tensor("gone", 2, (2,), (1,))
        + b"ss"
        + b"e"
        + text("dtype")
        + b"ctorch\nfloat32\n"
        + text("device")
        + b"ctorch\ndevice\n"
        + text("cpu")
        + b"\x85R"
        + text("state_dict")
        + state(w=ONE)
        + b"u"
    )
    assert list(read_pth(write_zip(tmp_path / "a.pth", program, ONE_DATA))) == ["w"]


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (b"N", "top-level keys: none"),
        (b"}", "an empty state dict"),
        (ONE, "one tensor [2] without a name"),
        (b"}" + text("epoch") + b"K\x03s", "top-level keys: epoch"),
        (
            b"}" + text("model") + state(w=ONE) + b"s" + text("state_dict") + state(w=ONE) + b"s",
            "several state dicts: model (1 tensors), state_dict (1 tensors). Say which with --key",
        ),
        (
            b"}" + text("net") + state(w=ONE) + b"s" + text("ema") + state(w=ONE) + b"s",
            "several state dicts: net (1 tensors), ema (1 tensors). Say which with --key",
        ),
        (b"}" + text("w") + ONE + b"s" + text("f") + QUANTISED + b"s", "f (quantised)"),
        (b"}" + text("w") + ONE + b"s" + text("f") + SPARSE + b"s", "f (sparse)"),
        (b"}" + text("w") + ONE + b"s" + text("f") + META + b"s", "f (a meta tensor"),
        (state(w=ONE, _orig_mod__w=ONE), "differ only in `_orig_mod.`"),
        (state(w=ONE) + text("w") + ONE + b"s", "the key 'w' is set twice"),
    ],
)
def test_anything_but_one_state_dict_of_arrays_is_refused(tmp_path, program, message):
    path = write_zip(tmp_path / "a.pth", program, ONE_DATA)
    with pytest.raises(InputError) as error:
        read_pth(path)
    assert message in str(error.value)
    assert str(path) in str(error.value)


ENCODER_AND_DECODER = (
    b"}" + text("nets") + b"}" + text("enc") + state(w=ONE) + b"s" + text("dec") + state(w=ONE)
    + b"ss" + text("epoch") + b"K\x03s"
)  # fmt: skip


@pytest.mark.parametrize(
    ("program", "key", "names"),
    [
        (b"}" + text("net") + state(w=ONE) + b"s" + text("epoch") + b"K\x03s", None, ["w"]),
        (b"]" + b"}" + text("a") + ONE + b"s" + b"a", None, ["a"]),
        (b"]" + ONE + b"a" + ONE + b"a", None, ["0", "1"]),
        (b"}" + b"K\x07" + ONE + b"s", None, ["7"]),
        (
            b"}" + text("ema") + state(w=ONE) + b"s" + text("model") + state(v=ONE) + b"s",
            None,
            ["v"],
        ),
        (
            b"}" + text("ema") + state(w=ONE) + b"s" + text("model") + state(v=ONE) + b"s",
            "ema",
            ["w"],
        ),
        (ENCODER_AND_DECODER, "nets.dec", ["w"]),
        (ENCODER_AND_DECODER, "nets.enc,nets.dec", ["enc.w", "dec.w"]),
    ],
)
def test_state_dicts_under_any_name(tmp_path, program, key, names):
    path = write_zip(tmp_path / "a.pth", program, ONE_DATA)
    got = read_pth(path, key)
    assert list(got) == names
    for array in got.values():
        np.testing.assert_array_equal(array, [1.5, -2])


def test_a_key_that_is_not_there_is_refused(tmp_path):
    path = write_zip(tmp_path / "a.pth", ENCODER_AND_DECODER, ONE_DATA)
    with pytest.raises(InputError, match=r"no state dict at nets\.x; it holds: nets\.enc \(1 tens"):
        read_pth(path, "nets.enc,nets.x")


def test_values_beside_tensors_are_left_out_with_a_warning(tmp_path):
    program = state(w=ONE) + text("epoch") + b"K\x03s" + text("note") + b"Ns"
    path = write_zip(tmp_path / "a.pth", program, ONE_DATA)
    with pytest.warns(UserWarning, match="more than tensors in its state dict; left out: epoch, n"):
        assert list(read_pth(path)) == ["w"]


def test_old_pickles_make_ordered_dicts_of_pairs(tmp_path):
    """As Python 2 did, and PyTorch with it."""
    program = b"ccollections\nOrderedDict\n(](](" + text("w") + ONE + b"eetR"
    assert list(read_pth(write_zip(tmp_path / "a.pth", program, ONE_DATA))) == ["w"]


def test_missing_file_and_folder_are_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_pth(tmp_path / "none.pth")
    with pytest.raises(InputError, match="is not a file"):
        read_pth(tmp_path)


def without_checksums(path: Path, *, but: str | None = None) -> None:
    """Makes every CRC-32 of a zip zero, in both of its headers, but that of one member."""
    with zipfile.ZipFile(path) as archive:
        checksums = [info.CRC for info in archive.infolist() if info.filename != but]
    data = path.read_bytes()
    for checksum in checksums:
        assert data.count(struct.pack("<I", checksum)) == 2
        data = data.replace(struct.pack("<I", checksum), bytes(4))
    path.write_bytes(data)


def test_a_file_without_checksums_is_read_with_a_warning(tmp_path):
    """PyTorch writes zeros where `set_crc32_options(False)` tells it not to compute them."""
    path = write_zip(tmp_path / "a.pth", state(w=ONE), ONE_DATA)
    without_checksums(path)
    with pytest.warns(UserWarning, match=r"a\.pth.*has no checksums.*nothing vouches"):
        got = read_pth(path)
    np.testing.assert_array_equal(got["w"], np.array([1.5, -2], np.float32))


def test_one_checksum_that_is_there_makes_the_others_count(tmp_path):
    path = write_zip(tmp_path / "a.pth", state(w=ONE), ONE_DATA)
    without_checksums(path, but="archive/data.pkl")
    with pytest.raises(InputError, match="CRC"):
        read_pth(path)
