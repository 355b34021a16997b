"""Sound zip files whose pickle lies, is malformed or explodes: refused within limits."""

from __future__ import annotations

import random
import struct
import tracemalloc

import numpy as np
import pytest

from msae_jax.errors import InputError
from msae_jax.interop import read_pth, write_pth
from tests.interop.hostile_pth import (
    ORDERED_DICT,
    REBUILD,
    number,
    state,
    tensor,
    text,
    zipped,
)
from tests.interop.limits import MEMORY, in_time


@pytest.mark.filterwarnings("ignore:invalid escape sequence:DeprecationWarning")
@pytest.mark.parametrize("count", [400, pytest.param(2_000, marks=pytest.mark.slow)])
def test_scrambled_pickles_with_a_right_crc(count, tmp_path, sentinel):
    """The zip is sound, its pickle is not: still nothing but InputError."""
    program = state(tensor()) + b"}" + text("_metadata") + ORDERED_DICT + b"sb"
    generator = random.Random(1)
    path = tmp_path / "a.pth"
    refused = 0
    for _ in range(count):
        scrambled = bytearray(program)
        for _ in range(generator.randint(1, 6)):
            scrambled[generator.randrange(len(scrambled))] = generator.randrange(256)
        path.write_bytes(zipped(bytes(scrambled)))
        try:
            read_pth(path)
        except InputError:
            refused += 1
    assert refused > count / 2


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (tensor(count=3, shape=(3,)), "two sizes"),
        (tensor(count=2**40, shape=(2**40,)), "two sizes"),
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
        (b"c__builtin__\nbytearray\n" + number(10**12), "is malformed|corrupt"),
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


def slow(program: bytes):
    """Marks what is refused as one of the others is, only after more work."""
    return pytest.param(program, marks=pytest.mark.slow)


def doubling(rounds: int) -> bytes:
    """A tuple of itself twice, and so on: little memory, but 2**rounds to walk."""
    return b"Nq\x00" + b"h\x00h\x00\x86q\x00" * rounds


@pytest.mark.parametrize(
    "program",
    [
        b"}" * LIMIT,
        b"N0" * 4_000_000,
        slow(b"(" * LIMIT),
        b"N" + b"\x85" * LIMIT,
        slow(b"]q\x00" + b"]h\x00a" * (LIMIT // 4)),
        slow(b"]" + b"(]" * (LIMIT // 3) + b"e" * (LIMIT // 3)),
        doubling(30_000),
        *(
            program
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
            for program in (doubling(50) + end, *([slow(doubling(30_000) + end)] if end else []))
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
        b"}" + text("w") + tensor(1, (2**24 + 2**20,), (0,)) + b"s",
        b"}" + tensor() + b"q\x000("
        + b"".join(text(str(k)) + b"h\x00" for k in range(90_000)) + b"u",
    ],
    ids=lambda program: f"{program[:12]!a}..{len(program)}",
)  # fmt: skip
def test_bombs_inside_the_pickle(refuse, program):
    refuse(zipped(program))


def test_names_are_counted(refuse):
    """They take the longest to read; torch.save writes each once."""
    names = b"ccollections\nOrderedDict\n"
    assert "50000 names" in refuse(zipped(names * 50_001))
    assert "50000 names" not in refuse(zipped(names * 50_000))


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
    with in_time():
        read_pth(path)


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
