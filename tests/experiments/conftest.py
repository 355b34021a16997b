"""What lets the studies be tested in quick mode without compiling longest."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import sklearn.manifold  # noqa: F401  (only what is loaded has its threads limited)
from threadpoolctl import threadpool_limits

from msae_jax.data import Dataset, Split, digits


def _even(split: Split, count: int) -> Split:
    """Returns the first `count` samples of each digit, in the order that they have."""
    assert split.y is not None
    chosen = np.sort(np.concatenate([np.flatnonzero(split.y == k)[:count] for k in range(10)]))
    return Split(split.x[chosen], split.y[chosen])


@pytest.fixture(scope="module")
def even_digits(all_quick_to_compile: None) -> Iterator[None]:
    """Of each of the `digits` 128 to train on and 32 to test on, and programs compiled quickly.

    A batch size divides them, also without one digit, so that no program has a second step for a
    short last batch, and those that train without one digit are one program.
    """
    load = digits.load

    def loaded() -> Dataset:
        whole = load()
        return Dataset("digits", _even(whole.train, 128), _even(whole.test, 32))

    # t-SNE of so few is five times as fast on one thread
    with pytest.MonkeyPatch.context() as patch, threadpool_limits(1):
        patch.setattr(digits, "load", loaded)
        yield
