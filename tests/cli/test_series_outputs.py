"""`msae embed` and `msae reconstruct` of a run that was trained on a series."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import msae_jax as mj
from msae_jax.data.options import Options
from msae_jax.data.series import read
from tests.cli.in_process import msae

POINTS, WINDOW = 150, 16


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on a series of two channels in units of their own, of which a gap is missing."""
    folder = tmp_path_factory.mktemp("outputs")
    t = np.arange(POINTS)
    a, b = 5000 + 300 * np.sin(t / 4), 0.02 + 0.01 * np.cos(t / 4)
    lines = [f"2024-01-01T{i // 60:02}:{i % 60:02}:00,{a[i]:.3f},{b[i]:.6f}" for i in t]
    lines[70:90] = [line.split(",")[0] + ",," for line in lines[70:90]]
    (folder / "x.csv").write_text("\n".join(["time,a,b", *lines]) + "\n")
    small = ["--model", "pca", "--set", "latent_dim=6", "--window", WINDOW, "--stride", 2]
    assert msae("train", *small, "--data", folder / "x.csv", "--out", folder / "run") == 0
    return folder


def test_latents_are_those_of_the_windows_that_are_named(trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "z.npz"
    assert msae("embed", trained / "run", "--input", trained / "x.csv", "--out", out) == 0
    found = np.load(out)
    series = read(trained / "x.csv", Options())
    loaded = mj.load_weights(trained / "run")
    assert loaded.facts is not None
    scaling = loaded.facts.series["scaling"]
    scaled = (series.values - np.array(scaling["center"])) / np.array(scaling["width"])
    begin = found["start"]
    assert begin.tolist() == [*range(0, 70 - WINDOW + 1, 2), *range(90, POINTS - WINDOW + 1, 2)]
    windows = np.stack([scaled[i : i + WINDOW] for i in begin]).astype(np.float32)
    expected = mj.embed(loaded.model, loaded.variables, windows)
    np.testing.assert_allclose(found["z"], expected, rtol=1e-4, atol=1e-4)
    first = np.datetime64("2024-01-01T00:00:00")
    assert (found["time"] - first == begin.astype("timedelta64[m]")).all()


def test_a_reconstruction_is_the_series_again(trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "r.csv"
    assert msae("reconstruct", trained / "run", "--input", trained / "x.csv", "--out", out) == 0
    before, after = (read(path, Options()) for path in (trained / "x.csv", out))
    assert (after.channels, after.times.tolist()) == (before.channels, before.times.tolist())
    known = ~np.isnan(before.values).any(axis=1)
    assert np.isnan(after.values[~known]).all()
    error = np.abs(after.values - before.values)[known].max(axis=0)
    assert (error < [3.0, 1e-4]).all()  # a sine and its phase are two components
    array = tmp_path / "r.npy"
    assert msae("reconstruct", trained / "run", "--input", trained / "x.csv", "--out", array) == 0
    np.testing.assert_allclose(np.load(array), after.values, rtol=1e-6)


@pytest.mark.parametrize(
    ("command", "more", "message"),
    [
        ("embed", ["--out", "z.csv"], "--out must end in .npy or .npz for a series, got z.csv"),
        ("reconstruct", ["--out", "r.npz"], "--out must end in .csv or .npy for a series"),
        ("embed", ["--out", "z.npy", "--window", "8"], "--window was settled when pca was trained"),
        ("embed", ["--out", "z.npy", "--channels", "a"], "the series has 1 channels, the model"),
    ],
)
def test_what_cannot_be_is_one_line(
    trained: Path, capsys: pytest.CaptureFixture[str], command: str, more: list[str], message: str
) -> None:
    assert msae(command, trained / "run", "--input", trained / "x.csv", *more) == 2
    [line] = [line for line in capsys.readouterr().err.splitlines() if "note" not in line]
    assert message in line
