"""A user's own samples: from files and folders to arrays, or to what streams them."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from msae_jax.data import formats
from msae_jax.data.dataset import Dataset, Samples, Source, Split, empty_aligned, take
from msae_jax.data.formats.stored import Content, Stored
from msae_jax.data.options import parse
from msae_jax.data.samples import Form, chunks, form_of
from msae_jax.errors import InputError

HELD_OUT = 10  # one sample in ten becomes the test split of a file that has none


def load_array(path: str | Path) -> np.ndarray:
    """Returns the samples [N, ...] of a file or folder, ready for a model.

    uint8 stays uint8 (intensities 0..255; [N, H, W] gets its channel, [N, H, W, 1]); any other
    number becomes float32, unscaled. An `.npz` must hold one array, or one named `x`. Options of
    `msae_jax.data.options.Options` may follow the name: `x.csv?label=y`, `x.npy?scale=255`.

    Raises: InputError if the file is missing or unreadable; if its values are not numbers, not
    finite, none at all, or without a sample axis; or if only an option can tell how to read them.
    """
    path, options = parse(path)
    x = single(formats.read(path, options), path)
    form = form_of(x, str(path), options)
    return form(x) if isinstance(x, np.ndarray) else _placed(x, form, [np.arange(len(x))])[0]


def load(name: str | Path, *, streaming: bool = False) -> Dataset:
    """Returns the samples of a file or folder as a Dataset, float32 or uint8 [N, ...].

    It may hold splits: `train` and `test`, or `x_train` and `x_test`, with labels `y_train` and
    `y_test`; or one array (`x` if there are several), with labels `y`. Of a file with one array a
    tenth is held out as the test split: the first tenth of
    `numpy.random.RandomState(0).permutation(N)`, or with the option `split=hash` what `_by_hash`
    picks; both splits in file order.

    Args:
      streaming: leaves the samples on disk. Images are decoded, and parts of an `.npy` are read,
        when they are needed. What can only be read in order is written once to a file without a
        name in the folder for temporary files (`TMPDIR`), and read from there; the system frees it
        when the process ends. `.csv` and `.npz` are held in memory.

    Raises: InputError as `load_array` does, and for labels that are not integers or not as many as
    the samples, for splits that differ in shape, and for fewer than two samples.
    """
    path, options = parse(name)
    content = formats.read(path, options, mapped=streaming)
    for train, test in [("x_train", "x_test"), ("train", "test")]:
        if train in content and test in content:
            splits = {}
            for part, key in [("train", train), ("test", test)]:
                form = form_of(content[key], f"{path}[{key}]", options)
                rows = np.arange(len(content[key]))
                (x,) = _parts(content[key], form, [rows], streaming)
                splits[part] = Split(x, _labels(content, f"y_{part}", path))
            return Dataset(str(name), **splits, classes=_classes(content))
    stored = single(content, path)
    form = form_of(stored, str(path), options)
    y = _labels(content, "y", path)
    n = len(stored)
    if n < 2:
        raise InputError(f"{path}: holds {n} sample, expected at least 2 (train and test)")
    if y is not None and len(y) != n:
        raise InputError(f"{path}: holds {n} samples and {len(y)} labels")
    if options.split == "hash":
        parts = _by_hash(row for chunk in chunks(stored) for row in form(chunk))
    else:
        parts = _by_permutation(n)
    placed = _parts(stored, form, parts, streaming)
    train_split, test_split = (
        Split(x, None if y is None else y[rows]) for x, rows in zip(placed, parts, strict=True)
    )
    return Dataset(str(name), train_split, test_split, classes=_classes(content))


def _by_permutation(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the rows to train on, and a tenth of all rows to test on."""
    order = np.random.RandomState(0).permutation(n)  # a stream that stays as it is
    held_out = max(1, n // HELD_OUT)
    return np.sort(order[held_out:]), np.sort(order[:held_out])


def _by_hash(samples: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Returns rows to train and to test on, about a tenth, by the SHA-256 of each one's bytes."""
    digests = (hashlib.sha256(np.ascontiguousarray(row).tobytes()).digest() for row in samples)
    share = np.array([int.from_bytes(digest[:8], "big") / 2**64 for digest in digests])
    held_out = share < 1 / HELD_OUT
    if held_out.all() or not held_out.any():  # few samples: each part needs one
        held_out = share == share.min()
        if held_out.all():
            raise InputError("all samples are equal: --split hash would part none from the others")
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


class Picked:
    """Some of the samples on disk, a `Source`: each is read and put into form when it is needed."""

    def __init__(self, stored: Samples, rows: np.ndarray, form: Form) -> None:
        self._stored, self._rows, self._form = stored, rows, form
        self.shape, self.dtype = (len(rows), *form.shape), form.dtype

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> np.ndarray:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        return self._form(take(self._stored, self._rows[np.asarray(indices)]))


class _Filled:
    """Samples that are written one after another, into memory or, if there is one, into a file."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype, file: IO[bytes] | None) -> None:
        self._shape, self._dtype, self._file, self._done = shape, dtype, file, 0
        self._array = empty_aligned(shape, dtype) if file is None else np.empty(0, dtype)

    def add(self, x: np.ndarray) -> None:
        if self._file is None:
            self._array[self._done : self._done + len(x)] = x
        elif len(x):
            self._file.write(np.ascontiguousarray(x).data)
        self._done += len(x)

    def array(self) -> np.ndarray:
        """Returns all samples; those in a file are read when they are used, closed or not."""
        if self._file is None:
            return self._array
        self._file.flush()
        return np.memmap(self._file, self._dtype, "r", shape=self._shape)


def _parts(
    x: np.ndarray | Stored, form: Form, parts: Sequence[np.ndarray], streaming: bool
) -> list[Samples]:
    """Returns the samples at each of several increasing sets of rows, in memory or on disk."""
    if streaming and isinstance(x, np.memmap | Source):
        return [Picked(x, rows, form) for rows in parts]
    if isinstance(x, np.ndarray):
        ready = form(x)
        return [ready if len(rows) == len(ready) else ready[rows] for rows in parts]
    return list(_placed(x, form, parts, on_disk=streaming))


def _placed(
    x: Stored, form: Form, parts: Sequence[np.ndarray], *, on_disk: bool = False
) -> list[np.ndarray]:
    """Reads samples once, from the first to the last, and returns those of each part.

    Raises: InputError if the disk has no room for them.
    """
    try:
        with contextlib.ExitStack() as files:
            filled = []
            for rows in parts:
                file = files.enter_context(tempfile.TemporaryFile()) if on_disk else None
                filled.append(_Filled((len(rows), *form.shape), form.dtype, file))
            begin = 0
            for chunk in x.chunks():
                ready = form(chunk)
                for part, rows in zip(filled, parts, strict=True):
                    first, last = np.searchsorted(rows, [begin, begin + len(ready)])
                    part.add(ready[rows[first:last] - begin])
                begin += len(ready)
            if begin != len(x):
                raise InputError(f"{begin} samples were read of {len(x)}: the files have changed")
            return [part.array() for part in filled]
    except OSError as error:
        raise InputError(
            f"samples cannot be written to {tempfile.gettempdir()}, from where they are streamed "
            f"(TMPDIR may name another folder): {error.strerror or error}"
        ) from error


def single(content: Mapping[str, Any], path: Path) -> Any:
    """Returns the samples among a file's named arrays.

    Raises: InputError if it is not clear which they are.
    """
    arrays = {key: value for key, value in content.items() if key != "y"}
    if "x" in arrays:
        return arrays["x"]
    if len(arrays) == 1:
        return next(iter(arrays.values()))
    raise InputError(
        f"{path}: holds the arrays {', '.join(sorted(content)) or '(none)'}; expected one array, "
        "or 'x' (and 'y'), or, to train on, 'train' and 'test' or 'x_train' and 'x_test'"
    )


def _classes(content: Content) -> tuple[str, ...] | None:
    """Returns the texts that the labels number, where they are text; arrays are of no text."""
    found = content.get(formats.CLASSES)
    if not isinstance(found, np.ndarray) or found.dtype.kind != "U":
        return None
    return tuple(found.tolist())


def _labels(content: Content, key: str, path: Path) -> np.ndarray | None:
    if key not in content:
        return None
    y = content[key]
    assert isinstance(y, np.ndarray)
    if y.dtype.kind not in "iu" or y.ndim != 1:
        raise InputError(f"{path}[{key}]: is {y.dtype} {y.shape}, expected integer labels [N]")
    bounds = np.iinfo(np.int32)
    if y.size and not bounds.min <= int(y.min()) <= int(y.max()) <= bounds.max:
        raise InputError(f"{path}[{key}]: labels {y.min()} to {y.max()} do not fit int32")
    return y.astype(np.int32)
