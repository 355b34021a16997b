"""Folders and zip files of images: which belong together, and the class of each."""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol, cast

import numpy as np

from msae_jax.data import labels
from msae_jax.data.formats.images import Reading, Survey
from msae_jax.data.formats.stored import (
    CLASSES,
    EXPANDED,
    Content,
    check_size,
    readable,
    splits_among,
)
from msae_jax.data.options import Options, note
from msae_jax.errors import InputError

SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm", ".pnm",
)  # fmt: skip
BATCH = 64  # images that are decoded at once
MEMBERS = 5_000_000  # a zip file of more is refused
HIDDEN = ("__MACOSX", "Thumbs.db", "desktop.ini")

Name = tuple[str, ...]
"""The folders of a file, and its own name."""


class Files(Protocol):
    """Files by name, of a folder or a zip file; a name is never used as a path elsewhere."""

    where: str

    def names(self) -> list[Name]: ...

    def open(self, name: Name) -> BinaryIO: ...


class Folder:
    """The files of a folder and those in it."""

    def __init__(self, path: Path) -> None:
        self.where, self._path = str(path), path

    def names(self) -> list[Name]:
        found: list[Name] = []
        visited = set()
        for folder, inner, files in os.walk(self._path, followlinks=True):
            inner[:] = [name for name in inner if not _is_hidden(name)]
            here = os.path.realpath(folder)
            if here in visited:  # a link to a folder above it
                inner.clear()
                continue
            visited.add(here)
            parts = Path(folder).relative_to(self._path).parts
            found += [(*parts, file) for file in files]
        return found

    def open(self, name: Name) -> BinaryIO:
        return self._path.joinpath(*name).open("rb")


class Zip:
    """The members of a zip file; nothing is unpacked to disk.

    Raises: InputError if it is damaged, encrypted, or unpacks to far more than its own size.
    """

    def __init__(self, path: Path) -> None:
        self.where = str(path)
        self._members: dict[Name, zipfile.ZipInfo] = {}
        with readable(path, ".zip file"):
            self._archive = zipfile.ZipFile(path)
            members = [info for info in self._archive.infolist() if not info.is_dir()]
            if len(members) > MEMBERS:
                raise ValueError(f"it holds {len(members):,} files, expected at most {MEMBERS:,}")
            check_size(sum(info.file_size for info in members), path.stat().st_size)
            for info in members:
                name = PurePosixPath(info.filename).parts or ("",)
                if name in self._members:
                    raise ValueError(f"member {info.filename!r} is there twice")
                if info.flag_bits & 1:
                    raise ValueError("it is encrypted")
                if info.file_size > EXPANDED:
                    raise ValueError(
                        f"member {info.filename!r} unpacks to {info.file_size:,} bytes"
                    )
                self._members[name] = info

    def names(self) -> list[Name]:
        return list(self._members)

    def open(self, name: Name) -> BinaryIO:
        return cast(BinaryIO, self._archive.open(self._members[name]))


class Pictures:
    """Images in files, a `Stored` and a `Source`: each is decoded when it is asked for."""

    images = True

    def __init__(self, files: Files, names: Sequence[Name], reading: Reading) -> None:
        self._files, self._names, self._reading = files, names, reading
        self.shape, self.dtype = (len(names), *reading.shape), reading.dtype

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> np.ndarray:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        out = np.empty((len(indices), *self.shape[1:]), self.dtype)
        for row, index in zip(out, indices, strict=True):
            with _file(self._files, self._names[index]) as (file, where):
                content = io.BytesIO(file.read())  # to the end: an archive has checksums
                row[...] = self._reading.decode(content, where)
        return out

    def chunks(self) -> Iterator[np.ndarray]:
        for begin in range(0, len(self), BATCH):
            yield self.__getitems__(range(begin, min(begin + BATCH, len(self))))


def read(path: Path, options: Options) -> Content:
    """Returns the images of a folder or zip file, and their classes, ordered by name.

    `train/CLASS/x.jpg` beside `test/CLASS/y.jpg` are splits; of `CLASS/x.jpg`, or `x.jpg` without a
    class, there is one part. Folders above these, and below the classes, have no meaning. Classes
    are numbered in alphabetical order, or by their names if all are whole numbers.

    Raises: InputError if there are no images, some cannot be read, or their sizes differ and no
      size is given.
    """
    files = Folder(path) if path.is_dir() else Zip(path)
    names = [name for name in files.names() if not any(map(_is_hidden, name))]
    pictures = sorted(name for name in names if name[-1].lower().endswith(SUFFIXES))
    if not pictures:
        kind = "a folder" if path.is_dir() else "a .zip file"
        raise InputError(
            f"{path}: is {kind} without images, expected CLASS/x.png or train/CLASS/x.png, a "
            "data set of Hugging Face, .parquet files or a zarr array"
        )
    notes = []
    if left := len(names) - len(pictures):
        notes.append(f"files that are no images, left out: {left}")
    parts, level = _parts(pictures, notes)
    survey = Survey()
    for name in itertools.chain(*parts.values()):
        with _file(files, name) as (file, where):
            survey.add(file, where)
    reading = survey.reading(options, str(path), notes)
    content: dict[str, np.ndarray | Pictures] = {}
    folders = _classes([name for own in parts.values() for name in own], level, path)
    y, classes = (None, None) if folders is None else labels.of_folders(folders, notes)
    if classes is not None:
        content[CLASSES] = np.array(classes)
    begin = 0
    for part, own in parts.items():
        content[part] = Pictures(files, own, reading)
        if y is not None:
            content["y" if part == "x" else f"y_{part}"] = y[begin : begin + len(own)]
        begin += len(own)
    height, width, channels = reading.shape
    notes.append(f"{begin} images of {height} x {width} x {channels}")
    note(f"{path}: {'; '.join(notes)}")
    return content


@contextlib.contextmanager
def _file(files: Files, name: Name) -> Iterator[tuple[BinaryIO, str]]:
    """Opens a file, and gives the name by which errors call it."""
    where = f"{files.where}/{'/'.join(name)}"
    with readable(where, "image"), files.open(name) as file:
        yield file, where


def _parts(names: list[Name], notes: list[str]) -> tuple[dict[str, list[Name]], int]:
    """Returns the names of each split, or all of them as `x`, and where in a name its class is."""
    level = 0
    while True:
        tops = {name[level] for name in names if len(name) > level + 1}
        splits = splits_among(tops)
        if len(splits) < 2 and len(tops) > 1:
            splits = {}  # trains are a class, too
        if splits or len(tops) != 1 or any(len(name) == level + 1 for name in names):
            break
        level += 1
    if not splits:
        return {"x": names}, level
    parts = {
        part: [name for name in names if len(name) > level + 1 and name[level] == title]
        for part, title in splits.items()
    }
    if left := len(names) - sum(map(len, parts.values())):
        notes.append(f"images outside of {' and '.join(splits.values())}, left out: {left}")
    return (parts if len(parts) > 1 else {"x": parts["train"]}), level + 1


def _classes(names: list[Name], level: int, path: Path) -> list[str] | None:
    """Returns the class of every image, the folder at `level`; None if none is in a folder.

    Raises: InputError if some are and others are not.
    """
    flat = [name for name in names if len(name) == level + 1]
    if len(flat) == len(names):
        return None
    if flat:
        raise InputError(
            f"{path}: {'/'.join(flat[0])} lies beside folders of classes: expected every image in "
            "the folder of its class, or none"
        )
    return [name[level] for name in names]


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name in HIDDEN
