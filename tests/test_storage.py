"""Checkpoints are written from the memory their arrays are in: many seeds are not held twice."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from msae_jax import distributed, seeds, storage
from msae_jax.items import Items, digest

ROWS, COUNT = 4, 1 << 18
NBYTES = 2 * ROWS * COUNT * 4


def on_host(array: np.ndarray) -> Any:
    return array


def on_devices(array: np.ndarray) -> Any:
    return jax.block_until_ready(seeds.put(array, seeds.make_mesh(members=2), "seed"))


def items(place: Any) -> Items:
    ramp = np.arange(ROWS * COUNT, dtype=np.float32).reshape(ROWS, COUNT)
    return Items({"params": {"w": place(ramp)}, "batch_stats": {}}, {"step": place(-ramp)})


def write(run: Path, number: int, what: Items, members: int) -> None:
    with storage.manager(run, "loss") as manager:
        content = {"members": [{}] * members}
        assert manager.save(
            number,
            args=storage.save_args(what, np.zeros((members, 1, 1)), content),
            metrics={"loss": 1.0},
        )
        manager.wait_until_finished()


@pytest.mark.parametrize("place", [on_host, on_devices])
def test_saving_copies_no_arrays(tmp_path: Path, place: Any) -> None:
    """NumPy reports what it allocates; compressing would allocate elsewhere, and write less."""
    what = items(place)
    write(tmp_path, 1, what, ROWS)  # what is allocated once, is
    tracemalloc.start()
    try:
        write(tmp_path, 2, what, ROWS)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < NBYTES / 4  # one of the two arrays is NBYTES / 2
    assert sum(p.stat().st_size for p in (tmp_path / "2").rglob("d/*")) >= NBYTES


def test_parts_of_an_array_are_views_of_it() -> None:
    array = on_devices(np.arange(ROWS * COUNT, dtype=np.float32).reshape(ROWS, COUNT))
    held = {shard.data.unsafe_buffer_pointer() for shard in array.addressable_shards}
    assert {part.ctypes.data for part in distributed.host_parts(array)} == held


@pytest.mark.parametrize("axes", [(), ("seed",), ("data",), (None, "data"), ("seed", "data")])
def test_the_digest_does_not_depend_on_where_an_array_is(axes: tuple) -> None:
    ramp = np.arange(64, dtype=np.float32).reshape(8, 8)
    for data_devices in (1, 4):
        placed = seeds.put(ramp, seeds.make_mesh(data_devices), *axes)
        assert digest({"a": placed}) == digest({"a": ramp})
        np.testing.assert_array_equal(distributed.to_host(placed), ramp)


def test_rows_beyond_the_members_are_left_out(tmp_path: Path) -> None:
    what = items(on_devices)
    write(tmp_path, 1, what, ROWS - 1)
    with storage.reader(tmp_path) as manager:
        found, _ = storage.restore(manager, tmp_path, 1, weights=None, training=None)
    assert isinstance(found["weights"]["params"]["w"], np.ndarray)
    np.testing.assert_array_equal(found["weights"]["params"]["w"], what.weights["params"]["w"][:3])
    np.testing.assert_array_equal(found["training"]["step"], what.training["step"][:3])
