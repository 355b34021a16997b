"""Samples in Arrow's tables: files, folders of their parts, and data sets of Hugging Face."""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from msae_jax.data import labels, table
from msae_jax.data.formats import columns
from msae_jax.data.formats.arrow import SUFFIXES, Table
from msae_jax.data.formats.images import Reading, Survey
from msae_jax.data.formats.stored import (
    CLASSES,
    TEST,
    TRAIN,
    Content,
    check_size,
    named,
    readable,
    splits_among,
)
from msae_jax.data.options import Options, note
from msae_jax.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

STATE, SPLITS = "state.json", "dataset_dict.json"
"""What `datasets.Dataset.save_to_disk` and `DatasetDict.save_to_disk` write beside the tables."""


class Samples:
    """The samples of a table, a `Stored`."""

    def __init__(
        self, source: Table, plan: columns.Plan, count: int, reading: Reading | None
    ) -> None:
        self._table, self._plan, self._reading = source, plan, reading
        self.images = reading is not None
        self.shape: tuple[int, ...]
        if reading is not None:
            self.shape, self.dtype = (count, *reading.shape), reading.dtype
            return
        self.dtype = columns.dtype_of(source.schema, plan.features)
        self.shape = (count, len(plan.features))
        if plan.kind == "arrays":
            first = next(source.batches(plan.features)).slice(0, 1)
            with named(source.where):
                one = columns.values(first.column(0), plan.features[0], 0)
            self.shape = (count, *one.shape[1:])
        with readable(source.where, "table"):
            check_size(math.prod(self.shape) * self.dtype.itemsize, source.size)

    def __len__(self) -> int:
        return self.shape[0]

    def chunks(self) -> Iterator[np.ndarray]:
        begin = 0
        for batch in self._table.batches(self._plan.features):
            yield self._values(batch, begin)
            begin += len(batch)

    def _values(self, batch: pa.RecordBatch, begin: int) -> np.ndarray:
        where, names = self._table.where, self._plan.features
        out = np.empty((len(batch), *self.shape[1:]), self.dtype)
        with named(where):
            if self._reading is not None:
                for i, raw in enumerate(columns.encoded(batch.column(0), names[0], begin)):
                    out[i] = self._reading.decode(io.BytesIO(raw), f"{where}, sample {begin + i}")
            elif self._plan.kind == "arrays":
                found = columns.values(batch.column(0), names[0], begin)
                if found.shape[1:] != self.shape[1:]:
                    raise InputError(
                        f"sample {begin}, column {names[0]!r}: has shape {found.shape[1:]} where "
                        f"the first has {self.shape[1:]}, expected arrays of one shape"
                    )
                out[:] = found
            else:
                with np.errstate(over="ignore"):
                    for i, name in enumerate(names):
                        out[:, i] = columns.values(batch.column(i), name, begin)
        return out


def is_folder_of_tables(path: Path) -> bool:
    """Whether a folder holds a data set of Hugging Face, or the parts of a table."""
    return any((path / name).is_file() for name in (STATE, SPLITS)) or bool(_parts(path))


def read(path: Path, options: Options) -> Content:
    """Returns the samples and labels of a table: of its splits where it has such.

    Raises: InputError if it cannot be read, or it cannot be told what its samples are.
    """
    files = {"x": [path]} if path.is_file() else _files(path)
    survey = Survey()
    found: dict[str, tuple[Table, columns.Plan, int]] = {}
    cells: dict[str, list[Any]] = {}
    said: list[str] = []
    for part, paths in files.items():
        source = Table(paths, str(path) if part == "x" else f"{path} ({part})")
        notes: list[str] = []
        with named(source.where):
            plan = columns.plan(source.schema, options, notes)
            plan = _without_index(source, plan, notes)
            if plan.kind != "images" and options.image_size is not None:
                raise InputError(f"--image-size is for images; {plan.features[0]!r} holds none")
            count, cells[part] = _scan(source, plan, survey)
        found[part] = source, plan, count
        said += [text for text in notes if text not in said]
    content: dict[str, Any] = {}
    reading = None
    if survey.count:
        reading = survey.reading(options, str(path), said)
    for part, (source, plan, count) in found.items():
        content[part] = Samples(source, plan, count, reading if plan.kind == "images" else None)
    names = [plan.label for _, plan, _ in found.values()]
    if names[0] is not None and all(name is not None for name in names):
        with named(str(path)):
            content |= _numbered(cells, names[0], said)
            named_ones = columns.class_names(next(iter(found.values()))[0].schema, names[0])
            if named_ones is not None:
                content[CLASSES] = np.array(named_ones)
    if said:
        each = [content[part] for part in found]
        counts = [f"{len(x)} samples of shape {list(x.shape[1:])}" for x in each]
        note(f"{path}: {'; '.join([*said, *counts])}")
    return content


