"""What a run knows of the data that it was trained on, and how other data differ from them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from msae_jax.data.dataset import Dataset, Samples, take
from msae_jax.data.series.windows import Windows
from msae_jax.errors import InputError

CHUNK = 2**24  # bytes that are read at once
LOOKED_AT = 2**30
"""At most this many bytes of each split are read. From a larger split evenly spaced samples are
read, the first and the last included, so that a data set of any size takes seconds."""


@dataclass(frozen=True)
class Facts:
    """What is kept of a `Dataset`.

    Attributes:
      dtype: `uint8`, intensities that a model is given as x / 255, or `float32`.
      shape: of one sample.
      low, high: the least and the greatest value of the training split, in units of `dtype`.
      train, test: numbers of samples.
      digest: SHA-256 over dtype, shapes and values of both splits, at most `LOOKED_AT` bytes each.
      series: of windows of series, what `series.dataset.Facts.to_dict` gives, else None.
    """

    dtype: str
    shape: tuple[int, ...]
    low: float
    high: float
    train: int
    test: int
    digest: str
    series: dict[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Returns the facts as JSON values."""
        values = asdict(self) | {"shape": list(self.shape)}
        return {key: value for key, value in values.items() if value is not None}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Facts:
        """Returns the facts that `to_dict` wrote.

        Raises: InputError if they are not such.
        """
        try:
            found = cls(**(dict(values) | {"shape": tuple(values["shape"])}))
            numbers = [found.low, found.high]
            counts = [found.train, found.test, *found.shape]
            texts = [found.dtype, found.digest]
            if not (
                all(type(n) is int for n in counts)
                and all(isinstance(n, int | float) for n in numbers)
                and all(isinstance(text, str) for text in texts)
            ):
                raise TypeError("a value is of another type")
        except (TypeError, KeyError, ValueError) as error:
            raise InputError(f"these are no facts of a data set: {error}") from error
        return found


def of(dataset: Dataset) -> Facts:
    """Returns the facts of a data set, reading each split once."""
    digest = hashlib.sha256()
    low, high = math.inf, -math.inf
    for part, x in [("train", dataset.train.x), ("test", dataset.test.x)]:
        digest.update(f"{part} {x.dtype} {list(x.shape)}\n".encode())
        if isinstance(x, Windows):
            digest.update(np.ascontiguousarray(x.starts).view(np.uint8).data)
        for chunk in _chunks(x):
            digest.update(np.ascontiguousarray(chunk).reshape(-1).view(np.uint8).data)
            if part == "train":
                low, high = min(low, _low(chunk)), max(high, _high(chunk))
    x = dataset.train.x
    return Facts(
        str(x.dtype), dataset.sample_shape, low, high, len(x), len(dataset.test.x),
        digest.hexdigest(), None if dataset.series is None else dataset.series.to_dict(),
    )  # fmt: skip


def changed(before: Facts, now: Facts) -> str | None:
    """Returns what differs between the data of a run and those under their name now, else None.

    If the data under a name have changed, so may have the split into training and test samples
    and the number of steps in an epoch: the run could be tested on samples that it trained on.
    """
    if before.digest == now.digest:
        return None
    if before.shape != now.shape:
        what = f"samples had shape {list(before.shape)} and have {list(now.shape)}"
    elif before.dtype != now.dtype:
        what = f"values were {before.dtype} and are {now.dtype}"
    elif (before.train, before.test) != (now.train, now.test):
        what = (
            f"there were {before.train} training and {before.test} test samples, and there are "
            f"{now.train} and {now.test}"
        )
    else:
        what = "values differ"
    return f"the data have changed since the run began: {what}"


def against(facts: Facts, x: Samples, *, unit: bool = False) -> list[str]:
    """Returns in what way samples differ from those that a model was trained on, a sentence each.

    Values are compared as the model sees them: uint8 divided by 255. Their range counts as
    different if it goes beyond the training range by more than the width of the training range, or,
    for more than one sample, if it is narrower than a fiftieth of it.

    Args:
      facts: of the data that the model was trained on.
      x: the samples [N, ...] to put through it.
      unit: whether the model or its likelihood needs values in [0, 1].
    """
    found = []
    if tuple(x.shape[1:]) != facts.shape:
        found.append(
            f"the samples have shape {list(x.shape[1:])}, the model was trained on "
            f"{list(facts.shape)}"
        )
    kind = np.dtype(x.dtype)
    chunks = [(_low(chunk), _high(chunk)) for chunk in _chunks(x)]
    low = _seen(min(least for least, _ in chunks), kind.name)
    high = _seen(max(most for _, most in chunks), kind.name)
    known_low, known_high = _seen(facts.low, facts.dtype), _seen(facts.high, facts.dtype)
    width = known_high - known_low
    got = f"the values range from {low:.4g} to {high:.4g}"
    known = f"the model was trained on {known_low:.4g} to {known_high:.4g}"
    scales = "" if kind.name == facts.dtype else f" ({kind.name} now, {facts.dtype} then)"
    if unit and not (low >= 0 and high <= 1):
        found.append(f"{got}, the model needs values in [0, 1]{scales}: rescale them")
    elif low < known_low - width or high > known_high + width:
        found.append(f"{got}, {known}{scales}: rescale them as the training data were")
    elif len(x) > 1 and (high - low) * 50 < width:
        found.append(f"{got} only, {known}{scales}: were they scaled twice?")
    return found


def _low(chunk: np.ndarray) -> float:
    """Returns the least value that is known; NaN, which `min` passes over, where none is."""
    return float(np.fmin.reduce(chunk, axis=None))


def _high(chunk: np.ndarray) -> float:
    return float(np.fmax.reduce(chunk, axis=None))


def _seen(value: float, dtype: str) -> float:
    return value / 255 if dtype == "uint8" else value


def _chunks(x: Samples) -> Iterator[np.ndarray]:
    """Yields the samples that are looked at, in order, in parts of at most about `CHUNK` bytes.

    Of windows it yields the values of the series, each once.
    """
    if isinstance(x, Windows):
        yield from _chunks(x.values)
        return
    size = max(1, math.prod(x.shape[1:]) * np.dtype(x.dtype).itemsize)
    n, count = len(x), max(2, LOOKED_AT // size)
    rows = max(1, CHUNK // size)
    if n <= count:
        for begin in range(0, n, rows):
            stop = min(begin + rows, n)
            yield x[begin:stop] if isinstance(x, np.ndarray) else take(x, np.arange(begin, stop))
        return
    picked = np.linspace(0, n - 1, count).round().astype(np.int64)
    for begin in range(0, count, rows):
        yield take(x, picked[begin : begin + rows])
