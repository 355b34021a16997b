"""Checkpoints are written from the memory their arrays are in: large ones are not held twice."""

from __future__ import annotations

import tracemalloc
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from msae_jax.config import TrainConfig, to_dict
from msae_jax.runs import store
from msae_jax.runs.arrays import StateArrays, digest
from msae_jax.system import distributed
from msae_jax.train import seeds
from msae_jax.train.seeds import Member

ROWS, COUNT = 4, 1 << 18
NBYTES = 2 * ROWS * COUNT * 4


def on_host(array: np.ndarray) -> Any:
    return array


def on_devices(array: np.ndarray) -> Any:
    return jax.block_until_ready(seeds.put(array, seeds.make_mesh(members=2), "seed"))


def items(place: Any) -> StateArrays:
    ramp = np.arange(ROWS * COUNT, dtype=np.float32).reshape(ROWS, COUNT)
    return StateArrays({"params": {"w": place(ramp)}, "batch_stats": {}}, {"step": place(-ramp)})


def record(members: int) -> dict[str, Any]:
    one = {**asdict(Member(0)), "diverged": None}
    config = to_dict(TrainConfig())
    own = {"config": config, "sample_shape": [1], "columns": ["epoch"], "members": [one] * members}
    return own | {"score": None, "versions": {}}


def write(run: Path, number: int, what: StateArrays, members: int) -> None:
    with store.manager(run, store.KeepLatestAndBest()) as manager:
        store.save(manager, number, what, np.zeros((members, 1, 1)), record(members))


def test_saving_copies_no_large_arrays_of_devices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NumPy reports what it allocates; compressing would allocate elsewhere, and write less."""
    monkeypatch.setattr(store, "SMALL", NBYTES // 2)
    what = items(on_devices)
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
    found, _ = store.restore(tmp_path, 1, weights=None, training=None)
    assert isinstance(found["weights"]["params"]["w"], np.ndarray)
    np.testing.assert_array_equal(found["weights"]["params"]["w"], what.weights["params"]["w"][:3])
    np.testing.assert_array_equal(found["training"]["step"], what.training["step"][:3])
