"""`conditional:NAME`: samples with their class behind them, in memory and streamed."""

from __future__ import annotations

import numpy as np
import pytest

from msae_jax import data
from msae_jax.data.classes import conditional
from msae_jax.data.dataset import Dataset, Split, take
from msae_jax.errors import InputError
from msae_jax.system.names import FromFile

X = np.arange(24, dtype=np.uint8).reshape(4, 2, 3, 1)
Y = np.array([1, 0, 2, 1], np.int32)


class Streamed:
    shape, dtype = X.shape, X.dtype

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, index: int) -> np.ndarray:
        return X[index]

    def __getitems__(self, indices: np.ndarray) -> np.ndarray:
        return X[np.asarray(indices)]


def test_streamed_samples_are_the_resident_ones() -> None:
    resident = conditional(Dataset("some", Split(X, Y), Split(X, Y)))
    assert resident.name == "conditional:some"
    np.testing.assert_array_equal(resident.train.x[2], [*range(12, 18), 0, 0, 255])
    streamed = conditional(Dataset("some", Split(Streamed(), Y), Split(Streamed(), Y)))
    assert streamed.sample_shape == resident.sample_shape == (9,)
    rows = np.array([3, 0])
    np.testing.assert_array_equal(take(streamed.train.x, rows), resident.train.x[rows])
    np.testing.assert_array_equal(streamed.train.x[1], resident.train.x[1])


def test_a_data_set_needs_classes() -> None:
    with pytest.raises(InputError, match="sines has no labels"):
        data.load("conditional:sines")
    odd = Dataset("some", Split(X, Y), Split(X, Y + 1))
    with pytest.raises(InputError, match="classes must be 0 to 2, got 1 to 3"):
        conditional(odd)


def test_it_is_a_data_set_by_its_name_and_runs_no_code_of_a_file() -> None:
    found = data.load("conditional:digits")
    assert found.sample_shape == (28 * 28 + 10,)
    with pytest.raises(InputError, match="evil:Class"):
        data.load(FromFile("conditional:evil:Class"))
