"""Samples with their class behind them, for models of images given their class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from msae_jax.data.dataset import Dataset, Source, Split, take
from msae_jax.errors import InputError


def with_classes(x: np.ndarray, y: np.ndarray, classes: int = 10) -> np.ndarray:
    """Returns `[N, D + classes]`: samples `[N, ...]`, flattened, then their classes `[N]`, one-hot.

    The dtype stays. In uint8 the one-hot mark is 255, because a model gets uint8 divided by 255.

    Raises:
      InputError: classes that are not `[N]` whole numbers from 0 to classes - 1.
    """
    y = np.asarray(y)
    if y.shape != (len(x),) or not np.issubdtype(y.dtype, np.integer):
        raise InputError(f"classes must be [{len(x)}] integers, got {y.dtype} {list(y.shape)}.")
    if len(y) and not (y.min() >= 0 and y.max() < classes):
        raise InputError(f"classes must be 0 to {classes - 1}, got {y.min()} to {y.max()}.")
    mark = 255 if x.dtype == np.uint8 else 1
    marks = (np.eye(classes) * mark).astype(x.dtype)[y]
    return np.concatenate([x.reshape(len(x), -1), marks], axis=1)


def conditional(dataset: Dataset) -> Dataset:
    """Returns a data set whose samples are flat, with their class behind them; see `with_classes`.

    There are as many classes as the greatest label of the training part says.

    Raises:
      InputError: there are no labels, or they are not 0, 1, ...
    """
    splits = [dataset.train, dataset.test]
    if dataset.series is not None or any(split.y is None for split in splits):
        raise InputError(f"{dataset.name} has no labels of samples: conditional: needs classes.")
    assert dataset.train.y is not None
    classes = int(dataset.train.y.max()) + 1
    train, test = (_with_classes(split, classes) for split in splits)
    return replace(dataset, name=f"conditional:{dataset.name}", train=train, test=test)


def _with_classes(split: Split, classes: int) -> Split:
    assert split.y is not None
    if isinstance(split.x, np.ndarray):
        return split._replace(x=with_classes(split.x, split.y, classes))
    return split._replace(x=_WithClasses(split.x, split.y, classes))


class _WithClasses:
    """A `Source` that adds the classes of another's samples as they are read."""

    def __init__(self, x: Source, y: np.ndarray, classes: int) -> None:
        with_classes(np.zeros((len(y), 0), x.dtype), y, classes)  # refuses what are no classes
        self._x, self._y, self._classes = x, y, classes
        self.shape = (len(x), int(np.prod(x.shape[1:])) + classes)
        self.dtype = x.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: int) -> np.ndarray:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        rows = np.asarray(indices)
        return with_classes(take(self._x, rows), self._y[rows], self._classes)
