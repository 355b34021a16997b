"""The exceptions a user may meet; each message says what was got, what was expected, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def printable(text: str) -> str:
    """Returns `text` with what a terminal would obey instead of print escaped, newlines aside."""
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)


class InputError(ValueError):
    """What the user gave (a name, a file, a shape, a setting) cannot be used.

    Its message is `printable`: it may quote the names in a file that a stranger made.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


class CheckpointError(InputError):
    """A checkpoint is missing, incomplete, or does not match its digest."""


class NotWrittenError(CheckpointError):
    """A checkpoint cannot be written; threads of Orbax may wait on and keep a process alive."""


class DivergedError(RuntimeError):
    """Training produced a loss that is not finite."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> InputError:
    """Returns the error for a `name` that is not among the `known` ones, suggesting the nearest."""
    choices = sorted(known)
    nearest = difflib.get_close_matches(name, choices, n=1, cutoff=0.4)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    return InputError(f"unknown {kind} {name!r}.{hint} Known: {', '.join(choices)}.")
