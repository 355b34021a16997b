"""What the points of the page may be coloured by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from msae_jax import data
from msae_jax.data.options import named, parse
from msae_jax.data.series import TABLES
from msae_jax.errors import InputError, unknown_name
from msae_jax.explorer.packing import packed

MOST_CLASSES = 64
"""A column of more different whole numbers is shown as a scale."""


class Column(NamedTuple):
    """A value of each sample: float32 `[N]`, or int32 where `names` says what each number is."""

    name: str
    values: np.ndarray
    names: tuple[str, ...] | None = None


def of_labels(name: str, values: np.ndarray, classes: Sequence[str] | None = None) -> Column:
    """Returns labels `[N]` as a column of classes, or as numbers where there are too many.

    Args:
      classes: what label i stands for, where the labels are no mere numbers.
    """
    found, place = np.unique(values, return_inverse=True)
    if classes is None and len(found) > MOST_CLASSES:
        return Column(name, values.astype(np.float32))
    known = dict(enumerate(classes or ()))
    names = tuple(known.get(i, str(i)) for i in found.tolist())
    return Column(name, place.astype(np.int32), names)


def of_file(name: str, column: str, split: str) -> Column:
    """Returns a column of the table of a data set, for the samples of a split.

    Raises:
      InputError: the data set is no table, it has no such column, or the column is neither numbers
        nor text.
    """
    path, options = parse(name)
    if path.suffix.lower() not in TABLES or options.window is not None:
        raise unknown_name("column to colour by", column, ("class", "error", "z1"))
    if options.split == "hash":
        raise InputError(
            f"--color {column} does not go with --split hash, by which the samples that are held "
            "out depend on the columns that are read: name the column as --label instead."
        )
    try:
        dataset = data.load(named(name, columns=column))
        values = dataset.train.x if split == "train" else dataset.test.x
        return Column(column, np.asarray(values)[:, 0].astype(np.float32))
    except InputError as error:
        try:
            dataset = data.load(named(name, label=column))
        except InputError:
            raise error from None
        labels = dataset.train.y if split == "train" else dataset.test.y
        assert labels is not None
        return of_labels(column, labels, dataset.classes)


def as_values(column: Column) -> dict[str, Any]:
    """Returns a column as the page reads it."""
    names = None if column.names is None else list(column.names)
    return {"name": column.name, "values": packed(column.values), "names": names}
