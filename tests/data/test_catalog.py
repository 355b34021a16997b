"""Names: what exists, what is suggested, and that asking costs nothing."""

from __future__ import annotations

import subprocess
import sys

import jax
import numpy as np
import pytest

from msae_jax import data
from msae_jax.data import catalog
from msae_jax.data.dataset import aligned
from msae_jax.errors import InputError


def test_every_built_in_name_has_one_line() -> None:
    assert list(data.names()) == ["sines", "digits", "mnist", "fashion_mnist", "cifar10"]
    assert all(text and "\n" not in text for text in data.names().values())


@pytest.mark.parametrize(
    ("name", "nearest"), [("mnsit", "mnist"), ("fashion-mnist", "fashion_mnist"), ("sine", "sines")]
)
def test_unknown_names_suggest_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(InputError, match=f"unknown data set '{name}'. Did you mean '{nearest}'"):
        data.load(name)


def test_importing_the_package_imports_nothing_heavy() -> None:
    heavy = "jax", "tensorflow_datasets", "sklearn", "grain", "matplotlib"
    code = f"import msae_jax.data, sys; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_streaming_an_array_source_gives_the_array() -> None:
    dataset = data.load("digits", streaming=True)
    assert isinstance(dataset.train.x, np.ndarray)


@pytest.mark.parametrize("name", ["sines", "digits"])
def test_devices_share_the_memory_of_loaded_arrays(name: str) -> None:
    """On a CPU, on all of several devices."""
    for split in (loaded := data.load(name)).train, loaded.test:
        placed = [jax.device_put(split.x, device) for device in jax.devices()[:3]]
        assert {a.unsafe_buffer_pointer() for a in placed} == {split.x.ctypes.data}


@pytest.mark.parametrize("offset", [0, 4, 60])
def test_aligned_arrays_are_the_same_arrays(offset: int) -> None:
    memory = aligned(np.arange(200, dtype=np.uint8))
    given = memory[offset : offset + 96].view(np.float32).reshape(4, 6)
    for x in (given, given[:, ::2], np.asfortranarray(given)):
        found = aligned(x)
        assert found.ctypes.data % 64 == 0
        assert found.flags.c_contiguous
        assert (found is x) == (x is given and offset == 0)
        assert (found.dtype, found.tobytes()) == (x.dtype, x.tobytes())


def test_a_data_set_checks_itself() -> None:
    x = np.zeros((3, 2), np.float32)
    with pytest.raises(InputError, match="the test split is empty"):
        data.Dataset("d", data.Split(x), data.Split(x[:0]))
    with pytest.raises(InputError, match="train is float64"):
        data.Dataset("d", data.Split(x.astype(np.float64)), data.Split(x))
    with pytest.raises(InputError, match=r"labels have shape \(2,\), expected \(3,\)"):
        data.Dataset("d", data.Split(x, np.zeros(2, np.int32)), data.Split(x))


def small(n: int = 6) -> data.Dataset:
    x = np.arange(4 * n, dtype=np.float32).reshape(n, 4)
    return data.Dataset("small", data.Split(x[:-2]), data.Split(x[-2:]))


def test_a_registered_data_set_is_loaded_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "_KNOWN", dict(catalog._KNOWN))
    data.register("small", small, "six rows")
    data.register("ready", small(9))
    assert data.names()["small"] == "six rows"
    assert len(data.load("small").train.x) == 4
    assert len(data.load("ready").train.x) == 7
    with pytest.raises(InputError, match="a data set named 'sines' exists already"):
        data.register("sines", small)


def test_a_function_gets_what_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def sized(data_dir: str | None, n: int = 8) -> data.Dataset:
        seen.append(data_dir)
        return small(n)

    monkeypatch.setattr(catalog, "_KNOWN", dict(catalog._KNOWN))
    data.register("sized", sized)
    assert len(data.load("sized", data_dir="folder", streaming=True).train.x) == 6
    assert seen == ["folder"]


class Rows:
    """A `Source` of four rows that says which were read."""

    shape, dtype = (4, 2), np.dtype(np.float32)

    def __init__(self) -> None:
        self.read: list[int] = []

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> np.ndarray:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices) -> np.ndarray:
        self.read += [int(i) for i in indices]
        return np.asarray([[i, -i] for i in indices], np.float32)


def test_a_source_is_read_whole_where_nothing_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = Rows()
    monkeypatch.setattr(catalog, "_KNOWN", dict(catalog._KNOWN))
    data.register("rows", data.Dataset("rows", data.Split(rows), data.Split(rows)))
    assert data.load("rows", streaming=True).train.x is rows
    assert rows.read == []
    np.testing.assert_array_equal(data.load("rows").train.x, [[i, -i] for i in range(4)])


def test_what_is_no_data_set_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "_KNOWN", dict(catalog._KNOWN))
    data.register("lines", lambda: [1, 2])  # type: ignore[arg-type, return-value]
    with pytest.raises(InputError, match="'lines' is of type list, expected msae_jax"):
        data.load("lines")


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("mine:waves", True),
        ("a-b:waves", True),
        ("sines", False),
        ("tfds:mnist", False),
        ("C:\\data\\x.npy", False),
    ],
)
def test_which_names_are_code(name: str, code: bool) -> None:
    assert catalog.names_code(name) == code
