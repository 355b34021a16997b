"""A validation split, held out of the training part, for choosing without the test split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from msae_jax.data.dataset import Dataset, Samples, Source, Split, aligned
from msae_jax.data.series.windows import Windows
from msae_jax.errors import InputError


def held_out(dataset: Dataset, share: float) -> Dataset:
    """Returns a data set whose test split is a share of the training split; the test split is gone.

    Samples are held out at random, always the same ones. Of windows that overlap the last ones are,
    and those that share a point with them are left out of the training split.

    Args:
      share: of the training split, between 0 and 1.

    Raises:
      InputError: the share is none, or one of the two splits would be empty.
    """
    if not 0 < share < 1:
        raise InputError(f"the validation share must lie between 0 and 1, got {share:g}.")
    x, y = dataset.train
    count = round(share * len(x))
    if isinstance(x, Windows) and (np.diff(x.starts) < x.length).any():
        held = np.arange(len(x) - count, len(x))
        begin = x.starts[held].min(initial=np.iinfo(np.int32).max)
        kept = np.flatnonzero(x.starts[: len(x) - count] + x.length <= begin)
    else:
        order = np.random.default_rng(0).permutation(len(x))
        held, kept = np.sort(order[:count]), np.sort(order[count:])
    if not len(held) or not len(kept):
        raise InputError(
            f"{dataset.name}: {len(x)} training samples leave {len(kept)} to train on and "
            f"{len(held)} to choose by, at a validation share of {share:g}: expected some of each."
        )

    def split(rows: np.ndarray) -> Split:
        return Split(_rows(x, rows), None if y is None else y[rows])

    return replace(dataset, train=split(kept), test=split(held))


def _rows(x: Samples, rows: np.ndarray) -> Samples:
    if isinstance(x, Windows):
        return replace(x, starts=x.starts[rows])
    return aligned(x[rows]) if isinstance(x, np.ndarray) else _Some(x, rows)


@dataclass(frozen=True, eq=False)
class _Some:
    """Some samples of a `Source`, read when they are asked for."""

    source: Source
    rows: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.rows), *self.source.shape[1:])

    @property
    def dtype(self) -> np.dtype:
        return self.source.dtype

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> np.ndarray:
        return self.source[int(self.rows[index])]

    def __getitems__(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        return self.source.__getitems__(self.rows[np.asarray(indices)])
