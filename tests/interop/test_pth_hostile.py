"""Hostile .pth files: nothing runs, only InputError is raised, in bounded time and memory.

Each file is read twice: for the time, then under tracemalloc (which counts NumPy's memory too).
"""

from __future__ import annotations

import io
import os
import pickle
import random
import struct
import time
import tracemalloc
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from msae_jax.errors import InputError
from msae_jax.interop import read_pth, write_pth

SECONDS = 1.0
MEMORY = 200e6

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


@pytest.fixture
def sentinel(tmp_path: Path) -> Path:
    """The file that hostile pickles try to make."""
    return tmp_path / "ran"


@pytest.fixture
def refuse(tmp_path: Path, sentinel: Path) -> Callable[[bytes], str]:
    """Asserts that a file is refused as promised; returns the message."""

    def check(data: bytes) -> str:
        path = tmp_path / "hostile.pth"
        path.write_bytes(data)
        start = time.process_time()
        with pytest.raises(InputError) as caught:
            read_pth(path)
        seconds = time.process_time() - start
        assert caught.type is InputError
        assert seconds < SECONDS
        tracemalloc.start()
        try:
            with pytest.raises(InputError):
                read_pth(path)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < len(data) + MEMORY
        assert not sentinel.exists()
        message = str(caught.value)
        assert message.startswith(f"{path} ")
        assert len(message) < 2_000
        print(f"{seconds:.3f} s, {peak / 1e6:.1f} MB, file {len(data) / 1e6:.1f} MB: {message}")
        return message.removeprefix(str(path))

    return check


class Touch:
    """Makes a file when unpickled."""

    def __init__(self, path: Path, protocol: int) -> None:
        self.path = path
        self.protocol = protocol

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.path}",)


def test_the_sentinel_works(sentinel):
    pickle.loads(pickle.dumps(Touch(sentinel, 2)))
    assert sentinel.exists()


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("wrap", ["bare", "value", "nested", "checkpoint", "not zipped"])
def test_code_from_the_pickle_module(refuse, sentinel, protocol, wrap):
    touch = Touch(sentinel, protocol)
    value = {
        "bare": touch,
        "value": {"w": touch},
        "nested": {"a": [1, ({"b": (touch,)},)]},
        "checkpoint": {"state_dict": {}, "hyper_parameters": {"lr": 1e-3, "f": touch}},
        "not zipped": touch,
    }[wrap]
    program = pickle.dumps(value, protocol=protocol)
    message = refuse(program if wrap == "not zipped" else zipped(program[:-1]))
    assert f"wants to run {os.name}.system" in message
    assert "Nothing was run" in message
    assert "torch.save(model.state_dict(), path)" in message


