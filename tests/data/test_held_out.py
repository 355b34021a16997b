from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from msae_jax.data import Dataset, Split
from msae_jax.data.held_out import held_out
from msae_jax.data.series import Windows
from msae_jax.errors import InputError


def numbered(n: int) -> Dataset:
    x = np.arange(n, dtype=np.float32)[:, None]
    test = np.full((3, 1), -1, np.float32)
    return Dataset("numbered", Split(x, np.arange(n, dtype=np.int32)), Split(test))


def test_a_share_of_the_training_part_is_held_out_and_the_test_part_is_gone() -> None:
    found = held_out(numbered(50), 0.2)
    assert (len(found.train.x), len(found.test.x)) == (40, 10)
    both = np.concatenate([found.train.x, found.test.x])[:, 0]
    assert sorted(both) == list(range(50))  # each once, none of the test part
    assert sorted(found.test.x[:, 0]) != list(range(40, 50))  # not the last ones
    for split in (found.train, found.test):
        np.testing.assert_array_equal(split.x[:, 0], split.y)
    np.testing.assert_array_equal(found.test.x, held_out(numbered(50), 0.2).test.x)


def test_windows_do_not_share_points_with_those_that_are_held_out() -> None:
    values = np.arange(100, dtype=np.float32)[:, None]
    windows = Windows(values, np.arange(0, 91, 2, dtype=np.int32), 10)
    found = held_out(Dataset("series", Split(windows), Split(windows)), 0.25)
    train, held = (np.asarray(split.x[:]) for split in (found.train, found.test))
    assert len(held) == 12 == round(0.25 * 46)
    assert held.max() == 99
    assert not {*train.ravel()} & {*held.ravel()}
    assert len(train) == 30  # the last one ends before point 68, where the first held out begins


def test_windows_that_share_no_points_are_held_out_at_random() -> None:
    values = np.arange(100, dtype=np.float32)[:, None]
    windows = Windows(values, np.arange(0, 100, 10, dtype=np.int32), 10)
    found = held_out(Dataset("rows", Split(windows), Split(windows)), 0.3)
    assert (len(found.train.x), len(found.test.x)) == (7, 3)
    assert list(found.test.x.starts) != [70, 80, 90]


class Stored:
    """A source that is read when asked for."""

    shape, dtype = (20, 1), np.dtype(np.float32)

    def __len__(self) -> int:
        return 20

    def __getitem__(self, index: int) -> np.ndarray:
        return np.array([index], np.float32)

    def __getitems__(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        return np.asarray(indices, np.float32)[:, None]


def test_a_source_is_not_read() -> None:
    found = held_out(Dataset("stored", Split(Stored()), Split(Stored())), 0.25)
    train, held = found.train.x, found.test.x
    assert (train.shape, held.shape) == ((15, 1), (5, 1))
    every = np.concatenate([train.__getitems__(np.arange(15)), held.__getitems__(range(5))])
    assert sorted(every[:, 0]) == list(range(20))
    assert held[2] == held.__getitems__([2])[0]


@pytest.mark.parametrize(("n", "share"), [(50, 0.0), (50, 1.0), (50, -1.0), (2, 0.1), (1, 0.9)])
def test_a_share_that_leaves_nothing_is_refused(n: int, share: float) -> None:
    with pytest.raises(InputError, match="validation share"):
        held_out(numbered(n), share)
