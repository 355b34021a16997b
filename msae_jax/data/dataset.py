"""What every source gives: a named pair of splits, each held in memory or read at random."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from msae_jax.errors import InputError


@runtime_checkable
class Source(Protocol):
    """Samples that are read when asked for, such as the records of a prepared TFDS split."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape (N, ...) of all samples together."""

    @property
    def dtype(self) -> np.dtype:
        """uint8 or float32."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> np.ndarray: ...

    def __getitems__(self, indices: Sequence[int] | np.ndarray) -> np.ndarray: ...


Samples = np.ndarray | Source
"""Samples [N, ...], in memory or read when asked for."""


class Split(NamedTuple):
    """One split.

    x: [N, ...] samples. uint8 stands for intensities 0..255 (images are [N, H, W, C], channels
      last), to be scaled to [0, 1] where they are used; float32 is used as it is. An array, or a
      `Source` when streaming.
    y: [N] int32 class labels, or None.
    """

    x: np.ndarray | Source
    y: np.ndarray | None = None


@dataclass(frozen=True)
class Dataset:
    """A training and a test split, alike in sample shape and dtype.

    Attributes:
      series: of windows of series, what a run must know of them (`series.dataset.Facts`).
      classes: what the labels stand for, label i for `classes[i]`; None where they are numbers.

    Raises: InputError if a split is empty, the two differ, or labels do not match their samples.
    """

    name: str
    train: Split
    test: Split
    series: Any = None
    classes: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for part, (x, y) in {"train": self.train, "test": self.test}.items():
            if len(x) == 0:
                raise InputError(f"{self.name}: the {part} split is empty")
            if x.dtype not in (np.uint8, np.float32):
                raise InputError(f"{self.name}: {part} is {x.dtype}, expected uint8 or float32")
            if y is not None and y.shape != (len(x),):
                raise InputError(
                    f"{self.name}: the {part} labels have shape {y.shape}, "
                    f"expected ({len(x)},), one per sample"
                )
        train, test = self.train.x, self.test.x
        if (train.shape[1:], train.dtype) != (test.shape[1:], test.dtype):
            raise InputError(
                f"{self.name}: train samples are {train.dtype} {tuple(train.shape[1:])}, "
                f"test samples {test.dtype} {tuple(test.shape[1:])}: they must be alike"
            )

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """The shape of one sample, such as (28, 28, 1)."""
        return tuple(self.train.x.shape[1:])


def aligned(x: np.ndarray) -> np.ndarray:
    """Returns the array where JAX needs no copy of it on a CPU: at a multiple of 64 bytes."""
    if x.flags.c_contiguous and x.ctypes.data % 64 == 0:
        return x
    copy = empty_aligned(x.shape, x.dtype)
    copy[...] = x
    return copy


def empty_aligned(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Returns an array of any values for which `aligned` needs no copy."""
    size = math.prod(shape) * dtype.itemsize
    memory = np.empty(size + 64, np.uint8)
    begin = -memory.ctypes.data % 64
    return memory[begin : begin + size].view(dtype).reshape(shape)


def take(x: np.ndarray | Source, indices: np.ndarray) -> np.ndarray:
    """Returns the samples [B, ...] at `indices` [B], in that order."""
    return x[indices] if isinstance(x, np.ndarray) else x.__getitems__(indices)