def opcodes_that_run(path: str) -> dict[str, tuple[bytes, str]]:
    call = text(f"touch {path}")
    system = b"cposix\nsystem\n"
    short = b"\x8c\x05posix\x8c\x06system\x93"
    exec_ = f"open({path!r}, 'w')"
    return {
        "REDUCE": (system + call + b"\x85R", "posix.system"),
        "GLOBAL alone": (system, "posix.system"),
        "STACK_GLOBAL": (short + call + b"\x85R", "posix.system"),
        "STACK_GLOBAL from the memo": (
            text("system") + b"q\x01" + text("posix") + b"q\x02h\x02h\x01\x93" + call + b"\x85R",
            "posix.system",
        ),
        "dotted name": (b"cos\npath.os.system\n" + call + b"\x85R", "os.path.os.system"),
        "INST": (b"(" + call + b"iposix\nsystem\n", "posix.system"),
        "INST, protocol 0": (f"(S'touch {path}'\nios\nsystem\n".encode(), "os.system"),
        "OBJ": (b"(" + system + call + b"o", "posix.system"),
        "NEWOBJ": (b"csubprocess\nPopen\n" + call + b"\x85\x81", "subprocess.Popen"),
        "NEWOBJ_EX": (b"csubprocess\nPopen\n)}\x92", "subprocess.Popen"),
        "eval": (b"c__builtin__\neval\n" + text(exec_) + b"\x85R", "builtins.eval"),
        "getattr": (b"c__builtin__\ngetattr\n", "builtins.getattr"),
        "BUILD": (b"ctypes\nSimpleNamespace\n)\x81}" + text("a") + b"Nsb", "types.SimpleNamespace"),
        "popped again": (system + call + b"\x85R0N", "posix.system"),
        "after other values": (state(tensor()) + system + call + b"\x85R0", "posix.system"),
        "in a state dict": (state(system + call + b"\x85R"), "posix.system"),
        "as a key": (b"}" + system + call + b"\x85RNs", "posix.system"),
        "in a list of a wrapped checkpoint": (
            b"}" + text("state_dict") + state(tensor()) + b"s" + text("x") + b"]" + system + b"as",
            "posix.system",
        ),
        "metadata": (
            state(tensor()) + b"}" + text("_metadata") + system + call + b"\x85Rsb",
            "posix.system",
        ),
        "backward hooks": (state(tensor()).replace(ORDERED_DICT + b"tR", system), "posix.system"),
        "persistent id": (
            b"(" + text("storage") + system + text("0") + text("cpu") + b"K\x02tQ",
            "posix.system",
        ),
        "torch's own loader": (b"ctorch\nload\n" + text(path) + b"\x85R", "torch.load"),
        "torch.storage's loader": (
            b"ctorch.storage\n_load_from_bytes\nC\x04abcd\x85R",
            "torch.storage._load_from_bytes",
        ),
        "a whole module": (b"c__main__\nNet\n)\x81}b", "__main__.Net"),
        "NEWOBJ of an allowed name": (
            b"ccollections\nOrderedDict\n)\x81",
            "NEWOBJ collections.OrderedDict",
        ),
        "OBJ of an allowed name": (b"(ccollections\nOrderedDict\no", "OBJ collections.OrderedDict"),
        "INST of an allowed name": (b"(icollections\nOrderedDict\n", "collections.OrderedDict"),
        "EXT1": (b"\x82\x07", "EXT1 7"),
        "EXT4": (b"\x84\x07\0\0\0", "EXT4 7"),
        "escape sequences": (b"c\x1b[31mos\nsystem\n", "\\x1b[31mos.system"),
    }


@pytest.mark.parametrize("name", opcodes_that_run(""))
def test_code_from_raw_opcodes_is_named(refuse, sentinel, name):
    program, wanted = opcodes_that_run(str(sentinel))[name]
    message = refuse(zipped(program))
    assert f"wants to run {wanted}" in message
    assert message.isprintable()


def test_attributes_set_on_a_state_dict_do_nothing(tmp_path):
    attributes = b"}" + text("keys") + b"N" + b"s" + text("__class__") + b"Nsb"
    path = tmp_path / "a.pth"
    path.write_bytes(zipped(state(tensor()) + attributes))
    assert list(read_pth(path)) == ["w"]


@pytest.mark.parametrize(
    "data",
    [b"", b"P", b"PK", b"PK\x03\x04", b"\x89PNG\r\n\x1a\n" + bytes(100), b"<html>", bytes(5_000)],
)
def test_other_files(refuse, data):
    assert "PyTorch weights file" in refuse(data)


def test_the_format_before_pytorch_1_6(refuse):
    magic = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)
    rest = [pickle.dumps(value, protocol=2) for value in (1001, {"little_endian": True})]
    message = refuse(magic + b"".join(rest) + PROTO + state(tensor()) + b"." + bytes(1_000))
    assert "before 1.6" in message
    assert "torch.save(model.state_dict(), path)" in message


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


def test_every_truncation(tmp_path):
    data = real_file(tmp_path)
    path = tmp_path / "a.pth"
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(InputError, match=r"truncated|not a zip"):
            read_pth(path)


def test_flipped_bytes_are_noticed_or_do_not_matter(tmp_path):
    data = real_file(tmp_path)
    path = tmp_path / "real.pth"
    expected = read_pth(path)
    generator = random.Random(0)
    refused = 0
    for position in range(len(data)):
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
    assert refused > len(data) / 2


@pytest.mark.filterwarnings("ignore:invalid escape sequence:DeprecationWarning")
def test_scrambled_pickles_with_a_right_crc(tmp_path, sentinel):
    """The zip is sound, its pickle is not: still nothing but InputError."""
    program = state(tensor()) + b"}" + text("_metadata") + ORDERED_DICT + b"sb"
    generator = random.Random(1)
    path = tmp_path / "a.pth"
    refused = 0
    for _ in range(2_000):
        scrambled = bytearray(program)
        for _ in range(generator.randint(1, 6)):
            scrambled[generator.randrange(len(scrambled))] = generator.randrange(256)
        path.write_bytes(zipped(bytes(scrambled)))
        try:
            read_pth(path)
        except InputError:
            refused += 1
    assert refused > 1_000


