"""Files of samples: `.npy`, `.npz`, CSV, IDX, and prepared folders of TFDS.

An `.npz`, a packed IDX file and the records of a prepared folder have checksums. The others have
none: a flipped bit of a value is another valid file. What is accepted of those is held against what
NumPy, or Python's own csv and float, read of the damaged file.
"""

from __future__ import annotations

import csv
import gzip
import io
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from msae_jax import data
from msae_jax.data.arrays import load_array
from msae_jax.data.idx import read_idx
from msae_jax.errors import InputError
from tests.campaign.damage import mutated
from tests.campaign.subject import Outcome, Subject, anything, different, differently_shaped
from tests.interop.test_pth_hostile_code import Touch


def _table(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(12, 5)).round(3)


def _npy(folder: Path, seed: int) -> None:
    np.save(folder / "x.npy", _table(seed))


def _npz(folder: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 256, (9, 4, 4, 1), np.uint8)
    y = rng.integers(0, 3, 9)
    np.savez_compressed(folder / "x.npz", x_train=x, y_train=y, x_test=x[:3], y_test=y[:3])


def _split(folder: Path) -> Outcome:
    opened = data.load(folder / "x.npz")
    return {
        "x": opened.train.x, "y": opened.train.y, "x_test": opened.test.x, "y_test": opened.test.y,
    }  # fmt: skip


def _hostile_array(folder: Path, twin: Path, rng: np.random.Generator) -> str:
    """Writes an array of objects, which `numpy.load` could unpickle."""
    held = np.array([[Touch(folder.parent / "sentinel", 2)]], object)
    file = io.BytesIO()
    np.save(file, held, allow_pickle=True)
    raw = file.getvalue()
    if rng.random() < 0.3:
        raw = pickle.dumps(Touch(folder.parent / "sentinel", 2))
    if rng.random() < 0.7:
        raw = mutated(raw, rng)[1]
    (folder / "x.npy").write_bytes(raw)
    return f"objects, {len(raw)} bytes"


def _as_numpy_reads_it(original: Outcome, got: Outcome, path: Path) -> str | None:
    meant = np.load(path / "x.npy", allow_pickle=False)
    return different({"x": meant.astype(np.float32)}, got)


def _csv(text: str, name: str = "x.csv") -> Any:
    def make(folder: Path, seed: int) -> None:
        lines = [text.join(map(str, row)) for row in _table(seed).tolist()]
        (folder / name).write_text("\n".join(lines) + "\n")

    return make


def _excel(folder: Path, seed: int) -> None:
    """As a German Excel saves it: semicolons, decimal commas, a byte order mark, two bytes a line
    end, names, and a column of labels."""
    lines = ["a;b;c;d;e;label"]
    for i, row in enumerate(_table(seed).tolist()):
        cells = [str(value).replace(".", ",") for value in row]
        lines.append(";".join([*cells, f"kind {i % 3}"]))
    (folder / "x.csv").write_bytes(("\ufeff" + "\r\n".join(lines) + "\r\n").encode())


def _pandas(folder: Path, seed: int) -> None:
    """As `DataFrame.to_csv` writes it: an index without a name, and quoted text."""
    lines = [",a,b,c,d,e,label"]
    for i, row in enumerate(_table(seed).tolist()):
        lines.append(",".join([str(i), *map(str, row), f'"kind, {i % 3}"']))
    (folder / "x.csv").write_text("\n".join(lines) + "\n")


def _table_read(options: str) -> Any:
    def read(folder: Path) -> Outcome:
        return {"x": load_array(f"{folder / 'x.csv'}{options}")}

    return read


def _as_python_reads_it(separator: str, decimal: str, skip: int, columns: int) -> Any:
    def judge(original: Outcome, got: Outcome, path: Path) -> str | None:
        raw = (path / "x.csv").read_bytes()
        try:
            decoded = raw.decode("utf-8-sig")
        except UnicodeDecodeError:  # as Windows writes it; the numbers are the same
            decoded = raw.decode("cp1252", "replace")
        text = io.StringIO(decoded, newline="")
        rows = [
            row
            for row in csv.reader(text, delimiter=separator, strict=True)
            if len(row) > 1 or (row and row[0].strip(" "))
        ]
        numbers = [
            [float(cell.replace(decimal, ".")) for cell in row[:columns]] for row in rows[skip:]
        ]
        return different({"x": np.asarray(numbers).astype(np.float32)}, got)

    return judge


