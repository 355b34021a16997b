"""CSV files: their numbers by pyarrow, what was guessed, and the place of whatever is wrong."""

from __future__ import annotations

import codecs
import csv
import io
import itertools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np

from msae_jax.data import labels
from msae_jax.data.guesses import Form, guess, is_number, is_whole, records
from msae_jax.data.options import Options
from msae_jax.errors import InputError, unknown_name

INDICES = ("index", "id", "idx")
COUNTED = 4  # rows, at least, for a column that counts them to be taken for an index
UNNAMED = ("", "unnamed: 0")  # what pandas writes above an index, and reads back


@dataclass(frozen=True)
class Table:
    """x: the features, float32 [N, D]. y: the labels, int32 [N], or None. notes: the guesses.

    classes: the texts that the labels number, where they are text.
    """

    x: np.ndarray
    y: np.ndarray | None
    notes: list[str]
    classes: tuple[str, ...] | None = None


@dataclass(frozen=True)
class _Plan:
    """Which columns, counted from 0, are features, labels, empty; `told`: the user chose them."""

    names: list[str]
    features: list[int]
    label: int | None
    empty: int | None
    told: bool


def read_csv(path: Path, options: Options | None = None) -> Table:
    """Returns the numbers of a CSV file, one sample a record; blank lines are skipped.

    The first line may be a header: see `guesses`. Unless `options.columns` chooses the features,
    two columns are left out: a first one without a name, which is the index that pandas writes, and
    an empty last one, which a separator at the end of every line makes. The column `options.label`
    becomes `y`; without these options, the only column with a name of `labels.NAMES` does, if it
    holds whole numbers or text. Text labels are numbered in alphabetical order.

    Raises: InputError if a cell is not a number or a record has another width, with its line; or if
      the file can be read in two ways, with the option that decides.
    """
    options = options or Options()
    raw = content(path)
    try:
        return _read(raw, options)
    except _Fault as fault:
        raise InputError(f"{path}, {fault}") from fault
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def content(path: Path) -> bytes:
    """Returns the bytes of a text file, lines of spaces made blank.

    Raises: InputError if it cannot be read, or is no text.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in raw:
        kind = "UTF-16" if raw.startswith((b"\xff\xfe", b"\xfe\xff")) else "binary"
        raise InputError(f"{path}: cannot be read as text: it is {kind}, expected UTF-8")
    return re.sub(rb"(?m)^ +(?=\r?\n|\r|\Z)", b"", raw)


class _Fault(Exception):
    """Something is wrong at a line, which the text names."""


def _read(raw: bytes, options: Options) -> Table:
    encoding = encoding_of(raw)
    form = guess(text_of(raw, encoding), options)
    notes = list(form.notes)
    plan = _plan(form, options, notes)
    start = 0
    for line_end in itertools.islice(re.finditer(rb"\r\n|\r|\n", raw), form.skip):
        start = line_end.end()
    if not raw[start:].strip():
        raise InputError("holds no numbers")
    if raw.find(b'"', start) >= 0:  # pyarrow reads '"1"2' as 12
        _check_quotes(raw, encoding, form)
    x, texts = _convert(raw, start, encoding, form, plan)
    if plan.empty is not None and any(cell.strip() for cell in texts[plan.empty]):
        raise _fault(raw, encoding, form, [*plan.features, plan.empty])
    if not plan.told:
        x = _without_index(x, form, plan, notes)
        likely = None if plan.label is not None else labels.likely(form, plan.features)
        if likely is not None:
            name = plan.names[likely]
            notes.append(
                f"column {name} holds few whole numbers beside fractions: if they are labels, "
                f"--label {name} says so"
            )
    y, classes = None, None
    if plan.label is not None:
        y, classes = labels.numbered(texts[plan.label], plan.names[plan.label], notes)
    if notes:
        notes.append(f"{len(x)} samples of {x.shape[1]} features")
    return Table(x, y, notes, classes)


def encoding_of(raw: bytes) -> str:
    """Returns UTF-8, or Windows' own encoding where the first lines are not UTF-8."""
    try:
        codecs.getincrementaldecoder("utf-8-sig")().decode(raw[: 1 << 16])
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8-sig"


def text_of(raw: bytes, encoding: str) -> TextIO:
    """Returns the bytes as text to be read line by line."""
    return io.TextIOWrapper(io.BytesIO(raw), encoding, errors="replace", newline="")


def _plan(form: Form, options: Options, notes: list[str]) -> _Plan:
    width = len(form.first)
    names = [cell.strip().lstrip("# ") for cell in form.first]
    if not form.header:
        names = [str(i + 1) for i in range(width)]
    rows = [cells for cells in form.body if len(cells) == width]
    label = None if options.label is None else column(options.label, names)
    if options.columns is not None:
        features = [i for i in chosen(options.columns, names) if i != label]
        if not features:
            raise InputError("no column is left for the features")
        return _Plan(names, features, label, None, True)
    features = [i for i in range(width) if i != label]
    if label is None and form.header:
        label = labels.by_name(names, rows)
        if label is not None:
            features.remove(label)
            notes.append(
                f"column {names[label]!r} holds labels and is no feature (--columns : keeps it)"
            )
    if form.header and width > 1 and names[0].lower() in UNNAMED and label != 0:
        features.remove(0)
        notes.append("the first column has no name, is an index and is left out (--columns)")
    empty = width - 1 if width > 1 and rows and width - 1 in features else None
    if empty is not None and (names[-1] if form.header else form.first[-1].strip()):
        empty = None
    if empty is not None and not any(cells[-1].strip() for cells in rows):
        features.remove(empty)
        notes.append("every line ends with a separator, the empty last column is left out")
    else:
        empty = None
    if not features:
        raise InputError("no column is left for the features")
    return _Plan(names, features, label, empty, False)