def test_a_wrong_crc(refuse):
    data = zipped(state(tensor()), b"\x01\x02\x03\x04\x05\x06\x07\x08")
    assert "CRC" in refuse(data.replace(b"\x01\x02\x03\x04\x05\x06\x07\x08", bytes(8)))


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (tensor(count=3, shape=(3,)), "shorter than claimed"),
        (tensor(count=2**40, shape=(2**40,)), "shorter than claimed|beyond twice"),
        (tensor(count=2**70), "not that of a storage"),
        (tensor(count=-2), "not that of a storage"),
        (tensor(shape=(3,)), "beyond its storage"),
        (tensor(strides=(2,)), "beyond its storage"),
        (tensor(offset=1), "beyond its storage"),
        (tensor(offset=-1), "negative"),
        (tensor(strides=(-1,)), "negative"),
        (tensor(shape=(-2,)), "negative"),
        (tensor(shape=(2**62,), strides=(0,)), "huge"),
        (tensor(shape=(2**61,), strides=(0,)), "beyond twice"),
        (tensor(shape=(2**31,) * 4, strides=(0,) * 4), "beyond twice"),
        (tensor(shape=(2**31, 2**31), strides=(2**61, 2**61)), "beyond its storage"),
        (tensor(shape=(0, 2**61, 2**61), strides=(1, 1, 1)), "corrupt"),
        (tensor(shape=(2, 1)), "do not match"),
        (tensor(shape=(1,) * 65, strides=(1,) * 65), "do not match"),
        (tensor(key="1"), "data/1"),
        (tensor(key="../version"), "version"),
        (tensor(key="/etc/passwd"), "etc/passwd"),
        (tensor().replace(ORDERED_DICT + b"tR", ORDERED_DICT + b"\x88tR"), "conjugated"),
        (tensor().replace(text("storage"), text("module.")), "not that of a storage"),
        (tensor().replace(b"ctorch\nFloatStorage\n", b"N"), "corrupt"),
        (tensor().replace(b"tQ", b"t"), "corrupt"),
        (b"ctorch\nFloatStorage\n" + number(10**9) + b"\x85R", "is called"),
        (b"c__builtin__\nbytearray\n" + number(10**12) + b"\x85R", "in its state dict"),
    ],
)
def test_lying_tensors(refuse, item, message):
    data = state(tensor()) + text("liar") + item + b"s"
    assert any(part in refuse(zipped(data)) for part in message.split("|"))


@pytest.mark.parametrize(
    "program",
    [
        b"",
        b"N0",
        b"R",
        b"t",
        b"s",
        b"h\x07",
        b"\x94",
        b"(" * 5,
        b"]N(e(e(e",
        b"X\xff\xff\xff\xff",
        b"X\x02\x00\x00\x00\xff\xff",
        b"\x8d" + struct.pack("<Q", 2**62),
        b"\x8e" + struct.pack("<Q", 2**62),
        b"\x96" + struct.pack("<Q", 2**62),
        b"\x8b" + struct.pack("<i", -5),
        b"\x8b" + struct.pack("<i", 2**31 - 1),
        b"\x95" + struct.pack("<Q", 2**62),
        b"I" + b"9" * 100_000 + b"\n",
        b"L" + b"9" * 100_000 + b"L\n",
        b"Np" + b"9" * 4_000 + b"\n",
        b"Np-1\n",
        b"F1e\n",
        b"S'\n",
        b"\x97",
        b"N\x98",
        b"\xff",
        b"NNNu",
        b"}(Nu",
        b"}(Ne",
        b"](NNu",
        b")Na",
        b"}Na",
        b"N}b",
        b"NNR",
        b"(i",
        b"Pfile:/etc/passwd\n",
        b"K\x01K\x02\x93",
        b"ccollections\nOrderedDict\n(((NNtttR",
        b"c__builtin__\nlist\n}R",
        b"N\x8c\x01a\x93",
    ],
)
def test_malformed_pickles(refuse, program):
    refuse(zipped(program))


LIMIT = 199_000
SMALL_TENSOR = tensor(1, (1,) * 64, (1,) * 64)


def doubling(rounds: int) -> bytes:
    """A tuple of itself twice, and so on: little memory, but 2**rounds to walk."""
    return b"Nq\x00" + b"h\x00h\x00\x86q\x00" * rounds


