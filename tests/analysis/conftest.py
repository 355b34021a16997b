"""The folder with real series, and NAB's series with labels."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="session")
def series_folder() -> Path:
    """The folder with `nab/`, `ett/`, `tourism/` and so on."""
    beside = Path(__file__).parents[3] / "shared" / "data"
    folder = Path(os.environ.get("MSAE_DATA_DIR") or beside) / "series"
    if not (folder / "nab").is_dir():
        pytest.skip(f"no real series in {folder}: set MSAE_DATA_DIR")
    return folder


@pytest.fixture(scope="session")
def nab(series_folder: Path) -> Callable[[str], tuple[np.ndarray, np.ndarray]]:
    """Reads a series of NAB `[T]` and its labels `[T]` as in TSB-AD: without the first row."""
    windows = json.loads((series_folder / "nab" / "combined_windows.json").read_text())

    def read(name: str) -> tuple[np.ndarray, np.ndarray]:
        with (series_folder / "nab" / name).open() as file:
            rows = list(csv.reader(file))[2:]
        time = np.array([row[0] for row in rows], "datetime64[us]")
        labels = np.zeros(len(rows), bool)
        for start, end in windows[name]:
            labels |= (time > np.datetime64(start)) & (time <= np.datetime64(end))
        return np.array([float(row[1]) for row in rows]), labels

    return read