def _scan(source: Table, plan: columns.Plan, survey: Survey) -> tuple[int, list[Any]]:
    """Returns the number of rows and the cells of the labels, a part for each batch.

    The headers of images are added to `survey`.
    """
    count, cells = 0, []
    read = [plan.features[0], *([plan.label] if plan.label is not None else [])]
    for batch in source.batches(read):
        if plan.kind == "images":
            for i, raw in enumerate(columns.encoded(batch.column(0), plan.features[0], count)):
                survey.add(io.BytesIO(raw), f"{source.where}, sample {count + i}")
        if plan.label is not None:
            cells.append(columns.cells(batch.column(1), plan.label, count))
        count += len(batch)
    if not count:
        raise InputError("holds no rows")
    return count, cells


def _numbered(cells: Mapping[str, list[Any]], name: str, notes: list[str]) -> dict[str, np.ndarray]:
    """Returns the labels of each part, numbered alike: `y`, or `y_train` and `y_test`; of text, the
    classes, too."""
    keys = {part: "y" if part == "x" else f"y_{part}" for part in cells}
    every = [batch for part in cells.values() for batch in part]
    if all(isinstance(batch, np.ndarray) for batch in every):
        return {keys[part]: np.concatenate(batches) for part, batches in cells.items()}
    sizes = [sum(map(len, batches)) for batches in cells.values()]
    flat = [str(cell) for batch in every for cell in batch]
    y, classes = labels.numbered(flat, name, notes)
    parts = dict(zip(keys.values(), np.split(y, np.cumsum(sizes)[:-1]), strict=True))
    return parts | ({} if classes is None else {CLASSES: np.array(classes)})


def _without_index(source: Table, plan: columns.Plan, notes: list[str]) -> columns.Plan:
    """Returns the plan without a first feature that counts the rows and is named as an index."""
    from pyarrow import types

    first = plan.features[0]
    integers = types.is_integer(source.schema.field(first).type)
    if plan.told or plan.kind != "numbers" or len(plan.features) < 2 or not integers:
        return plan
    count = start = 0
    for batch in source.batches([first]):
        found = columns.values(batch.column(0), first, count)
        start = start if count else int(found[0])
        if start not in (0, 1) or (found != np.arange(count, count + len(found)) + start).any():
            return plan
        count += len(found)
    if count < table.COUNTED:
        return plan
    dropped = first.lower() in table.INDICES
    what = "left out" if dropped else "a feature"
    notes.append(f"column {first!r} counts the rows and is {what} (--columns)")
    return plan._replace(features=plan.features[1:]) if dropped else plan


def _files(path: Path) -> dict[str, list[Path]]:
    """Returns the files of each split of a folder, or all of them as `x`."""
    if (path / STATE).is_file():
        return {"x": _saved(path)}
    if not (path / SPLITS).is_file():
        parts = _parts(path)
        return {part: parts[name] for part, name in _chosen(parts, path).items()}
    names = _json(path / SPLITS).get("splits")
    if not isinstance(names, list) or not names or not all(map(_is_plain, names)):
        raise InputError(f"{path / SPLITS}: names no splits")
    return {part: _saved(path / name) for part, name in _chosen(names, path).items()}


def _chosen(names: Collection[str], path: Path) -> dict[str, str]:
    """Returns the names of the splits `train` and `test`, or of the only one as `x`."""
    splits = splits_among(names)
    if len(splits) < 2:
        splits = {"x": splits.get("train", next(iter(names)))}
    if left := [name for name in names if name not in splits.values()]:
        note(f"{path}: left out: {', '.join(left)}")
    return splits


def _saved(path: Path) -> list[Path]:
    """Returns the files of one data set that `datasets` saved."""
    state = _json(path / STATE)
    if state.get("_indices_files"):
        raise InputError(f"{path}: is a selection by index: flatten_indices() before it is saved")
    entries = state.get("_data_files")
    listed = entries if isinstance(entries, list) else []
    names: list[Any] = [entry.get("filename") for entry in listed if isinstance(entry, dict)]
    if not names or not all(map(_is_plain, names)):
        raise InputError(f"{path / STATE}: names no files of the data set in its folder")
    for name in names:
        if not (path / name).is_file():
            raise InputError(f"{path}: {name} is missing, which {STATE} names")
    return [path / name for name in names]


def _json(path: Path) -> dict[str, Any]:
    with readable(path, "file of `datasets`"):
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("expected an object")
        return content


def _is_plain(name: object) -> bool:
    """Whether a name that a file holds is one of a file beside it, and of none elsewhere."""
    return isinstance(name, str) and name not in ("", ".", "..") and Path(name).name == name


def _parts(path: Path) -> dict[str, list[Path]]:
    """Returns the tables of a folder, or of its folder `data`, by the split that each name holds.

    Such are `train-00000-of-00002.parquet`, and `cifar10-test.arrow`.
    """
    for folder in (path, path / "data"):
        files = sorted(file for file in folder.glob("*") if file.suffix.lower() in SUFFIXES)
        if files:
            break
    parts: dict[str, list[Path]] = {}
    for file in files:
        words = re.split(r"[-_.]", file.name.lower())
        split = next((word for word in words if word in (*TRAIN, *TEST)), "others")
        parts.setdefault(split, []).append(file)
    return parts
