"""Files of series: which they are, and how each kind is read."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from msae_jax.data import arrays, formats, table
from msae_jax.data.options import SERIES_ONLY, Options
from msae_jax.data.series import rows, tabular
from msae_jax.data.series.series import Series, chunks, missing_points, numbered, resampled, single
from msae_jax.errors import InputError

SUFFIXES = (".ts", ".tsv", ".txt")
"""Files that hold series and nothing else."""

TABLES = (".csv", *formats.TABLES)
"""Files that hold series if one of their columns holds times, or an option says so."""

ARRAYS = (".npy", ".npz", ".zarr")


def wanted(path: Path, options: Options) -> bool:
    """Whether a file is to be read as series: it says so itself, or an option does."""
    suffix = path.suffix.lower()
    told = any(getattr(options, name) is not None for name in SERIES_ONLY)
    told = told or options.layout in ("channels", "series")
    if suffix in SUFFIXES or (told and options.split != "hash"):
        return True
    if options.columns is not None:  # of features; those of a series are its channels
        return False
    if suffix == ".npy" and path.is_file():
        with path.open("rb") as file:
            head = file.read(512)
        return re.search(rb"'shape': \(\d+,\)", head) is not None  # [T]
    return suffix in TABLES and tabular.looks_like_series(path, options)


def read(path: Path, options: Options) -> Series:
    """Returns the series of a file, unscaled.

    Raises:
      InputError: it cannot be read; a value is infinite; no value is known.
    """
    suffix = path.suffix.lower()
    if options.columns is not None:
        raise InputError(f"{path}: --columns is for samples; --channels are those of a series")
    if not path.is_file() and not (path.is_dir() and suffix == ".zarr"):
        if path.is_dir():
            raise InputError(f"{path}: is a folder")
        raise InputError(f"{path}: no such file. Put it there, or name other data (--data).")
    if suffix in TABLES:
        series = tabular.read(path, options)
    elif suffix == ".ts":
        series = rows.read_ts(path)
    elif suffix in (".tsv", ".txt"):
        series = rows.read_text(path)
    elif suffix in ARRAYS:
        series = _from_array(path, options)
    else:
        expected = ", ".join([*TABLES, *ARRAYS, *SUFFIXES])
        raise InputError(f"{path}: expected a file ending in {expected}")
    if suffix not in TABLES and options.channels is not None:
        series = _with_channels(series, options.channels)
    if missing_points(series.values).all():
        raise InputError(f"{path}: holds no value that is known")
    if options.resample is not None:
        series = resampled(series, options.number("resample"))
    return series


def test_file(path: Path) -> Path | None:
    """Returns `X_TEST.ts` for `X_TRAIN.ts`, where it is there."""
    if not path.stem.endswith("_TRAIN"):
        return None
    other = path.with_name(f"{path.stem[: -len('_TRAIN')]}_TEST{path.suffix}")
    return other if other.is_file() else None


def _from_array(path: Path, options: Options) -> Series:
    content = formats.read(path, Options())
    x = arrays.single(content, path)
    x = x if isinstance(x, np.ndarray) else np.concatenate(list(x.chunks()))
    if x.dtype.kind not in "biuf" or x.size == 0 or x.ndim not in (1, 2, 3):
        raise InputError(
            f"{path}: is {x.dtype} {list(x.shape)}, expected numbers [T], [T, C], [N, T] or "
            "[N, T, C]"
        )
    with np.errstate(all="ignore"):
        values = np.ascontiguousarray(x, np.float32)
    if any(np.isinf(part).any() for part in chunks(values)):
        raise InputError(f"{path}: holds infinity in float32, expected numbers, or NaN for missing")
    labels: Any = content.get("y")
    if x.ndim == 1:
        return single(values, labels=labels)
    if x.ndim == 2 and not _is_collection(x.shape, options, path):
        return single(values, labels=labels)
    count, length = x.shape[:2]
    values = values.reshape(count * length, -1)
    bounds = np.arange(count + 1) * length
    return Series(values, bounds, numbered(values.shape[1]), None, labels)


def _is_collection(shape: tuple[int, ...], options: Options, path: Path) -> bool:
    """Whether an array of two axes holds series [N, T], and not one of several channels [T, C]."""
    if options.layout is not None:
        return options.layout == "series"
    window = int(options.number("window", 2))
    one, many = shape[0] >= 2 * window, shape[1] >= window
    if options.window is None or one == many:
        raise InputError(
            f"{path}: has shape {list(shape)}: --layout channels takes it for one series of "
            f"{shape[1]} channels [T, C], --layout series for {shape[0]} series [N, T]"
        )
    return many


def _with_channels(series: Series, names: str) -> Series:
    picked = table.chosen(names, list(series.channels))
    channels = tuple(series.channels[i] for i in picked)
    return replace(series, values=np.ascontiguousarray(series.values[:, picked]), channels=channels)
