"""What the first lines of a CSV file say of its separator, decimal mark and header."""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TextIO

from msae_jax.data.options import Options
from msae_jax.errors import InputError

LINES = 100  # lines that are looked at
NAMES = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "'|'", " ": "a space"}


@dataclass(frozen=True)
class Form:
    """How a CSV file is written.

    Attributes:
      header: whether `first`, the cells of its first record, names the columns.
      body: the records that follow the first, at most `LINES` of them.
      skip: how many lines come before the first sample.
      notes: what was guessed, to be said.
    """

    separator: str
    decimal: str
    header: bool
    first: list[str]
    body: list[list[str]]
    skip: int
    notes: tuple[str, ...]


def records(text: TextIO, separator: str, *, strict: bool = False) -> Iterator[tuple]:
    """Yields (number of its first line, of its last line, cells) of each record that is not blank.

    Raises: csv.Error for wrong quotes, if `strict`.
    """
    limit = csv.field_size_limit(2**31 - 1)  # of characters in a cell; 131,072 by default
    try:
        reader = csv.reader(text, delimiter=separator, strict=strict)
        begin = 1
        for cells in reader:
            if len(cells) > 1 or (cells and cells[0].strip()):
                yield begin, reader.line_num, cells
            begin = reader.line_num + 1
    finally:
        csv.field_size_limit(limit)


def is_number(cell: str, decimal: str = ".") -> bool:
    """Whether the cell is a decimal number, infinity and NaN included."""
    if decimal == ",":
        cell = cell.replace(".", "x").replace(",", ".")
    try:
        float(cell)
    except ValueError:
        return False
    return cell.isascii() and "_" not in cell


def is_whole(cell: str) -> bool:
    """Whether the cell is written as a whole number."""
    return re.fullmatch(r"\s*[+-]?\d+\s*", cell) is not None


def guess(text: TextIO, options: Options) -> Form:
    """Returns the form of a CSV file, from its first lines.

    Raises: InputError where it holds no line, or where the lines can be read in two ways: then the
      error names the option that says which.
    """
    numbered = ((i, line) for i, line in enumerate(text, start=1) if line.strip(" \r\n"))
    lines = list(itertools.islice(numbered, LINES + 1))
    told = options.separator
    if lines and (excel := re.fullmatch(r"sep=(.)\s*", lines[0][1])):
        told, lines = told or excel[1], lines[1:]
    if not lines:
        raise InputError("holds no numbers")
    content = [line for _, line in lines]
    separator, decimal = _marks(content, told, options.decimal)
    parsed = _parsed(content, separator)
    (_, last, first), body = parsed[0], [cells for _, _, cells in parsed[1:]]
    notes = []
    if told is None and separator != "," and separator in "".join(content):
        notes.append(f"the separator is {NAMES[separator]} (--separator)")
    if options.decimal is None and decimal == ",":
        notes.append("the decimal mark is a comma (--decimal)")
    guessed = options.header is None
    header = _has_header(first, body, decimal) if guessed else options.header == "yes"
    if guessed and header:
        notes.append(f"the first line, {_short(first)}, is a header (--header)")
    skip = lines[0][0] - 1 + (last if header else 0)
    return Form(separator, decimal, header, first, body, skip, tuple(notes))


def _parsed(lines: list[str], separator: str) -> list[tuple]:
    text = "".join(lines)
    found = list(records(io.StringIO(text, newline=""), separator))
    cut = len(lines) > LINES and text.count('"') % 2  # inside a quoted cell
    return found[:-1] if cut and len(found) > 1 else found


def _marks(lines: list[str], separator: str | None, decimal: str | None) -> tuple[str, str]:
    """Returns the separator and decimal mark under which the most cells are numbers."""
    if separator is None and decimal is None and _is_column_of_fractions(lines):
        return ";", ","
    best: tuple[float, str, str] | None = None
    for sep in [separator] if separator else (",", ";", "\t", "|"):
        stands_there = any(sep in line for line in lines)
        if not stands_there and sep != (separator or (";" if decimal == "," else ",")):
            continue
        rows = [cells for _, _, cells in _parsed(lines, sep)]
        width = max(map(len, rows), default=0)
        alike = sum(len(cells) == width for cells in rows) / max(len(rows), 1)
        cells = [cell for row in rows[1:] or rows for cell in row if cell.strip()]
        for mark in [decimal] if decimal else (".", ","):
            if sep == mark == "," and not any('"' in line for line in lines):
                continue
            share = alike * sum(is_number(cell, mark) for cell in cells) / max(len(cells), 1)
            if best is None or share > best[0]:
                best = share, sep, mark
                commas = {cell.strip() for cell in cells if "," in cell and is_number(cell, mark)}
                thousands = bool(commas) and all(
                    re.fullmatch(r"[+-]?[1-9]\d{0,2},\d{3}", cell) for cell in commas
                )
    assert best is not None
    if decimal is None and best[2] == "," and thousands:
        raise InputError(
            f"the comma of {min(commas)!r} may be a decimal mark or group thousands: --decimal , "
            "reads it as a decimal mark; if it groups thousands, remove it from the file"
        )
    return best[1:]


