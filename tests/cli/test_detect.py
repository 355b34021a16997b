"""`msae detect`, from a file to alarms."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from tests.cli.in_process import msae

pytestmark = pytest.mark.usefixtures("all_quick_to_compile")

START = np.datetime64("2024-01-01T00:00:00")
SPIKE = range(600, 606)


def write(path: Path, *, gaps: bool = False, first: int = 0) -> Path:
    """Writes 800 minutes of two channels in units of their own; the second has an anomaly."""
    t = np.arange(800)
    random = np.random.RandomState(0)
    a = 5000 + 300 * np.sin(t / 4) + 10 * random.randn(800)
    b = 0.02 + 0.01 * np.cos(t / 4) + 0.0005 * random.randn(800)
    b[SPIKE] += 0.03
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["time", "a", "b", "label"])
        for i in t[first:]:
            row = [f"{a[i]:.3f}", f"{b[i]:.6f}"]
            if gaps and (100 <= i < 104 or 300 <= i < 340):
                row = ["", ""]
            time = START + np.timedelta64(60 * int(i), "s")
            writer.writerow([time, *row, int(i in SPIKE)])
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("detect")
    data = write(folder / "x.csv")
    small = ["--model", "baseline-mlp", "--set", "hidden=[32]", "--set", "latent_dim=4"]
    options = [
        "--window",
        "16",
        "--epochs",
        "60",
        "--set",
        "checkpoint_every=60",
        "--train-points",
        "500",
        "--seeds",
        "2",
    ]
    options += ["--batch-size", "97"]  # a fifth of the windows
    assert msae("train", *small, "--data", data, *options, "--out", folder / "run") == 0
    return folder


def scores(path: Path) -> dict[str, np.ndarray]:
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {key: np.array([row[key] for row in rows]) for key in rows[0]}


def test_from_a_file_to_alarms(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = trained / "scores.csv"
    capsys.readouterr()
    command = ["detect", trained / "run", "--input", trained / "x.csv", "--out", out, "--json"]
    assert msae(*command, "--figure", trained / "x.png") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["seeds"] == [0, 1]
    inside = [a for a in found["alarms"] if a["start"] <= 603 < a["end"]]
    assert len(inside) == 1
    assert found["auc_roc"] > 0.99
    written = scores(out)
    assert len(written["score"]) == 800
    assert written["time"][600] == "2024-01-01T10:00:00"
    assert written["alarm"][603] == "1"
    each = [written[f"score_{name}"].astype(float) for name in "ab"]
    assert each[1][603] > 2 * each[0][603]  # which sensor it was
    assert (trained / "x.png").stat().st_size > 10_000
    assert msae(*command) == 2  # nothing is replaced unasked


def test_scores_do_not_depend_on_where_the_file_was_cut(trained: Path) -> None:
    write(trained / "late.csv", first=200)
    for name in ("x", "late"):
        out = trained / f"cut-{name}.csv"
        command = ["detect", trained / "run", "--input", trained / f"{name}.csv", "--out", out]
        assert msae(*command, "--aggregate", "mean") == 0
    whole, part = (scores(trained / f"cut-{name}.csv")["score"] for name in ("x", "late"))
    np.testing.assert_allclose(
        whole[200 + 16 :].astype(float), part[16:].astype(float), rtol=1e-5, atol=1e-8
    )


def test_gaps_have_no_score(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gaps = write(trained / "gaps.csv", gaps=True)
    out = trained / "gaps-scores.csv"
    assert msae("detect", trained / "run", "--input", gaps, "--out", out) == 0
    assert "44 points have no score" in capsys.readouterr().out
    empty = np.flatnonzero(scores(out)["score"] == "")
    assert empty.tolist() == [*range(100, 104), *range(300, 340)]


def test_what_cannot_be_scored_is_one_line(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "x.npy", np.zeros((50, 3), np.float32))
    np.save(tmp_path / "short.npy", np.zeros((9, 2), np.float32))
    for path, more, expected in [
        (tmp_path / "x.npy", ["--layout", "channels"], "No such option"),
        (tmp_path / "x.npy", [], "--layout channels takes it"),
        (tmp_path / "x.npy?layout=channels", [], "has 3 channels, the model was trained on 2: a,"),
        (tmp_path / "short.npy?layout=channels", [], "has 9 points, expected at least a window"),
        (trained / "x.csv", ["--channels", "z"], "unknown column 'z'"),
        (trained / "x.csv", ["--aggregate", "median"], "unknown aggregate 'median'"),
    ]:
        out = tmp_path / "scores.csv"
        assert msae("detect", trained / "run", "--input", path, "--out", out, *more) == 2
        error = capsys.readouterr().err.splitlines()[-1]
        assert expected in error
        assert not out.exists()