def column(name: str, names: list[str]) -> int:
    """Returns the number of the column of that name.

    Raises: InputError if there is none, or more than one.
    """
    if names.count(name) == 1:
        return names.index(name)
    if name in names:
        raise InputError(f"{names.count(name)} columns are named {name!r}, expected one")
    raise unknown_name("column", name, names[:50])


def chosen(columns: str, names: list[str]) -> list[int]:
    """Returns the columns that `a,c:e` names, in that order; both ends of a range belong to it."""
    found: list[int] = []
    for part in [columns] if columns in names else next(csv.reader([columns])):
        first, colon, last = part.partition(":")
        if part in names or not colon:
            found.append(column(part.strip() if part not in names else part, names))
            continue
        begin = column(first, names) if first else 0
        end = column(last, names) if last else len(names) - 1
        found += range(begin, end + 1)
    if not found or len(set(found)) < len(found):
        raise InputError(f"columns must name each feature once, got {columns!r}")
    return found


def _convert(
    raw: bytes, start: int, encoding: str, form: Form, plan: _Plan
) -> tuple[np.ndarray, dict[int, list[str]]]:
    """Returns the features, float32 [N, D], and the cells of the other columns by number.

    pyarrow gives each text the float32 that is nearest to it.
    """
    import pyarrow as pa
    from pyarrow import csv as reader

    texts = [i for i in (plan.label, plan.empty) if i is not None]
    types = dict.fromkeys(map(str, plan.features), pa.float32())
    types |= dict.fromkeys(map(str, texts), pa.binary())
    try:
        table = reader.read_csv(
            pa.BufferReader(pa.py_buffer(raw).slice(start)),
            reader.ReadOptions(
                column_names=[str(i) for i in range(len(form.first))],
                block_size=min(max(len(raw), 1 << 16), 1 << 30),
            ),
            reader.ParseOptions(delimiter=form.separator, newlines_in_values=True),
            reader.ConvertOptions(
                column_types=types, include_columns=list(types), null_values=[],
                decimal_point=form.decimal, check_utf8=False,
            ),
        )  # fmt: skip
    except pa.ArrowException as error:
        raise _fault(raw, encoding, form, plan.features, str(error)) from error
    x = np.empty((table.num_rows, len(plan.features)), np.float32)
    for column, i in zip(x.T, plan.features, strict=True):
        column[:] = table[str(i)].to_numpy()
    return x, {
        i: [cell.decode(encoding, "replace") for cell in table[str(i)].to_pylist()] for i in texts
    }


def _check_quotes(raw: bytes, encoding: str, form: Form) -> None:
    line = 0
    try:
        for record in records(text_of(raw, encoding), form.separator, strict=True):
            line = record[1]
    except csv.Error as error:
        raise _Fault(f"line {line + 1}: the quotes are not as expected: {error}") from error


def _fault(
    raw: bytes, encoding: str, form: Form, columns: list[int], reason: str = ""
) -> Exception:
    """Returns where and what the first fault among the columns is, else the reader's `reason`."""
    first_line, width = None, len(form.first)
    for line, _, cells in records(text_of(raw, encoding), form.separator):
        first_line = line if first_line is None else first_line
        if line <= form.skip:
            continue
        if len(cells) != width:
            return _Fault(
                f"line {line}: {len(cells)} columns, expected {width} as in line {first_line}"
            )
        for i in columns:
            if not is_number(cells[i], form.decimal):
                what = f"line {line}, column {i + 1}: {cells[i][:60]!r} is not a number"
                return _Fault(what + _advice(cells[i], i, form, line == first_line))
    return InputError(f"not a readable .csv file of numbers: {' '.join(reason.split())[:200]}")


def _advice(cell: str, column: int, form: Form, is_first: bool) -> str:
    if form.decimal == "." and is_number(cell, ","):
        return "; --decimal , reads decimal commas"
    if len(form.first) == 1 and all(map(is_number, cell.split())) and cell.strip():
        return "; --separator space parts it"
    if is_first and cell.strip():
        return "; --header yes takes the line as names"
    body = [cells[column] for cells in form.body if len(cells) > column]
    if re.search("[A-Za-z]", cell) and body and not any(map(is_number, body)):
        name = form.first[column].strip() if form.header else column + 1
        return f"; --label {name} takes the column as labels, --columns leaves it out"
    return ""


def _without_index(x: np.ndarray, form: Form, plan: _Plan, notes: list[str]) -> np.ndarray:
    """Returns the features without a first one that counts the rows and is named as an index.

    Raises: InputError where such a column has no name.
    """
    first, n = plan.features[0], len(x)
    counted = np.arange(n, dtype=np.float32) + x[0, 0]
    column = [cells[first] for cells in form.body if len(cells) > first]
    if x.shape[1] < 2 or n < COUNTED or not all(map(is_whole, column)):
        return x
    if x[0, 0] not in (0, 1) or not np.array_equal(x[:, 0], counted):
        return x
    if not form.header:
        raise InputError(
            f"column {first + 1} counts the lines: --columns {first + 2}: leaves it out, "
            "--columns : keeps it"
        )
    dropped = plan.names[first].lower() in INDICES
    what = "left out" if dropped else "a feature"
    notes.append(f"column {plan.names[first]!r} counts the lines and is {what} (--columns)")
    return x[:, 1:] if dropped else x
