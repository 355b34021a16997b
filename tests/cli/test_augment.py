"""`msae augment`, from a file to files of copies."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from msae_jax.data.options import Options
from msae_jax.data.series import read
from tests.cli.in_process import msae

pytestmark = pytest.mark.usefixtures("all_quick_to_compile")

START = np.datetime64("2024-01-01T00:00:00")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds on 300 minutes of two channels in units of their own."""
    folder = tmp_path_factory.mktemp("augment")
    t = np.arange(300)
    random = np.random.RandomState(0)
    a = 5000 + 300 * np.sin(t / 4) + 10 * random.randn(300)
    b = 0.02 + 0.01 * np.cos(t / 4) + 0.0005 * random.randn(300)
    with (folder / "x.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["time", "a", "b", "label"])
        for i in t:
            time = START + np.timedelta64(60 * int(i), "s")
            writer.writerow([time, f"{a[i]:.3f}", f"{b[i]:.6f}", int(i in (7, 8))])
    small = ["--model", "baseline-mlp", "--set", "hidden=[32]", "--set", "latent_dim=4"]
    options = [
        "--window",
        "16",
        "--epochs",
        "40",
        "--set",
        "checkpoint_every=40",
        "--seeds",
        "2",
        "--batch-size",
        "39",
    ]
    assert msae("train", *small, "--data", folder / "x.csv", *options, "--out", folder / "run") == 0
    return folder


def augment(folder: Path, out: Path, *more: str | Path, of: str = "run") -> int:
    return msae("augment", folder / of, "--input", folder / "x.csv", "--out", out, *more)


def test_copies_of_a_series_are_a_series_in_its_units(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "x.csv"
    figure = tmp_path / "x.png"
    more = ["--transform", "jitter", "--strength", "0", "--json", "--figure", figure]
    capsys.readouterr()
    assert augment(trained, out, *more) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["seeds"] == [0, 1]
    assert told["latents"] == 4
    assert told["methods"]["latents"][0]["distance"] == pytest.approx(
        told["methods"]["reconstruction"][0]["distance"]
    )
    copy, given = read(out, Options()), read(trained / "x.csv", Options())
    assert copy.channels == given.channels == ("a", "b")
    assert np.array_equal(copy.times, given.times)
    assert np.array_equal(copy.labels, given.labels)
    error = np.abs(copy.values - given.values) / given.values.std(axis=0)
    assert 0 < error.mean() < 0.2  # a reconstruction
    assert figure.stat().st_size > 10_000
    assert augment(trained, out, *more) == 2  # nothing is replaced unasked


def test_windows_directly(trained: Path, tmp_path: Path) -> None:
    """A trend alone has a closed form: each copy of a window is itself plus a line."""
    out = tmp_path / "x.npz"
    chain = ["--transform", "trend:0.5", "--direct", "--copies", "3", "--stride", "2"]
    assert augment(trained, out, *chain) == 0
    made = np.load(out)
    given = read(trained / "x.csv", Options())
    starts = np.arange(0, 300 - 16 + 1, 2)
    assert made["x"].shape == (3 * len(starts), 16, 2)
    windows = given.values[np.tile(starts, 3)[:, None] + np.arange(16)]
    deviation = given.values[:210].std(axis=0)
    slopes = (made["x"] - windows) / deviation / (np.arange(1, 17) / 16)[:, None]
    np.testing.assert_allclose(slopes, np.broadcast_to(slopes[:, -1:], slopes.shape), atol=2e-2)
    assert slopes[:, -1].std() == pytest.approx(0.5, rel=0.1)
    inside = [(start <= 8) and (start + 16 > 7) for start in starts]
    assert np.array_equal(made["y"], np.tile(inside, 3))


def test_the_seed_decides_every_copy(trained: Path, tmp_path: Path) -> None:
    files = []
    for name, seed, member in [("a", 1, []), ("b", 2, []), ("c", 1, [1])]:
        out = tmp_path / f"{name}.npy"
        more = ["--transform", "jitter", "--copies", "2", "--seed", str(seed)]
        more += ["--member", str(member[0])] if member else []
        assert augment(trained, out, *more) == 0
        files.append(np.load(out))
    every, other, second = files
    count = len(every) // 2
    for part in (slice(count), slice(count, None)):
        assert not np.array_equal(every[part], other[part])
    assert np.array_equal(every[count:], second[count:])  # of the second seed in both
    assert not np.array_equal(every[:count], second[:count])


def test_several_copies_are_columns(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "x.csv"
    more = ["--transform", "scaling:0.2", "--transform", "drift:0.1", "--copies", "2"]
    assert augment(trained, out, *more) == 0
    printed = capsys.readouterr().out
    assert "scaling 0.2, then drift 0.1; 2 copies of 19 windows" in printed
    assert "reconstruction by PCA" in printed
    assert read(out, Options()).channels == ("a_1", "b_1", "a_2", "b_2")
    assert len(read(out, Options(channels="a_2")).values) == 300


def test_what_cannot_be_augmented_is_one_line(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(trained / "many.npy", np.random.RandomState(0).randn(5, 20, 2).astype(np.float32))
    for path, out, more, expected in [
        ("x.csv", "x.txt", ["--transform", "jitter"], "--out must end in .npy, .npz, .csv"),
        ("x.csv", "x.csv", ["--transform", "jiter"], "Did you mean 'jitter'"),
        ("x.csv", "x.csv", ["--transform", "jitter:-1"], "must be 0 or more, got -1"),
        ("x.csv", "x.csv", [], "Missing option '--transform'"),
        ("x.csv", "x.csv", ["--transform", "drift", "--stride", "3"], "--stride is of windows"),
        ("many.npy", "x.csv", ["--transform", "drift"], "a collection of 5 series"),
        ("x.csv", "x.npy", ["--transform", "jitter", "--member", "7"], "7"),
    ]:
        target = tmp_path / out
        command = ["augment", trained / "run", "--input", trained / path, "--out", target]
        assert msae(*command, *more) == 2
        assert expected in capsys.readouterr().err.splitlines()[-1]
        assert not target.exists()