@pytest.mark.parametrize(
    "program",
    [
        b"}" * LIMIT,
        b"N0" * 4_000_000,
        b"(" * LIMIT,
        b"N" + b"\x85" * LIMIT,
        b"]q\x00" + b"]h\x00a" * (LIMIT // 4),
        b"]" + b"(]" * (LIMIT // 3) + b"e" * (LIMIT // 3),
        *(
            doubling(rounds) + end
            for rounds in (50, 30_000)
            for end in (
                b"",
                b"}h\x00Ns",
                b"h\x00\x93",
                b"ccollections\nOrderedDict\nh\x00R",
                b"h\x00Q",
                b"ctorch._utils\n_rebuild_parameter\nh\x00R",
                REBUILD + b"h\x00R",
                tensor().replace(b"K\x02tQ", b"h\x00tQ"),
            )
        ),
        b"]q\x00" + b"(" + b"h\x00" * 1_000 + b"e" + b"h\x00(" + b"h\x00" * 1_000 + b"e",
        b"}q\x00" + text("model") + b"h\x00s" + text("state_dict") + b"h\x00s",
        b"}(" + b"".join(number(k * (2**61 - 1)) + b"N" for k in range(LIMIT // 2)) + b"u",
        b"N" + b"".join(b"p%d\n" % (k * (2**61 - 1)) for k in range(LIMIT)),
        b"N" + b"".join(b"r" + struct.pack("<I", k << 14) for k in range(LIMIT)),
        b"ccollections\nOrderedDict\n" * LIMIT,
        b"\x8c\x05torch\x8c\x07float32q\x01q\x000" + b"".join([b"h\x00h\x01\x93"] * (LIMIT // 3)),
        SMALL_TENSOR[: len(REBUILD)] + b"q\x00" + SMALL_TENSOR[len(REBUILD) : -1] + b"q\x01"
        + b"h\x00h\x01R" * (LIMIT // 3),
        b"(" + b"N" * 100_000 + b"tq\x00" + REBUILD + b"q\x01" + b"h\x01h\x00R" * 10_000,
        b"(" + b"N" * 100_000 + b"tq\x000" + b"h\x00Q" * 10_000,
        b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu")
        + b"K\x01tq\x00" + b"h\x00Q" * (LIMIT // 2),
        text("\U0001f600" + "a" * (16 << 20)),
        text("\U0001f600" + "a" * ((16 << 20) - 200)),
        b"}" + text("module." * 2_000_000) + tensor() + b"s",
        b"}" + text("_orig_mod." * 1_500_000) + tensor() + b"s",
        b"c" + b"a" * 10_000_000 + b"\nb\n",
        number(2 ** (8 * 8_000_000)) + b"q\x00" + state(tensor().replace(b"K\x02tQ", b"h\x00tQ")),
        b"}(" + b"".join(text(str(k)) + b"K\x01" for k in range(LIMIT // 2)) + text("w") + tensor()
        + b"u",
        b"}" + text("w") + tensor(1, (2**24 + 2**20,), (0,)) + b"s",
        b"}" + tensor() + b"q\x000("
        + b"".join(text(str(k)) + b"h\x00" for k in range(90_000)) + b"u",
    ],
    ids=lambda program: f"{program[:12]!a}..{len(program)}",
)  # fmt: skip
def test_bombs_inside_the_pickle(refuse, program):
    refuse(zipped(program))


def test_the_largest_file_within_the_limits_is_read_in_time(tmp_path):
    """Repeats a storage up to the limit, in as many tensors as are allowed."""
    view = tensor(1, (3_300,), (0,))
    program = b"}(" + b"".join(text(f"w{index}") + view for index in range(4_900)) + b"u"
    path = tmp_path / "a.pth"
    path.write_bytes(zipped(program))
    tracemalloc.start()
    try:
        assert len(read_pth(path)) == 4_900
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert 60e6 < peak < MEMORY
    start = time.process_time()
    read_pth(path)
    assert time.process_time() - start < SECONDS


def test_storages_are_let_go_once_read(tmp_path):
    """An ordinary file takes its own size and one storage more, not twice its size."""
    path = tmp_path / "a.pth"
    write_pth(path, {f"w{index}": np.zeros(1 << 20, np.float32) for index in range(8)})
    tracemalloc.start()
    try:
        read_pth(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < path.stat().st_size + (8 << 20)


def members(*names: str, data: bytes = b"", **options: int) -> bytes:
    stream = io.BytesIO(zipped(state(tensor())))
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "a", **options) as archive:
        warnings.simplefilter("ignore")
        for name in names:
            archive.writestr(name, data)
    return stream.getvalue()


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
