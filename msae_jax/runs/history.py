"""What each epoch gave: a dict an epoch in memory, one array of all members in a checkpoint.

As JSON, written with every checkpoint, the lines of many seeds and epochs took more memory than
their weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from msae_jax.config import DUEL_METRICS, METRICS

History = list[dict[str, float]]
"""One dict an epoch: `epoch`, `step`, `seconds` (of training alone) and the metrics."""

COLUMNS = ("epoch", "step", "seconds", *METRICS)
"""What each epoch gives, in the order of the logs."""

DUEL_COLUMNS = tuple(f"train_{metric.name}" for metric in DUEL_METRICS)
"""What stands among them where a discriminator is trained."""

_COUNTS = ("epoch", "step")


def in_words(epochs: int) -> str:
    """Returns `1 epoch` or, of another number, `20 epochs`."""
    return "1 epoch" if epochs == 1 else f"{epochs} epochs"


def to_array(histories: Sequence[History]) -> tuple[list[str], np.ndarray]:
    """Returns the names of columns, and float64 `[members, epochs, columns]`.

    A member's rows are NaN after its last epoch. The array is never of size 0.
    """
    columns = next((list(line) for history in histories for line in history), ["epoch"])
    epochs = max([1, *map(len, histories)])
    array = np.full((len(histories), epochs, len(columns)), np.nan)
    for rows, history in zip(array, histories, strict=True):
        for row, line in zip(rows, history, strict=False):
            assert line.keys() == set(columns)  # nothing is lost
            row[:] = [line[name] for name in columns]
    return columns, array


def from_array(columns: Sequence[str], array: np.ndarray) -> list[History]:
    """Returns the histories that `to_array` made this of."""
    epoch = columns.index("epoch")

    def line(row: list[float]) -> dict[str, float]:
        found = dict(zip(columns, row, strict=True))
        return {name: int(x) if name in _COUNTS else x for name, x in found.items()}

    return [[line(row) for row in rows if not math.isnan(row[epoch])] for rows in array.tolist()]
