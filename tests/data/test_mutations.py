"""Damaged files, seeded: an array comes back as it was, as the file now says, or not at all."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from msae_jax import data
from msae_jax.errors import InputError

N = 100  # mutations of each kind of file
X = np.random.default_rng(0).normal(size=(12, 5)).round(3)


def mutated(raw: bytes, rng: np.random.Generator) -> bytes:
    """Flips a bit, cuts the end, or removes, doubles or overwrites a piece."""
    at, size = int(rng.integers(len(raw))), int(rng.integers(1, 9))
    piece = raw[at : at + size]
    flipped = bytes([raw[at] ^ (1 << int(rng.integers(8)))])
    return [
        raw[:at] + flipped + raw[at + 1 :],
        raw[:at],
        raw[:at] + raw[at + size :],
        raw[: at + size] + piece + raw[at + size :],
        raw[:at] + rng.bytes(len(piece)) + raw[at + size :],
    ][int(rng.integers(5))]


def as_python_reads_it(raw: bytes) -> list[list[float]]:
    """The numbers of a comma-separated file, by Python's own csv and float, strictly."""
    text = io.StringIO(raw.decode("utf-8"), newline="")
    rows = [row for row in csv.reader(text, strict=True) if len(row) > 1 or (row and row[0])]
    return [[float(cell) for cell in row] for row in rows]


def npy_as_numpy_reads_it(raw: bytes) -> np.ndarray:
    return np.load(io.BytesIO(raw), allow_pickle=False)


def npz() -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, x=X)
    return file.getvalue()


def npy() -> bytes:
    file = io.BytesIO()
    np.save(file, X)
    return file.getvalue()


def table() -> bytes:
    return "\n".join(",".join(map(str, row)) for row in X.tolist()).encode()


@pytest.mark.parametrize(
    ("suffix", "raw", "meant"),
    [
        (".csv", table(), as_python_reads_it),
        (".npy", npy(), npy_as_numpy_reads_it),
        (".npz", npz(), lambda _: X),  # an archive has checksums: nothing else can be meant
    ],
)
def test_what_is_accepted_is_what_the_file_says(
    tmp_path: Path, suffix: str, raw: bytes, meant: Callable
) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_bytes(raw)
    np.testing.assert_array_equal(data.load_array(path), X.astype(np.float32))
    rng = np.random.default_rng(1)
    refused = 0
    for _ in range(N):
        damaged = mutated(raw, rng)
        path.write_bytes(damaged)
        try:
            x = data.load_array(f"{path}?header=no&columns=:" if suffix == ".csv" else path)
        except InputError:
            refused += 1
            continue
        np.testing.assert_array_equal(x, np.asarray(meant(damaged)).astype(np.float32))
    assert N // 10 < refused < N, f"{refused} of {N} refused"