def _is_column_of_fractions(lines: list[str]) -> bool:
    """Whether each line is one number with a decimal comma.

    Raises: InputError where each may as well be two whole numbers.
    """
    body = [line.strip() for line in (lines[1:] if "," not in lines[0] else lines)]
    if len(lines) < 2 or not all(re.fullmatch(r"[+-]?\d+(,\d+)?", line) for line in body):
        return False
    if any(re.search(r",0\d", line) for line in body):  # no whole number begins with a zero
        return True
    if not all("," in line for line in body):
        return False
    raise InputError(
        f"{body[0]!r} may be two whole numbers or one with a decimal comma: --separator , or "
        "--decimal , says which"
    )


def _has_header(first: list[str], body: list[list[str]], decimal: str) -> bool:
    """Returns whether the first record names the columns.

    A line without numbers does. Numbers can be a header, too, as pandas and spectrometers write
    them: if they count the columns or are evenly spaced, and stand beside text above a column of
    numbers, beside an empty first cell, or above samples that are not so (`_is_above`).
    """
    if not any(is_number(cell, decimal) for cell in first):
        return True
    rows = [cells for cells in body if len(cells) == len(first)]
    columns = [
        i for i in range(len(first))
        if all(is_number(row[i], decimal) or not row[i].strip() for row in rows)
    ]  # fmt: skip
    above = [first[i] for i in columns]
    numbers = [cell for cell in above if is_number(cell, decimal)]
    if len(numbers) < len(above) or not first[0].strip():
        return not numbers or _counts(numbers) or _is_even(numbers, decimal)
    if not rows or not numbers:
        return False
    verdict = _is_above(numbers, [[row[i] for i in columns] for row in rows], decimal)
    if verdict is None:
        raise InputError(
            f"the first line, {_short(first)}, may be a header or a sample: --header yes or "
            "--header no says which"
        )
    return verdict


def _is_above(first: list[str], rows: list[list[str]], decimal: str) -> bool | None:
    """Returns whether a line of numbers is a header of the rows; None where nothing tells."""
    counts, even = _counts(first), _is_even(first, decimal)
    rising = len(first) > 2 and _rises(first)
    if not (counts or even or rising):
        return False
    alike = sum(_is_even(row, decimal) or _rises(row) for row in rows) / len(rows)
    other_kind = _are_whole(first) and not any(map(_are_whole, rows))
    if not alike and len(first) > 2 and (other_kind or (counts and len(first) > 3)):
        return True
    if not alike and even and len(first) > 7:
        values = [_value(cell, decimal) for row in rows for cell in row if cell.strip()]
        low, high = sorted([_value(first[0], decimal), _value(first[-1], decimal)])
        return True if high < min(values) or low > max(values) else None  # a ramp is a sample, too
    if counts or (even and len(first) > 3 and alike < 0.5):
        return None
    return False


def _counts(cells: list[str]) -> bool:
    return [cell.strip() for cell in cells] == [str(i) for i in range(len(cells))]


def _are_whole(cells: list[str]) -> bool:
    return all(map(is_whole, cells))


def _rises(cells: list[str]) -> bool:
    """Whether the cells are whole numbers, each above the one before it."""
    return _are_whole(cells) and all(int(a) < int(b) for a, b in itertools.pairwise(cells))


def _is_even(cells: list[str], decimal: str) -> bool:
    """Whether three or more numbers are evenly spaced, to a hundredth of their distance."""
    if len(cells) < 3 or not all(cell.strip() for cell in cells):
        return False
    values = [_value(cell, decimal) for cell in cells]
    step = (values[-1] - values[0]) / (len(values) - 1)
    return step != 0 and all(
        abs(b - a - step) <= 0.01 * abs(step) for a, b in itertools.pairwise(values)
    )


def _value(cell: str, decimal: str) -> float:
    return float(cell.replace(decimal, "."))


def _short(cells: list[str]) -> str:
    return f"{','.join(cells[:4])[:40]}{',...' if len(cells) > 4 else ''}"
