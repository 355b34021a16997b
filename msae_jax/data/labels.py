"""Which column of a table holds labels, and which numbers labels become."""

from __future__ import annotations

import numpy as np

from msae_jax.data.guesses import Form, is_number, is_whole
from msae_jax.errors import InputError

NAMES = ("label", "labels", "class", "target", "y")


def by_name(names: list[str], rows: list[list[str]]) -> int | None:
    """Returns the one column with a name of `NAMES`, if it holds whole numbers or text; or None."""
    lower = [name.lower() for name in names]
    found = [i for i, name in enumerate(lower) if name in NAMES]
    if len(found) != 1 or len(names) < 2 or (lower[found[0]] == "y" and "x" in lower):
        return None
    cells = [row[found[0]] for row in rows]
    return found[0] if all(map(is_whole, cells)) or not any(map(is_number, cells)) else None


def likely(form: Form, features: list[int]) -> int | None:
    """Returns the first or last feature if only it is whole, with few different values; or None."""
    rows = [cells for cells in form.body if len(cells) == len(form.first)]
    if len(features) < 3 or len(rows) < 3:
        return None
    whole = [i for i in features if all(is_whole(row[i]) for row in rows)]
    if len(whole) != 1 or whole[0] not in (features[0], features[-1]):
        return None
    values = {row[whole[0]].strip() for row in rows}
    return whole[0] if len(values) <= max(2, len(rows) // 2) else None


def numbered(
    cells: list[str], name: str, notes: list[str]
) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """Returns labels int32 [N], and of text the classes that they number, in alphabetical order.

    Whole numbers stay as they are, without classes.

    Raises: InputError for whole numbers beside anything else, fractions, or no label at all.
    """
    cells = [cell.strip() for cell in cells]
    numbers = [float(cell) for cell in cells if is_number(cell)]
    if len(numbers) == len(cells) and all(number.is_integer() for number in numbers):
        if max(map(abs, numbers)) >= 2**31:
            raise InputError(f"column {name!r}: the labels do not fit int32")
        return np.array(numbers, np.float64).astype(np.int32), None
    if numbers or "" in cells:
        raise InputError(
            f"column {name!r} cannot be labels: expected whole numbers in every line, or text in "
            f"every line, got {', '.join(map(repr, sorted(set(cells))[:3]))} and others"
        )
    return _alphabetical(cells, f"the labels of column {name!r}", notes)


def of_folders(cells: list[str], notes: list[str]) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """Returns labels int32 [N] as `numbered` does, but for numbers beside text, which are text."""
    if all(map(is_whole, cells)) and max(abs(int(cell)) for cell in cells) < 2**31:
        return np.array(list(map(int, cells)), np.int32), None
    return _alphabetical(cells, "the classes", notes)


def _alphabetical(
    cells: list[str], what: str, notes: list[str]
) -> tuple[np.ndarray, tuple[str, ...]]:
    classes = sorted(set(cells))
    shown = ", ".join(f"{text} {i}" for i, text in enumerate(classes[:4]))
    more = ", ..." if len(classes) > 4 else ""
    notes.append(f"{what} are numbered: {shown}{more}")
    number = {text: i for i, text in enumerate(classes)}
    return np.array([number[cell] for cell in cells], np.int32), tuple(classes)
