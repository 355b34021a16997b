"""A history in a checkpoint is the one that was written, whatever its metrics are."""

from __future__ import annotations

import numpy as np
import pytest

from msae_jax.runs.history import from_array, in_words, to_array


def test_columns_are_those_of_the_lines_in_any_order() -> None:
    one = [{"new_metric": 0.1, "step": 7, "epoch": 1}, {"epoch": 2, "new_metric": -0.2, "step": 14}]
    columns, array = to_array([[], one])
    assert array.shape == (2, 2, 3)
    assert from_array(columns, array) == [[], one]
    order = [2, 0, 1]
    assert from_array([columns[i] for i in order], array[..., order]) == [[], one]


def test_a_metric_that_is_not_finite_ends_no_history() -> None:
    columns, array = to_array([[{"epoch": 1, "loss": float("nan")}, {"epoch": 2, "loss": 1.0}]])
    (found,) = from_array(columns, array)
    assert [line["epoch"] for line in found] == [1, 2]
    assert np.isnan(found[0]["loss"])


def test_lines_must_be_alike() -> None:
    with pytest.raises(AssertionError):
        to_array([[{"epoch": 1, "loss": 1.0}, {"epoch": 2, "loss": 1.0, "more": 2.0}]])


def test_one_epoch_is_not_epochs() -> None:
    assert [in_words(count) for count in (0, 1, 2)] == ["0 epochs", "1 epoch", "2 epochs"]
