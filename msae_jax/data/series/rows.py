"""Collections of series in text: the UCR archive's rows, and aeon's `.ts` files.

Sources: Dau et al., "The UCR Time Series Archive" (2019), whose rows begin with the class; the
`.ts` format of https://www.aeon-toolkit.org, whose rows end with it.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from msae_jax.data import table
from msae_jax.data.options import note
from msae_jax.data.series.series import Series, collection, single
from msae_jax.errors import InputError

MISSING = ("?", "nan")


def read_text(path: Path) -> Series:
    """Returns the series of a `.tsv` or `.txt` file of numbers.

    One number a line is one series. Longer lines are the UCR archive's rows: the class, then the
    values of one series; a row may end early, or with missing values, where its series is shorter.

    Raises: InputError naming the line of what is not a number.
    """
    raw = table.content(path)
    rows = []
    for line, text in enumerate(raw.decode("utf-8-sig", "replace").splitlines(), start=1):
        cells = [cell for cell in re.split(r"[\s,]+", text.strip()) if cell]
        if cells:
            rows.append(_numbers(cells, path, line))
    if not rows:
        raise InputError(f"{path}: holds no numbers")
    if all(len(row) == 1 for row in rows) or len(rows) == 1:
        values = np.concatenate(rows)
        note(f"{path}: {len(values)} points of one series")
        return single(values)
    if min(map(len, rows)) < 3:
        raise InputError(
            f"{path}: lines of {min(map(len, rows))} to {max(map(len, rows))} numbers: expected "
            "one number a line, or the class and the values of one series a line"
        )
    classes = [row[0] for row in rows]
    if not all(float(y).is_integer() for y in classes):
        raise InputError(
            f"{path}: the first number of a line is the class of its series, a whole number; got "
            f"{next(y for y in classes if not float(y).is_integer()):g}"
        )
    parts = [_trimmed(row[1:, None]) for row in rows]
    note(f"{path}: {_described(parts)}, the first number of a line is the class")
    return collection(parts, None, np.array(classes, np.int32))


def read_ts(path: Path) -> Series:
    """Returns the collection of a `.ts` file; classes are numbered in the order of its header.

    Series may have several channels and differ in length.

    Raises: InputError naming the line of what cannot be read; for files with time stamps.
    """
    raw = table.content(path)
    header: dict[str, str] = {}
    parts, labels = [], []
    begun = False
    for line, text in enumerate(raw.decode("utf-8-sig", "replace").splitlines(), start=1):
        text = text.strip()
        if not text or text.startswith("#"):
            continue
        if text.startswith("@"):
            key, _, value = text[1:].partition(" ")
            header[key.lower()] = value.strip()
            begun = begun or key.lower() == "data"
            continue
        if not begun:
            raise InputError(f"{path}, line {line}: expected a line that begins with '@' or '#'")
        *dims, last = text.split(":")
        if _has_classes(header):
            labels.append(last.strip())
        else:
            dims.append(last)
        channels = [_numbers(dim.split(","), path, line) for dim in dims]
        if len({len(channel) for channel in channels}) != 1:
            lengths = sorted({len(channel) for channel in channels})
            raise InputError(f"{path}, line {line}: channels of {lengths} values: must be alike")
        parts.append(_trimmed(np.stack(channels, axis=1)))
    if not parts:
        raise InputError(f"{path}: holds no series: expected lines after @data")
    if len({part.shape[1] for part in parts}) > 1:
        counts = sorted({part.shape[1] for part in parts})
        raise InputError(f"{path}: series of {counts} channels: expected as many in each")
    if header.get("timestamps", "false").lower() == "true":
        raise InputError(f"{path}: has time stamps (@timeStamps true), expected values alone")
    y, names = None, None
    if labels:
        names = header["classlabel"].split()[1:] or sorted(set(labels))
        unknown = sorted(set(labels) - set(names))
        if unknown:
            raise InputError(f"{path}: the class {unknown[0]!r} is not in its @classLabel line")
        y = np.array([names.index(label) for label in labels], np.int32)
    note(f"{path}: {_described(parts)}")
    return collection(parts, None, y, None if names is None else tuple(names))


def _has_classes(header: dict[str, str]) -> bool:
    return header.get("classlabel", "false").lower().startswith("true")


def _numbers(cells: list[str], path: Path, line: int) -> np.ndarray:
    """Returns the cells as float32, NaN where a value is missing."""
    try:
        plain = ["nan" if cell.strip().lower() in MISSING else cell for cell in cells]
        values = np.array(plain, np.float64)
    except ValueError as error:
        raise InputError(f"{path}, line {line}: {error}, expected numbers") from error
    if np.isinf(values.astype(np.float32)).any():
        raise InputError(f"{path}, line {line}: infinity in float32, expected numbers")
    return values.astype(np.float32)


def _trimmed(values: np.ndarray) -> np.ndarray:
    """Returns a series [T, C] without missing points at its end, which fill up shorter ones."""
    known = np.flatnonzero(np.isfinite(values).any(axis=1))
    return values[: known[-1] + 1 if known.size else 0]


def _described(parts: list[np.ndarray]) -> str:
    lengths, channels = [len(part) for part in parts], parts[0].shape[1]
    points = f"{min(lengths)} to {max(lengths)}" if len(set(lengths)) > 1 else str(lengths[0])
    of = f", {channels} channels" if channels > 1 else ""
    return f"{len(parts)} series of {points} points{of}"
