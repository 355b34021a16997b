"""The streaming path: batches in a given order, read and moved to the device ahead of their use."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from msae_jax.data.dataset import Source, take

if TYPE_CHECKING:
    import jax


def batches(
    source: np.ndarray | Source,
    order: np.ndarray,
    batch_size: int,
    *,
    device: jax.Device | jax.sharding.Sharding | None = None,
    to_device: bool = True,
    prefetch: int = 4,
    threads: int = 4,
) -> Iterator[Any]:
    """Yields the samples of `source` [N, ...] in the given order, `batch_size` at a time.

    Args:
      source: an array, or a `Source` that is read by Grain in background threads.
      order: [n] integer indices into `source`; every one is used, so that the last batch may be
        short: batch i is source[order[i * batch_size : (i + 1) * batch_size]].
      batch_size: samples per batch.
      device: where the batches go, as in `jax.device_put`; by default JAX's default device.
      to_device: False yields NumPy arrays instead.
      prefetch: batches kept ready on the host; two more are kept ready on the device.
      threads: threads that read from a `Source`; an array needs none.

    Yields: [B, ...] arrays in the source's dtype; uint8 is not scaled.

    Raises: ValueError if `order` is not a vector of valid indices, or `batch_size` is below 1.
    """
    order = np.asarray(order)
    if order.ndim != 1 or order.dtype.kind not in "iu":
        raise ValueError(f"order: got {order.dtype} {order.shape}, expected integers [n]")
    if order.size and not 0 <= order.min() <= order.max() < len(source):
        raise ValueError(f"order: got {order.min()}..{order.max()} for {len(source)} samples")
    if batch_size < 1:
        raise ValueError(f"batch_size: got {batch_size}, expected at least 1")
    return _batches(source, order, batch_size, device, to_device, prefetch, threads)


def _batches(
    source: np.ndarray | Source,
    order: np.ndarray,
    batch_size: int,
    device: Any,
    to_device: bool,
    prefetch: int,
    threads: int,
) -> Iterator[Any]:
    import grain

    def read(start: int) -> np.ndarray:
        return take(source, order[start : start + batch_size])

    if isinstance(source, np.ndarray):
        threads = 0
    options = grain.ReadOptions(
        num_threads=threads, prefetch_buffer_size=max(prefetch, threads) if threads else 0
    )
    starts = grain.MapDataset.range(0, len(order), batch_size)
    dataset = starts.map(read).to_iter_dataset(options)
    if to_device:
        dataset = grain.experimental.device_put(
            dataset, device, cpu_buffer_size=prefetch, device_buffer_size=2
        )
    iterator = iter(dataset)
    try:
        yield from iterator
    finally:  # also when the consumer stops early: ends the threads
        iterator.close()
