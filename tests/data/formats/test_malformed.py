"""Malformed files of every format: one line that says what is wrong."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from msae_jax import data
from msae_jax.errors import InputError
from tests.cli.in_process import msae
from tests.data.formats.writers import encoded, hugging_face, put, zarr, zarr_group, zipped

X = np.random.default_rng(0).random((20, 4)).astype(np.float32)
GREY = np.random.default_rng(1).integers(0, 256, (6, 8, 8), dtype=np.uint8)
PNG = encoded(GREY[0])
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
ELSEWHERE = [{"bytes": None, "path": "/etc/passwd"}] * 2
Make = Callable[[Path], Path]


def table(**columns: object) -> Make:
    def make(folder: Path) -> Path:
        parquet.write_table(pa.table(columns), folder / "x.parquet")
        return folder / "x.parquet"

    return make


def raw(name: str, content: bytes | Callable[[bytes], bytes], of: Make | None = None) -> Make:
    """Writes bytes, or those of another file after a change."""

    def make(folder: Path) -> Path:
        found = content if isinstance(content, bytes) else content(of(folder).read_bytes())
        (folder / name).write_bytes(found)
        return folder / name

    return make


def arrow(folder: Path) -> Path:
    with pa.ipc.new_file(str(folder / "x.arrow"), pa.schema([("x", pa.list_(pa.int32()))])) as file:
        file.write_batch(pa.record_batch({"x": pa.array([[1, 2], [3, 4]], pa.list_(pa.int32()))}))
    return folder / "x.arrow"


def bad_offsets(content: bytes) -> bytes:
    """The offsets of the lists, 0, 2, 4, point beyond the values."""
    offsets = struct.pack("<3i", 0, 2, 4)
    assert content.count(offsets) == 1
    return content.replace(offsets, struct.pack("<3i", 0, 2, 400_000_000))


def saved(state: object = None, cut: int = 0) -> Make:
    def make(folder: Path) -> Path:
        path = hugging_face(folder / "saved", pa.table({"x": [1.5, 2.5], "z": [1.0, 3.0]}))
        if state is not None:
            (path / "state.json").write_text(state if isinstance(state, str) else json.dumps(state))
        if cut:
            (part,) = path.glob("*.arrow")
            part.write_bytes(part.read_bytes()[:-cut])
        return path

    return make


def splits(content: str) -> Make:
    return lambda folder: put(folder / "saved", {"dataset_dict.json": content.encode()})


def pictures(**files: bytes) -> Make:
    return lambda folder: put(
        folder / "x", {name.replace("__", "/") + ".png": content for name, content in files.items()}
    )


def bomb() -> bytes:
    """A PNG of a few bytes that says that it has 50,000 x 50,000 pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 50_000, 50_000, 8, 0, 0, 0, 0)
    rest = struct.pack(">I", zlib.crc32(header)) + PNG[33:]
    return PNG[:8] + struct.pack(">I", 13) + header + rest


def archive(change: Callable[[bytes], bytes]) -> Make:
    def make(folder: Path) -> Path:
        path = zipped(folder / "x.zip", {f"{i}.png": PNG for i in range(3)})
        path.write_bytes(change(path.read_bytes()))
        return path

    return make


def swollen(content: bytes) -> bytes:
    """The directory says that the first member unpacks to 512 MiB."""
    at = content.index(b"PK\1\2") + 24
    return content[:at] + struct.pack("<I", 2**29) + content[at + 4 :]


def encrypted(content: bytes) -> bytes:
    """Sets the flag of encryption of every member, in the directory."""
    return content.replace(b"PK\1\2\x14\x03\x14\0\0\0", b"PK\1\2\x14\x03\x14\0\1\0")


def arrays(change: Callable[[Path], object], version: int = 3) -> Make:
    def make(folder: Path) -> Path:
        path = zarr(folder / "x.zarr", X, version)
        change(path)
        return path

    return make


def meta(**changes: object) -> Callable[[Path], object]:
    def change(path: Path) -> object:
        content = json.loads((path / "zarr.json").read_text())
        return (path / "zarr.json").write_text(json.dumps(content | changes))

    return change


