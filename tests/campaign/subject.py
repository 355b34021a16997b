"""What a kind of input is: how it is made, damaged and read, and what may come of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.campaign.damage import damage_alone

Outcome = Mapping[str, Any]
"""What was read: NumPy arrays, or JSON values, by name."""

Judge = Callable[[Outcome, Outcome, Path], str | None]
"""Compares what was read of the original and of the damaged input, which is at the path."""


@dataclass(frozen=True)
class Subject:
    """One kind of input.

    Attributes:
      count: of damaged inputs, of 6,000 in all.
      make: writes an input to an empty folder; two seeds make two that differ in their values.
      read: reads it as a user does.
      judge: returns what is wrong with what was read of a damaged input; by default, whatever is
        different.
      spoil: damages the input in a folder, and returns what was done.
    """

    count: int
    make: Callable[[Path, int], None]
    read: Callable[[Path], Outcome]
    judge: Judge = lambda original, got, path: different(original, got)
    spoil: Callable[[Path, Path, np.random.Generator], str] = damage_alone


def different(original: Outcome, got: Outcome) -> str | None:
    """Returns the name of a value that is not the same to the bit, None where all are."""
    if list(original) != list(got):
        return f"names {list(original)[:5]} ... became {list(got)[:5]} ..."
    for name, value in original.items():
        if not _same(value, got[name]):
            return f"{name} was {_short(value)}, became {_short(got[name])}"
    return None


def differently_shaped(original: Outcome, got: Outcome, path: Path) -> str | None:
    """Returns the name of an array with another shape, or of another value; for formats without a
    digest, in which a flipped bit of a value is another valid file."""
    return different(*({n: _form(v) for n, v in part.items()} for part in (original, got)))


def anything(original: Outcome, got: Outcome, path: Path) -> str | None:
    """Of what a stranger wrote, anything may be read."""
    return None


def _form(value: Any) -> Any:
    return list(value.shape) if isinstance(value, np.ndarray) else value


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray):
        same = isinstance(b, np.ndarray) and (a.dtype, a.shape) == (b.dtype, b.shape)
        return bool(same and a.tobytes() == b.tobytes())
    return bool(json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True))


def _short(value: Any) -> str:
    return " ".join(repr(value).split())[:150]
