"""Comma-separated numbers, read fast, with the line number of whatever is wrong."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from msae_jax.errors import InputError


def read_csv(path: Path) -> np.ndarray:
    """Returns a CSV file's numbers, float32 [N, D], one sample a line.

    A first line without a single number is a header and skipped; so are blank lines.

    Raises: InputError naming the line of a cell that is not a number, or of a row of another width.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as text: {error}") from error
    rows = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if rows and not any(_is_number(cell) for cell in _cells(rows[0][1])):
        rows = rows[1:]
    if not rows:
        raise InputError(f"{path}: holds no numbers")
    try:
        return np.loadtxt(
            [line for _, line in rows],
            dtype=np.float32, delimiter=",", comments=None, quotechar='"', ndmin=2,
        )  # fmt: skip
    except ValueError as error:
        raise InputError(f"{path}, {_fault(rows) or error}") from error


def _fault(rows: list[tuple[int, str]]) -> str | None:
    """Returns where and what the first fault among the numbered lines is."""
    width = len(_cells(rows[0][1]))
    for number, line in rows:
        cells = _cells(line)
        if len(cells) != width:
            return f"line {number}: {len(cells)} columns, expected {width} as in line {rows[0][0]}"
        for column, cell in enumerate(cells, start=1):
            if not _is_number(cell):
                return f"line {number}, column {column}: {cell!r} is not a number"
    return None


def _cells(line: str) -> list[str]:
    return next(csv.reader([line]))


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
