"""Fixtures of the data tests: a TFDS folder of the tests' own, and MNIST in other layouts."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def own_folders(tfds_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps every test away from the user's own prepared data and settings."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(tfds_root))
    monkeypatch.delenv("MSAE_DATA_DIR", raising=False)
    for scheme in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(scheme, raising=False)
        monkeypatch.delenv(scheme.upper(), raising=False)


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
