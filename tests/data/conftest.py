"""Fixtures of the data tests: the official files, and a TFDS folder of the tests' own."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from msae_jax import data


@pytest.fixture(scope="session")
def official() -> Path:
    """The folder with `mnist/` and `fashion_mnist/`, the official IDX files."""
    beside = Path(__file__).parents[2].parent / "shared" / "data"
    folder = Path(os.environ.get("MSAE_DATA_DIR") or beside)
    if not (folder / "mnist" / "train-images-idx3-ubyte.gz").is_file():
        pytest.skip(f"no official MNIST files in {folder}: set MSAE_DATA_DIR")
    return folder


@pytest.fixture(scope="session")
def tfds_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tensorflow_datasets")


@pytest.fixture(autouse=True)
def own_folders(tfds_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps every test away from the user's own prepared data and settings."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(tfds_root))
    monkeypatch.delenv("MSAE_DATA_DIR", raising=False)
    for scheme in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(scheme, raising=False)
        monkeypatch.delenv(scheme.upper(), raising=False)


@pytest.fixture(scope="session")
def mnist(official: Path, tfds_root: Path) -> data.Dataset:
    """MNIST, prepared once per session from the official files."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TFDS_DATA_DIR", str(tfds_root))
        return data.load("mnist", data_dir=official)


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty TFDS folder, in use."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    return tmp_path / "tfds"


@pytest.fixture
def unpacked(official: Path, tmp_path: Path) -> Path:
    """A folder with MNIST unpacked in `MNIST/raw`, as torchvision leaves it."""
    raw = tmp_path / "torchvision" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for packed in (official / "mnist").glob("*.gz"):
        (raw / packed.stem).write_bytes(gzip.decompress(packed.read_bytes()))
    return tmp_path / "torchvision"
