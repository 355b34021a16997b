"""The same values give the same samples, and the same losses, whatever the format."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import msae_jax as mj
from msae_jax import data, train
from msae_jax.config import override
from msae_jax.data.dataset import take
from tests.data.formats import writers

RNG = np.random.default_rng(0)
X, Y = RNG.random((50, 6)).astype(np.float32), np.arange(50) % 3
PIXELS = RNG.integers(0, 256, (50, 6, 5, 3), dtype=np.uint8)
HELD_OUT = np.sort(np.random.RandomState(0).permutation(50)[:5])
TRAINED = np.setdiff1d(np.arange(50), HELD_OUT)
SETTINGS = override(mj.recipe("baseline"), {"hidden": [4], "latent_dim": 2})


@pytest.fixture(scope="module")
def signals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return writers.signals(tmp_path_factory.mktemp("signals"), X, Y)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return writers.images(tmp_path_factory.mktemp("images"), PIXELS, Y)


def check(dataset: data.Dataset, x: np.ndarray, labelled: bool) -> None:
    for split, rows in ((dataset.train, TRAINED), (dataset.test, HELD_OUT)):
        found = take(split.x, np.arange(len(split.x)))
        assert (split.x.shape, split.x.dtype) == (found.shape, found.dtype)
        assert found.dtype == x.dtype
        np.testing.assert_array_equal(found, x[rows])
        if labelled:
            np.testing.assert_array_equal(split.y, Y[rows])


@pytest.mark.parametrize("streaming", [False, True])
def test_signals_are_those_of_the_npy(signals: dict[str, str], streaming: bool) -> None:
    for name, path in signals.items():
        dataset = data.load(path, streaming=streaming)
        check(dataset, X, name not in ("x.npy", "two.zarr", "three.zarr"))
        held = type(dataset.train.x) is np.ndarray
        assert held == (not streaming or name in ("x.npz", "x.csv")), name


@pytest.mark.parametrize("streaming", [False, True])
def test_images_are_those_of_the_npy(images: dict[str, str], streaming: bool) -> None:
    for name, path in images.items():
        dataset = data.load(path, streaming=streaming)
        check(dataset, PIXELS, name in ("x.parquet", "saved"))
        assert (type(dataset.train.x) is np.ndarray) != streaming, name


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("kind", ["signals", "images"])
def test_losses_are_the_same_bits(
    kind: str, streaming: bool, request: pytest.FixtureRequest
) -> None:
    """Of the steps of two epochs, in one program for all formats."""
    names = dict(request.getfixturevalue(kind))
    whole = data.load(names["x.npy"])
    task = train.make_task(SETTINGS, whole)
    start = train.init_state(task, 0, whole.sample_shape)

    def losses(name: str) -> list[np.ndarray]:
        dataset = data.load(name, streaming=streaming)
        state, found = jax.tree.map(jnp.copy, start), []
        for _ in range(2):
            if streaming:
                step = train.train_epoch_streaming(task, state, dataset.train.x, batch_size=15)
            else:
                x = jnp.asarray(dataset.train.x)
                step = train.train_epoch(task, state, x, batch_size=15)
            state = step[0]
            found.append(np.asarray(step[1].loss))
        return found

    expected = losses(names.pop("x.npy"))
    assert [len(epoch) for epoch in expected] == [3, 3]  # 45 samples
    for name, path in names.items():
        np.testing.assert_array_equal(losses(path), expected, name)


def test_what_is_read_in_order_is_read_a_part_at_a_time(tmp_path: Path) -> None:
    """So that memory does not grow with the file; the last part is short."""
    import pyarrow as pa
    from pyarrow import parquet

    from msae_jax.data import formats
    from msae_jax.data.options import Options

    x = np.arange(3000.0, dtype=np.float32)
    parquet.write_table(pa.table({"a": x, "b": -x}), tmp_path / "x.parquet", row_group_size=3000)
    with pa.ipc.new_file(str(tmp_path / "x.arrow"), pa.schema([("a", "f4"), ("b", "f4")])) as file:
        file.write_batch(pa.record_batch({"a": x, "b": -x}))
    writers.zarr(tmp_path / "x.zarr", np.stack([x, -x], axis=1), 3, chunk=700)
    for name in ("x.parquet", "x.arrow"):
        chunks = [len(chunk) for chunk in formats.read(tmp_path / name, Options())["x"].chunks()]
        assert (max(chunks), sum(chunks)) == (1024, 3000)
    stored = formats.read(tmp_path / "x.zarr", Options())["x"]
    assert [len(chunk) for chunk in stored.chunks()] == [3000]  # a small file is one part
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("msae_jax.data.formats.zarr.CHUNK", 1500 * 8)
        assert [len(chunk) for chunk in stored.chunks()] == [1400, 1400, 200]  # of 700
