"""`msae explore`, from runs of images and of series to a page."""

from __future__ import annotations

import base64
import csv
import json
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from msae_jax import weights as w
from msae_jax.train import evaluation
from tests.cli.in_process import msae

pytestmark = pytest.mark.usefixtures("all_quick_to_compile")

SMALL = ["--set", "hidden=[8]", "--set", "latent_dim=2", "--epochs", "1"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seeds of a small model of signals, with two latents."""
    out = tmp_path_factory.mktemp("explore") / "run"
    many = ["--seeds", "3", "--batch-size", "100"]
    assert msae("train", "--model", "baseline", *SMALL, *many, "--out", out) == 0
    return out


def content(page: Path) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text())
    assert found is not None
    return json.loads(found[1])


def unpacked(values: dict[str, Any]) -> np.ndarray:
    raw = zlib.decompress(base64.b64decode(values["data"]))
    return np.frombuffer(raw, values["dtype"]).reshape(values["shape"])


def test_the_page_holds_latents_errors_and_seeds(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.html"
    capsys.readouterr()
    command = ["explore", run, "--out", page, "--samples", "80", "--seeds", "2", "--color", "error"]
    assert msae(*command) == 0
    assert re.fullmatch(r"baseline on sines: \S+page.html, 0\.\d MB\n", capsys.readouterr().out)
    found = content(page)
    assert [model["seed"] for model in found["models"]] == [0, 1]
    rows = unpacked(found["rows"])
    assert rows.tolist() == np.linspace(0, 799, 80).round().astype(int).tolist()
    assert (found["total"], found["color"], found["columns"]) == (800, "error", [])
    weights = w.load_weights(run, seed=1)
    x = w.split("sines", "test").split.x
    expected = evaluation.embed(weights.model, weights.variables, x)[rows]
    model = found["models"][1]
    np.testing.assert_allclose(unpacked(model["latents"]), expected, atol=1e-6)
    np.testing.assert_array_equal(unpacked(model["points"]), unpacked(model["latents"]))
    assert model["prior"]["kind"] == "gaussian"
    assert msae(*command) == 2  # nothing is replaced unasked
    assert "--overwrite" in capsys.readouterr().err
    assert msae(*command, "--overwrite", "--seed", "2") == 0
    assert [model["seed"] for model in content(page)["models"]] == [2]


def test_what_cannot_be_shown_is_one_line_and_writes_nothing(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "wrong.npy", np.zeros((20, 5), np.float32))
    np.save(tmp_path / "two.npy", np.zeros((2, 128), np.float32))
    page = tmp_path / "page.html"
    for out, more, expected in [
        (tmp_path / "page.pdf", [], "must end in .html"),
        (page, ["--projection", "pcaa"], "unknown projection 'pcaa'"),
        (page, ["--color", "height"], "unknown column to colour by 'height'"),
        (page, ["--color", ""], "unknown column to colour by ''"),
        (page, ["--color", "z3"], "unknown column to colour by 'z3'"),
        (page, ["--color", "class"], "no classes"),
        (page, ["--split", "all"], "unknown split 'all'"),
        (page, ["--samples", "1"], "--samples"),
        (page, ["--data", tmp_path / "wrong.npy"], "128"),
        (page, ["--data", tmp_path / "two.npy"], "1 sample in its test part, expected at least 2"),
    ]:
        assert msae("explore", run, "--out", out, *more) == 2, more
        error = capsys.readouterr().err.splitlines()[-1]
        assert expected in error
        assert not out.exists()


def test_samples_are_as_many_as_fit(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("msae_jax.explorer.request.MOST_BYTES", 300_000)
    page = tmp_path / "page.html"
    assert msae("explore", run, "--seed", "0", "--out", page) == 0
    found = content(page)
    assert 200 < len(unpacked(found["rows"])) < 800
    assert len(json.dumps(found)) <= 310_000
    assert "--samples shows more" in found["notes"][0]


def test_labels_of_text_are_shown_as_the_file_has_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    kinds = ["wren", "auk", "teal"]
    rows = [f"{a:.6f},{b:.6f},{kinds[i % 3]}" for i, (a, b) in enumerate(rng.normal(size=(90, 2)))]
    file, page = tmp_path / "birds.csv", tmp_path / "page.html"
    file.write_text("\n".join(["a,b,kind", *rows]) + "\n")
    told = ["--data", file, "--label", "kind", "--out", tmp_path / "run"]
    assert msae("train", "--model", "baseline", *SMALL, *told) == 0
    assert msae("explore", tmp_path / "run", "--out", page, "--color", "class") == 0
    (column,) = content(page)["columns"]
    held_out = np.sort(np.random.RandomState(0).permutation(90)[:9])
    named = [column["names"][i] for i in unpacked(column["values"])]
    assert named == [kinds[i % 3] for i in held_out]


@pytest.fixture(scope="module")
def series_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model of an hourly series in units of its own, with a fault in its test part."""
    folder = tmp_path_factory.mktemp("explore-series")
    t = np.arange(500)
    values = 5000 + 300 * np.sin(t / 4) + np.random.RandomState(0).randn(500)
    values[430:436] += 2500
    start = np.datetime64("2024-01-01T00:00:00")
    with (folder / "x.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["time", "load", "label"])
        for i in t:
            writer.writerow([start + np.timedelta64(i, "h"), values[i], int(430 <= i < 436)])
    train = ["train", "--model", "baseline-mlp", "--data", folder / "x.csv", "--window", "16"]
    more = [
        "--epochs",
        "8",
        "--set",
        "checkpoint_every=8",
        "--batch-size",
        "67",
    ]  # a fifth of the windows
    assert msae(*train, *SMALL, *more, "--out", folder / "run") == 0
    return folder / "run"


def test_a_series_comes_with_its_units_scores_and_alarms(series_run: Path, tmp_path: Path) -> None:
    page, scores = tmp_path / "page.html", tmp_path / "scores.csv"
    assert msae("explore", series_run, "--out", page) == 0
    source = series_run.parent / "x.csv"
    assert msae("detect", series_run, "--input", source, "--out", scores) == 0
    found = content(page)
    series = found["series"]
    assert (series["first"], series["window"], series["channels"]) == (350, 16, ["load"])
    with scores.open(newline="") as file:
        rows = list(csv.DictReader(file))[350:]
    with source.open(newline="") as file:
        load = [float(row["load"]) for row in csv.DictReader(file)][350:]
    np.testing.assert_allclose(unpacked(series["values"])[:, 0], load, rtol=1e-5)
    expected = [float(row["score"]) for row in rows]
    np.testing.assert_allclose(unpacked(series["scores"])[16:], expected[16:], rtol=1e-4)
    assert any(start <= 80 < end for start, end, *_ in series["alarms"])
    assert series["labels"] == [[80, 86]]
    stamps = unpacked(series["times"]["values"])
    assert stamps[0] == np.datetime64("2024-01-15T14:00:00", "ms").astype(int)
    samples = found["samples"]
    window = unpacked(samples["values"])[:16, 0] * samples["width"][0] + samples["center"][0]
    np.testing.assert_allclose(window, load[:16], rtol=1e-5)
    assert [column["name"] for column in found["columns"]] == ["label", "start"]


def test_another_series_goes_through_the_run(series_run: Path, tmp_path: Path) -> None:
    source = series_run.parent / "x.csv"
    lines = source.read_text().splitlines()
    (tmp_path / "later.csv").write_text("\n".join([lines[0], *lines[400:]]) + "\n")
    page = tmp_path / "page.html"
    command = ["explore", series_run, "--data", tmp_path / "later.csv", "--out", page]
    assert msae(*command, "--color", "start") == 0
    found = content(page)
    assert (found["split"], found["total"]) == ("all", 101 - 16 + 1)
    assert found["series"]["labels"] == [[31, 37]]
