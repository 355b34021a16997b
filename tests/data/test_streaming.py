"""Batches in a given order: the same bits from memory and from disk."""

from __future__ import annotations

import threading
import time

import jax
import numpy as np
import pytest

from msae_jax import data


def test_streamed_batches_equal_resident_ones_bit_for_bit(mnist: data.Dataset) -> None:
    streamed = data.load("mnist", streaming=True)
    assert isinstance(streamed.test.x, data.Source)
    assert not isinstance(streamed.test.x, np.ndarray)
    np.testing.assert_array_equal(streamed.test.y, mnist.test.y)
    order = np.random.default_rng(0).permutation(10000)[:1000]
    from_disk = list(data.batches(streamed.test.x, order, 128))
    from_memory = list(data.batches(mnist.test.x, order, 128))
    assert [len(batch) for batch in from_disk] == [128] * 7 + [104]
    for i, (disk, memory) in enumerate(zip(from_disk, from_memory, strict=True)):
        expected = mnist.test.x[order[128 * i : 128 * (i + 1)]]
        assert disk.dtype == memory.dtype == np.uint8
        np.testing.assert_array_equal(disk, expected)
        np.testing.assert_array_equal(memory, expected)


@pytest.mark.parametrize(("n", "sizes"), [(0, []), (1, [1]), (4, [4]), (9, [4, 4, 1])])
def test_every_sample_is_used_and_the_last_batch_may_be_short(n: int, sizes: list[int]) -> None:
    x = np.arange(20, dtype=np.float32).reshape(10, 2)
    got = list(data.batches(x, np.arange(n)[::-1], 4))
    assert [len(batch) for batch in got] == sizes
    if got:
        np.testing.assert_array_equal(np.concatenate(got), x[:n][::-1])


def test_batches_arrive_on_the_device_or_as_numpy() -> None:
    x = np.ones((4, 2), np.float32)
    device = jax.devices()[-1]
    (batch,) = data.batches(x, np.arange(4), 4, device=device)
    assert isinstance(batch, jax.Array)
    assert batch.devices() == {device}
    (batch,) = data.batches(x, np.arange(4), 4, to_device=False)
    assert type(batch) is np.ndarray


class Slow:
    """A source that answers early requests last, and that can fail."""

    shape, dtype = (8, 1), np.dtype(np.float32)

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> np.ndarray:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: object) -> np.ndarray:
        first = int(np.asarray(indices)[0])
        if first == 6:
            raise RuntimeError("sample 6 cannot be read")
        time.sleep(0.05 * (6 - first))
        return np.asarray(indices, np.float32)[:, None]


def test_order_does_not_depend_on_how_long_reading_takes() -> None:
    got = list(data.batches(Slow(), np.arange(6), 2, threads=3, prefetch=3))
    np.testing.assert_array_equal(np.concatenate(got)[:, 0], np.arange(6))


def test_errors_of_the_source_reach_the_consumer() -> None:
    with pytest.raises(RuntimeError, match="sample 6 cannot be read"):
        list(data.batches(Slow(), np.arange(8), 2))


def test_stopping_early_ends_the_threads() -> None:
    before = threading.active_count()
    stream = data.batches(Slow(), np.zeros(1000, int), 1)
    next(stream)
    assert threading.active_count() > before
    stream.close()
    deadline = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert threading.active_count() <= before


@pytest.mark.parametrize(
    ("order", "batch_size", "message"),
    [
        (np.array([0, 4]), 2, r"0\.\.4 for 4 samples"),
        (np.array([-1, 0]), 2, r"-1\.\.0 for 4 samples"),
        (np.array([[0]]), 2, r"int64 \(1, 1\), expected integers"),
        (np.array([0.0]), 2, r"float64 \(1,\), expected integers"),
        (np.array([0]), 0, "batch_size: got 0"),
    ],
)
def test_bad_requests_fail_at_once(order: np.ndarray, batch_size: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        data.batches(np.zeros((4, 2)), order, batch_size)
