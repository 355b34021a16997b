"""CIFAR-10 in the four forms of its files, of few images."""

from __future__ import annotations

import hashlib
import io
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from msae_jax import data
from msae_jax.data import cifar
from msae_jax.errors import InputError

SIZE = 20


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Planes [20, 3, 32, 32] and classes [20] of each file, two images a class."""
    rng = np.random.default_rng(0)
    found = {
        name: (
            rng.integers(0, 256, (SIZE, 3, 32, 32), dtype=np.uint8),
            rng.permutation(np.arange(SIZE) % 10),
        )
        for name in cifar.BATCHES
    }
    monkeypatch.setattr(cifar, "SIZE", SIZE)
    sums = {name: hashlib.md5(pickled(*found[name])).hexdigest() for name in found}
    monkeypatch.setattr(cifar, "BATCHES", sums)
    return found


def pickled(planes: np.ndarray, labels: np.ndarray) -> bytes:
    content = {b"data": planes.reshape(SIZE, -1), b"labels": labels.tolist(), b"batch_label": b"x"}
    return pickle.dumps(content, protocol=4)


def binary(planes: np.ndarray, labels: np.ndarray) -> bytes:
    return np.hstack([labels[:, None].astype(np.uint8), planes.reshape(SIZE, -1)]).tobytes()


def written(folder: Path, form: Callable, suffix: str, batches: dict) -> Path:
    path = folder / (cifar.FOLDERS[0] if suffix else cifar.FOLDERS[1])
    path.mkdir()
    for name, batch in batches.items():
        (path / f"{name}{suffix}").write_bytes(form(*batch))
    return path


FORMS = {"binary": (binary, ".bin"), "python": (pickled, "")}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("packed", [True, False])
def test_every_form_gives_the_same_images(
    form: str, packed: bool, batches: dict, tmp_path: Path
) -> None:
    path = written(tmp_path, *FORMS[form], batches)
    if packed:
        with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
            archive.add(path, path.name)
        path = tmp_path / "a.tar.gz"
    (x, y), (x_test, y_test) = cifar.read(path)
    assert (x.shape, x_test.shape) == ((100, 32, 32, 3), (20, 32, 32, 3))
    planes, labels = batches["data_batch_2"]
    np.testing.assert_array_equal(x[20:40], planes.transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(y[20:40], labels)
    np.testing.assert_array_equal(x_test[3, 5, 7], batches["test_batch"][0][3, :, 5, 7])
    np.testing.assert_array_equal(y_test, batches["test_batch"][1])


def test_a_folder_is_prepared_and_loaded(
    batches: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    written(tmp_path, binary, ".bin", batches)
    loaded = data.load("cifar10", data_dir=tmp_path)
    again = data.load("cifar10", streaming=True)  # needs no files any more
    assert loaded.sample_shape == (32, 32, 3)
    np.testing.assert_array_equal(loaded.train.y[:20], batches["data_batch_1"][1])
    np.testing.assert_array_equal(again.test.x[4], batches["test_batch"][0][4].transpose(1, 2, 0))


def test_an_archive_that_is_another_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    path = tmp_path / "cifar-10-python.tar.gz"
    path.write_bytes(b"another file")
    with pytest.raises(InputError) as caught:
        data.load("cifar10", data_dir=tmp_path)
    expected = "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"
    got = hashlib.sha256(b"another file").hexdigest()
    assert f"{path}: SHA-256 is {got}, the official file's is {expected}" in str(caught.value)


class Evil:
    def __reduce__(self) -> tuple:
        return print, ("run",)


def spoil_bit(raw: bytes) -> bytes:
    return raw[:500] + bytes([raw[500] ^ 1]) + raw[501:]


def test_what_is_wrong_is_said(batches: dict, tmp_path: Path, monkeypatch, capsys) -> None:
    folder = written(tmp_path, pickled, "", batches)
    path = folder / "data_batch_3"
    good = path.read_bytes()
    path.write_bytes(spoil_bit(good))
    with pytest.raises(InputError, match=f"{path}: MD5 is .*: it is damaged"):
        cifar.read(folder)
    raw = pickle.dumps({b"data": Evil(), b"labels": []}, protocol=4)
    path.write_bytes(raw)
    monkeypatch.setitem(cifar.BATCHES, "data_batch_3", hashlib.md5(raw).hexdigest())
    with pytest.raises(InputError, match=r"no batch of CIFAR-10: it wants to run .*print"):
        cifar.read(folder)
    assert capsys.readouterr().out == ""
    path.unlink()
    with pytest.raises(InputError, match="lacks data_batch_3"):
        cifar.read(folder)


def test_unpacked_binary_files_have_their_classes_counted(batches: dict, tmp_path: Path) -> None:
    _, labels = batches["test_batch"]
    labels[:] = 3
    folder = written(tmp_path, binary, ".bin", batches)
    with pytest.raises(InputError, match=r"\[0, 0, 0, 20, 0.* expected 2 each"):
        cifar.read(folder)


def test_a_truncated_archive_is_one_line(batches: dict, tmp_path: Path) -> None:
    path = written(tmp_path, binary, ".bin", batches)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.add(path, path.name)
    (tmp_path / "a.tar.gz").write_bytes(buffer.getvalue()[:3000])
    with pytest.raises(InputError, match="not an archive of CIFAR-10"):
        cifar.read(tmp_path / "a.tar.gz")


def test_missing_files_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    with pytest.raises(InputError, match=r"put cifar-10-binary\.tar\.gz or cifar-10-python"):
        data.load("cifar10", data_dir=tmp_path)