def _idx(folder: Path, seed: int) -> None:
    values = np.random.default_rng(seed).integers(0, 256, (5, 6, 7), np.uint8)
    raw = b"\0\0\x08\x03" + np.array(values.shape, ">i4").tobytes() + values.tobytes()
    (folder / "x-idx3-ubyte").write_bytes(raw)


def _packed_idx(folder: Path, seed: int) -> None:
    _idx(folder, seed)
    raw = folder / "x-idx3-ubyte"
    (folder / "x-idx3-ubyte.gz").write_bytes(gzip.compress(raw.read_bytes(), mtime=0))
    raw.unlink()


def _read_idx(folder: Path) -> Outcome:
    path = next(folder.iterdir(), None)
    if path is None:
        raise InputError("deleted")
    return {"x": read_idx(path)}


_PREPARE = """
import sys
from tests.data.test_tfds_images import TinyPictures
from tests.campaign.data_subjects import prepare_pictures
prepare_pictures(TinyPictures, *sys.argv[1:])
"""


def prepare_pictures(kind: Any, folder: str, seed: str) -> None:
    """Prepares ten pictures, which are others for another seed, for TFDS to read by their files."""
    from msae_jax.data.prepare import prepared
    from tests.data.test_tfds_images import picture

    with mock.patch.object(kind, "picture", lambda self, i: picture(100 * int(seed) + i)):
        prepared(lambda: kind(data_dir=folder), "pictures")


def _pictures(folder: Path, seed: int) -> None:
    """Another process prepares them, so that their class is not known when they are read."""
    subprocess.run([sys.executable, "-c", _PREPARE, str(folder), str(seed)], check=True)
    _without_locks(folder)


def _mnist(folder: Path, seed: int) -> None:
    """Prepares forty images as `mnist`."""
    from msae_jax.data.idx import MsaeMnist
    from msae_jax.data.prepare import prepared

    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, 256, (40, 28, 28), np.uint8), rng.integers(0, 10, 40)

    def splits(self: Any, manager: Any) -> dict[str, Iterator]:
        parts = {"train": slice(30), "test": slice(30, 40)}
        return {name: self._generate_examples(x[p], y[p]) for name, p in parts.items()}

    with mock.patch.object(MsaeMnist, "_split_generators", splits):
        prepared(lambda: MsaeMnist(data_dir=folder), "mnist")
    _without_locks(folder)


def _without_locks(folder: Path) -> None:
    for lock in folder.glob(".*.lock"):
        lock.unlink()


def _prepared(name: str) -> Any:
    def read(folder: Path) -> Outcome:
        nowhere = {"TFDS_DATA_DIR": str(folder), "MSAE_DATA_DIR": str(folder / "nothing")}
        with mock.patch.dict(os.environ, nowhere):
            opened = data.load(name)
        parts = {"train": opened.train, "test": opened.test}
        return {f"{n} {field}": getattr(p, field) for n, p in parts.items() for field in "xy"}

    return read


SUBJECTS = {
    ".npy": Subject(
        150, _npy, lambda folder: {"x": load_array(folder / "x.npy")}, _as_numpy_reads_it
    ),
    ".npy, hostile": Subject(
        75, _npy, lambda folder: {"x": load_array(folder / "x.npy")}, _as_numpy_reads_it,
        _hostile_array,
    ),
    ".npz": Subject(200, _npz, _split),
    ".csv": Subject(
        125, _csv(","), _table_read("?header=no&columns=:"), _as_python_reads_it(",", ".", 0, 99)
    ),
    ".csv of Excel": Subject(
        125, _excel, _table_read("?header=yes&separator=;&decimal=,&label=label"),
        _as_python_reads_it(";", ",", 1, 5),
    ),
    ".csv of Excel, guessed": Subject(50, _excel, _table_read(""), anything),
    ".csv of pandas, guessed": Subject(50, _pandas, _table_read(""), anything),
    "IDX": Subject(75, _idx, _read_idx, differently_shaped),
    "IDX, packed": Subject(75, _packed_idx, _read_idx),
    "prepared pictures": Subject(325, _pictures, _prepared("tfds:tiny_pictures")),
    "prepared mnist": Subject(250, _mnist, _prepared("mnist")),
}  # fmt: skip