CSV = "a,b\n1,2\n3,4\n"
MALFORMED: list[tuple[Make, str]] = [
    (raw("x.csv", b"a,b\n1,2\n3\n"), "line 3: 1 columns, expected 2"),
    (raw("x.csv", b'a,b\n1,2\n3,"4\n'), "line 3: the quotes are not as expected"),
    (raw("x.csv", CSV.encode("utf-16")), "it is UTF-16, expected UTF-8"),
    (raw("x.npy", b"\x93NUMPY\1\0v\0"), "x.npy: not a readable .npy file"),
    (raw("x.npz", b"PK\5\6"), "x.npz: not a readable .npz file"),
    (raw("x.parquet", CSV.encode()), "x.parquet: not a readable .parquet file"),
    (raw("x.parquet", b""), "x.parquet: not a readable .parquet file"),
    (raw("x.parquet", lambda c: c[:-9], table(a=X[:, 0])), "not a readable .parquet file"),
    (table(a=[1.0, None]), "sample 1, column 'a': is empty (null)"),
    (table(a=[[1.0, 2.0], [3.0]]), "sample 1, column 'a': is 1 long where the first is 2"),
    (table(a=[[1.0, None]] * 2), "column 'a': holds empty values (null)"),
    (table(a=[[[1], [2, 3]]] * 2), "sample 0, column 'a': is 2 long where the first is 1"),
    (table(a=["x", "y"]), "column 'a' holds text, expected numbers: --label a"),
    (table(a=[{"b": 1}] * 2), "column 'a' is of type struct<b: int64>, expected numbers"),
    (table(a=[[1]] * 2, b=[[2]] * 2), "columns 'a' and 'b' hold arrays"),
    (table(a=np.arange(0)), "x.parquet: holds no rows"),
    (table(a=[1.0, np.inf], b=[1.0, 2.0]), "1 of 2 samples hold NaN or infinity"),
    (table(a=[b"1", b"2"]), "x.parquet, sample 0: not a readable image"),
    (table(a=pa.array(ELSEWHERE, IMAGE)), "sample 0, column 'a': is empty (null): the file at its"),
    (table(a=[1.5, 2.5], label=[0, None]), "sample 1, column 'label': is empty (null)"),
    (raw("x.arrow", CSV.encode()), "it is no Arrow IPC file, or its end is missing"),
    (raw("x.feather", lambda c: c[:-40], arrow), "not a readable .feather file"),
    (raw("y.arrow", bad_offsets, arrow), "y.arrow: not a readable .arrow file"),
    (saved("{"), "state.json: not a readable file of `datasets`"),
    (saved({"_data_files": [{"filename": "data-1.arrow"}]}), "data-1.arrow is missing, which"),
    (saved({"_data_files": [{"filename": "../x.arrow"}]}), "names no files of the data set in its"),
    (saved({"_indices_files": [{"filename": "i.arrow"}]}), "is a selection by index"),
    (saved(cut=8), "it is no Arrow IPC file, or its end is missing"),
    (saved(cut=300), "data-00000-of-00001.arrow: not a readable .arrow file"),
    (splits('{"splits": ["train", "../test"]}'), "dataset_dict.json: names no splits"),
    (splits('{"splits": ["train", "test"]}'), "state.json: not a readable file of `datasets`"),
    (pictures(), "x: is a folder without images, expected CLASS/x.png"),
    (pictures(a=PNG, b=b"GIF89a"), "x/b.png: not a readable image"),
    (pictures(a=PNG, b=PNG[:-40]), "x/b.png: not a readable image: image file is truncated"),
    (pictures(a=PNG, b=encoded(GREY[0, :7])), "x/b.png: has 7 x 8 pixels, a.png 8 x 8"),
    (pictures(a=PNG, b=encoded(GREY[0].astype(np.uint16))), "1 of 2 images are grey of 16 bits"),
    (pictures(a__a=PNG, b__b=PNG, c=PNG), "x: c.png lies beside folders of classes"),
    (pictures(a=PNG, b=bomb()), "x/b.png: not a readable image: Image size (2500000000 pixels)"),
    (pictures(a=PNG), "holds 1 sample, expected at least 2"),
    (raw("x.zip", b"PK\3\4 no archive"), "x.zip: not a readable .zip file"),
    (archive(lambda c: c[: len(c) // 2]), "x.zip: not a readable .zip file"),
    (archive(encrypted), "x.zip: not a readable .zip file: it is encrypted"),
    (archive(lambda c: c[:80] + bytes(9) + c[89:]), "x.zip/0.png: not a readable image"),
    (archive(swollen), "bytes unpack to 536,87"),
    (archive(lambda c: c.replace(b"2.png", b"1.png")), "member '1.png' is there twice"),
    (arrays(lambda p: (p / "zarr.json").write_text("{")), "not a readable zarr file"),
    (arrays(meta(codecs=[{"name": "mine"}])), "x.zarr: not a readable zarr array"),
    (arrays(meta(shape=[10**9, 4])), "not a readable zarr array: "),
    (arrays(meta(data_type="complex64", fill_value=[0, 0])), "has dtype complex64"),
    (arrays(lambda p: (p / "c/1/0").write_bytes(b"short")), "x.zarr: not a readable zarr array"),
    (lambda f: zarr_group(f / "x.zarr", a=X, b=X), "holds the arrays a, b; expected one array"),
    (lambda f: zarr_group(f / "x.zarr", x=X, y=X), "expected integer labels"),
    (lambda f: zarr_group(f / "x.zarr"), "holds the arrays (none); expected one array"),
    (raw("x.zarr", b"{}"), "x.zarr: is no folder, as a zarr array is"),
]


@pytest.mark.parametrize(
    ("make", "message"), MALFORMED, ids=[f"{i}-{m[:24]}" for i, (_, m) in enumerate(MALFORMED)]
)
def test_one_line_says_what_is_wrong(make: Make, message: str, tmp_path: Path) -> None:
    path = make(tmp_path)
    with pytest.raises(InputError) as caught:
        data.load(path)
    said = str(caught.value)
    assert message in said
    assert said.startswith(str(path))
    assert "\n" not in said
    assert len(said) < 500


def test_the_command_line_prints_that_line(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = pictures(a=PNG, b=PNG[:-40])(tmp_path)
    assert msae("train", "--model", "baseline", "--data", path, "--out", tmp_path / "run") == 2
    *_, line = capsys.readouterr().err.splitlines()
    assert line.startswith(f"msae: error: {path}/b.png: not a readable image: image file is trunc")
    assert not (tmp_path / "run").exists()


def test_damage_is_found_while_it_streams(tmp_path: Path) -> None:
    """Headers are looked at before, pixels when they are needed."""
    path = pictures(a=PNG, b=PNG[:-40], c=PNG)(tmp_path)
    dataset = data.load(path, streaming=True)
    with pytest.raises(InputError, match=r"x/b\.png: not a readable image: image file is trunc"):
        [dataset.train.x[i] for i in range(2)] + [dataset.test.x[0]]


@pytest.mark.parametrize(
    ("make", "option", "message"),
    [
        (table(a=X[:, 0]), "header=yes", "--header is for .csv"),
        (table(a=X[:, 0]), "image_size=4", "--image-size is for images; 'a' holds none"),
        (pictures(a=PNG, b=PNG), "label=a", "--label is for .csv, .parquet, .arrow, .feather"),
        (
            pictures(a=PNG, b=PNG),
            "layout=channels-first",
            "--layout is for arrays; images of files",
        ),
        (arrays(lambda p: None), "columns=a", "--columns is for .csv"),
    ],
)
def test_options_that_do_not_fit_a_format(
    make: Make, option: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as caught:
        data.load(f"{make(tmp_path)}?{option}")
    assert message in str(caught.value)


def test_a_disk_without_room_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tempfile

    path = table(a=X[:, 0])(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(InputError, match=r"samples cannot be written to .*gone.*TMPDIR may name"):
        data.load(path, streaming=True)
