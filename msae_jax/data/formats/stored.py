"""What every format gives: named arrays, in memory or read in order from a file."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

import numpy as np

from msae_jax.errors import InputError

BOMB = 200  # what unpacks to over BOMB times its size and over EXPANDED is refused
EXPANDED = 2**28  # bytes

TRAIN = ("train", "training")
TEST = ("test", "testing", "validation", "valid", "val")


class Stored(Protocol):
    """Samples in a file that are read in order, a part at a time.

    Attributes:
      shape: [N, ...] of all of them.
      dtype: of the values as they are stored.
      images: whether they are decoded images [N, H, W, C], whose dtype says what white is.
    """

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype: ...

    @property
    def images(self) -> bool: ...

    def __len__(self) -> int: ...

    def chunks(self) -> Iterator[np.ndarray]:
        """Yields all values, [B, ...] consecutive samples at a time."""


CLASSES = "classes"

Content = Mapping[str, np.ndarray | Stored]
"""What a file or folder holds: `x` and its labels `y`, or `train`, `test`, `y_train`, `y_test`; and
under `CLASSES` the texts that the labels number, where they are text."""


def splits_among(names: Iterable[str]) -> dict[str, str]:
    """Returns which of the names are the training and the test split.

    The test split is the first of `TEST` that is there. Without a name of `TRAIN` there are none.
    """
    known = {name.lower(): name for name in names}
    found = {}
    for part, titles in (("train", TRAIN), ("test", TEST)):
        title = next((title for title in titles if title in known), None)
        if title is not None:
            found[part] = known[title]
    return found if "train" in found else {}


def check_size(claimed: int, stored: int) -> None:
    """Raises ValueError if `stored` bytes claim to unpack to far more than data do."""
    if claimed > max(EXPANDED, BOMB * stored):
        raise ValueError(
            f"{stored:,} bytes unpack to {claimed:,}: save them as .npy if that is meant"
        )


@contextlib.contextmanager
def readable(path: Path | str, kind: str) -> Iterator[None]:
    """Turns whatever damage leads a library to into one line: `path: not a readable kind: why`."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"{path}: not a readable {kind}: {reason}") from error


@contextlib.contextmanager
def named(where: str) -> Iterator[None]:
    """Puts the name of a file before an error of its content."""
    try:
        yield
    except InputError as error:
        if str(error).startswith(where):
            raise
        raise InputError(f"{where}: {error}") from error
