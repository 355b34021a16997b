"""Series in tables: CSV and Arrow's files with a time-stamp column and a column a channel."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np

from msae_jax.data import guesses, table
from msae_jax.data.formats.arrow import Table
from msae_jax.data.formats.columns import index_columns, kind_of
from msae_jax.data.options import Options, note
from msae_jax.data.series.series import Series, check_times, single
from msae_jax.errors import InputError

MISSING = ("", "nan", "na", "n/a", "null", "none", "-", "?")
"""Cells, in lower case, that stand for a value that is missing."""

TIMES = ("time", "timestamp", "date", "datetime", "ds", "time_stamp", "date_time")
LABELS = ("label", "labels", "is_anomaly", "anomaly", "isanomaly", "is_outlier", "outlier")


class _Columns(NamedTuple):
    """The cells of a table, column by column, and the line of each row in the file."""

    names: list[str]
    cells: list[Sequence[object]]
    lines: np.ndarray
    decimal: str


def read(path: Path, options: Options) -> Series:
    """Returns the series of a table: one row a point, one column a channel.

    The time column is the one named by `options.time`, else the first whose cells are times; the
    labels are the column `options.label`, else one named as in `LABELS` that holds 0 and 1. The
    channels are `options.channels`, else all other columns.

    Raises:
      InputError: there is no such column, a cell is not a number, or times do not increase; the
        error names the line.
    """
    columns = _csv(path, options) if path.suffix.lower() == ".csv" else _arrow(path)
    names, said = columns.names, []
    time = _time_column(columns, options)
    if time is not None and options.time is None:
        said.append(f"the times are column {names[time]!r} (--time)")
    label = _label_column(columns, options, time)
    if label is not None and options.label is None:
        said.append(f"the labels are column {names[label]!r} and no channel (--label)")
    rest = [i for i in range(len(names)) if i not in (time, label)]
    if options.channels is not None:
        rest = [i for i in table.chosen(options.channels, names) if i not in (time, label)]
    elif rest and names[rest[0]].lower() in table.UNNAMED and len(rest) > 1:
        said.append("the first column has no name, is an index and is no channel (--channels)")
        rest = rest[1:]
    if not rest:
        raise InputError(f"{path}: no column is left for the channels.")
    values = np.stack([_numbers(columns, i, path) for i in rest], axis=1)
    times = None if time is None else _times(columns, time, options, path)
    if times is not None and options.resample is None:
        check_times(times, columns.lines, str(path))
    elif times is not None:
        check_order(times, columns.lines, path)
    labels = None if label is None else _labels(columns, label, path)
    shown = ", ".join(names[i] for i in rest[:6]) + (", ..." if len(rest) > 6 else "")
    said.append(f"{len(values)} points, {len(rest)} channel{'s'[: len(rest) > 1]}: {shown}")
    note(f"{path}: {'; '.join(said)}")
    return single(values, tuple(names[i] for i in rest), times, labels)


def check_order(times: np.ndarray, lines: np.ndarray, path: Path) -> None:
    """Raises InputError where time stamps do not increase; irregular ones are resampled later."""
    bad = np.flatnonzero(~(np.diff(times) > np.zeros(1, np.diff(times[:1]).dtype)))
    if bad.size:
        check_times(times[bad[0] : bad[0] + 2], lines[bad[0] : bad[0] + 2], str(path))


def looks_like_series(path: Path, options: Options) -> bool:
    """Whether a table has a column of times beside at least one other."""
    try:
        if path.suffix.lower() != ".csv":
            columns = _arrow(path, guesses.LINES)
            return len(columns.names) > 1 and any(map(_are_times, columns.cells))
        with path.open("rb") as file:
            raw = file.read(1 << 16)
        form = guesses.guess(table.text_of(raw, table.encoding_of(raw)), options)
    except (OSError, InputError):
        return False  # said when it is read
    width = len(form.first)
    rows = [cells for cells in form.body if len(cells) == width]
    return width > 1 and any(_are_times([row[i] for row in rows]) for i in range(width))


def _csv(path: Path, options: Options) -> _Columns:
    raw = table.content(path)
    encoding = table.encoding_of(raw)
    try:
        form = guesses.guess(table.text_of(raw, encoding), options)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    width, rows, lines = len(form.first), [], []
    for line, _, cells in guesses.records(table.text_of(raw, encoding), form.separator):
        if line <= form.skip:
            continue
        if len(cells) != width:
            raise InputError(f"{path}, line {line}: {len(cells)} columns, expected {width}")
        rows.append(cells)
        lines.append(line)
    if not rows:
        raise InputError(f"{path}: holds no numbers")
    names = [cell.strip().lstrip("# ") for cell in form.first]
    if not form.header:
        names = [str(i + 1) for i in range(width)]
    if form.notes:
        note(f"{path}: {'; '.join(form.notes)}")
    return _Columns(names, list(zip(*rows, strict=True)), np.array(lines), form.decimal)


def _arrow(path: Path, most: int | None = None) -> _Columns:
    """Returns the columns of a table, of its first rows if `most` says how many."""
    source = Table([path], str(path))
    held = index_columns(source.schema)
    names = [
        field.name
        for field in source.schema
        if field.name not in held or kind_of(field.type) == "times"
    ]
    cells: dict[str, list[object]] = {name: [] for name in names}
    count = 0
    for batch in source.batches(names):
        for name in names:
            cells[name] += batch.column(names.index(name)).slice(0, most).to_pylist()
        count += len(batch)
        if most is not None:
            break
    if not count or not names:
        raise InputError(f"{path}: holds no rows")
    return _Columns(names, list(cells.values()), np.arange(1, count + 1), ".")


def _time_column(columns: _Columns, options: Options) -> int | None:
    if options.time is not None:
        return table.column(options.time, columns.names)
    for i, cells in enumerate(columns.cells):
        if _are_times(cells[: guesses.LINES]):
            return i
    for i, name in enumerate(columns.names):
        if name.lower() in TIMES and len(columns.names) > 1:
            return i
    return None


def _are_times(cells: Sequence[object]) -> bool:
    """Whether all cells are dates with or without a time of day, and none is a plain number."""
    texts = [str(cell) for cell in cells]
    return bool(texts) and all(
        not guesses.is_number(text) and _moment(text) is not None for text in texts
    )


def _moment(text: str, form: str | None = None) -> datetime | None:
    try:
        at = datetime.strptime(text.strip(), form) if form else datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return at.astimezone(UTC).replace(tzinfo=None) if at.tzinfo else at


def _label_column(columns: _Columns, options: Options, time: int | None) -> int | None:
    if options.label is not None:
        return table.column(options.label, columns.names)
    found = [i for i, name in enumerate(columns.names) if name.lower() in LABELS and i != time]
    if len(found) != 1 or len(columns.names) < 2:
        return None
    kinds = {str(cell).strip().lower() for cell in columns.cells[found[0]]}
    return found[0] if kinds <= {"0", "1", "0.0", "1.0", "true", "false"} else None


def _numbers(columns: _Columns, i: int, path: Path) -> np.ndarray:
    """Returns the float32 [T] values of a column, NaN where one is missing."""
    cells = columns.cells[i]
    values = np.empty(len(cells), np.float64)
    for row, cell in enumerate(cells):
        if cell is None or (isinstance(cell, str) and cell.strip().lower() in MISSING):
            values[row] = np.nan
            continue
        text = str(cell)
        if not guesses.is_number(text, columns.decimal):
            hint = "; --channels chooses the columns"
            if columns.decimal == "." and guesses.is_number(text, ","):
                hint = "; --decimal , reads decimal commas"
            raise InputError(
                f"{path}, line {columns.lines[row]}, column {columns.names[i]!r}: {text[:60]!r} is "
                f"not a number{hint}"
            )
        values[row] = float(text.replace(",", ".") if columns.decimal == "," else text)
    with np.errstate(over="ignore"):
        found = values.astype(np.float32)
    if np.isinf(found).any():
        row = int(np.isinf(found).argmax())
        raise InputError(
            f"{path}, line {columns.lines[row]}, column {columns.names[i]!r}: infinity in float32, "
            "expected a number, or nothing where one is missing"
        )
    return found


def _times(columns: _Columns, i: int, options: Options, path: Path) -> np.ndarray:
    """Returns the times [T], datetime64 or float64 seconds."""
    cells = [str(cell) for cell in columns.cells[i]]
    if options.time_format is None and all(guesses.is_number(cell) for cell in cells):
        return np.array(cells, np.float64)
    found = [_moment(cell, options.time_format) for cell in cells]
    if None in found:
        row = found.index(None)
        form = options.time_format or "ISO 8601, such as 2014-07-01 00:30:00"
        raise InputError(
            f"{path}, line {columns.lines[row]}, column {columns.names[i]!r}: {cells[row][:60]!r} "
            f"is no time, expected {form}: --time-format '%d.%m.%Y %H:%M' says another form"
        )
    return np.array(found, "datetime64[us]")


def _labels(columns: _Columns, i: int, path: Path) -> np.ndarray:
    """Returns the labels int32 [T], 1 at an anomaly."""
    known = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1, "": 0}
    found = np.empty(len(columns.lines), np.int32)
    for row, cell in enumerate(columns.cells[i]):
        text = str(cell).strip().lower()
        if text not in known:
            raise InputError(
                f"{path}, line {columns.lines[row]}, column {columns.names[i]!r}: {text[:60]!r} is "
                "no label, expected 0 or 1"
            )
        found[row] = known[text]
    return found
