"""What each tracker gives back is what the log of the run holds."""

from __future__ import annotations

import json
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from msae_jax.runs.history import COLUMNS
from msae_jax.trackers import PROJECT, feeder

Points = dict[str, dict[str, list[tuple[int, float]]]]
"""By series and metric, the step and the value of each point."""

CONFIG = {"model": {"name": "baseline", "options": {"hidden": [8]}}, "seed": 0, "epochs": 3}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of two seeds and three epochs, of random numbers, with a picture of the first seed."""
    monkeypatch.chdir(tmp_path)  # what a tracker writes beside
    folder = tmp_path / "run"
    (folder / "trackers").mkdir(parents=True)
    rng = np.random.default_rng(0)
    lines = [
        {"seed": seed, **dict(zip(COLUMNS, rng.standard_normal(len(COLUMNS)), strict=True))}
        | {"epoch": epoch, "step": 10 * epoch}
        for epoch in (1, 2, 3)
        for seed in (0, 1)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    pixels = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "trackers/picture.png")
    tell(folder, ended=True)
    return folder


def tell(folder: Path, *, ended: bool) -> None:
    ends = {
        f"seed-{seed}": {"summary": {"state": "finished"}, "images": images}
        for seed, images in ((0, ["trackers/picture.png"]), (1, []))
    }
    told = {
        "name": "run",
        "id": "0badcafe",
        "log": "metrics.jsonl",
        "series": [
            {"name": f"seed-{seed}", "is": {"seed": seed}, "config": {**CONFIG, "seed": seed}}
            for seed in (0, 1)
        ],
        "ends": ends if ended else {},
    }
    (folder / "trackers" / feeder.TOLD).write_text(json.dumps(told))


def fed(folder: Path, name: str) -> None:
    """Feeds a run that was killed after its first epoch, then the whole run, and that again."""
    ended = threading.Event()
    ended.set()
    log = folder / "metrics.jsonl"
    text = log.read_text()
    log.write_text("".join(text.splitlines(keepends=True)[:2]))
    tell(folder, ended=False)
    assert feeder.feed(name, folder, ended) == 0
    log.write_text(text)
    tell(folder, ended=True)
    for _ in range(2):
        assert feeder.feed(name, folder, ended) == 0


def logged(folder: Path, as_kept: Callable[[float], float] = float) -> Points:
    """Returns the points that the log of the run holds."""
    found: Points = {"seed-0": {}, "seed-1": {}}
    for text in (folder / "metrics.jsonl").read_text().splitlines():
        line = json.loads(text)
        series = found[f"seed-{line.pop('seed')}"]
        epoch = line.pop("epoch")
        for name, value in line.items():
            series.setdefault(name, []).append((epoch, as_kept(value)))
    return found


def test_tensorboard(folder: Path) -> None:
    pytest.importorskip("tensorboardX", reason="tensorboardX is not installed (tensorboard extra)")
    events = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator",
        reason="TensorBoard is not installed",
    )
    fed(folder, "tensorboard")
    found: Points = {}
    for seed in (0, 1):
        read = events.EventAccumulator(str(folder / f"tensorboard/seed-{seed}"))
        read.Reload()
        found[f"seed-{seed}"] = {
            tag: [(event.step, event.value) for event in read.Scalars(tag)]
            for tag in read.Tags()["scalars"]
        }
        configuration = read.Tensors("configuration/text_summary")[0].tensor_proto.string_val[0]
        text = configuration.decode().removeprefix("```json").removesuffix("```")
        assert json.loads(text) == {**CONFIG, "seed": seed}
        (state,) = read.Tensors("state/text_summary")
        assert (state.step, state.tensor_proto.string_val[0]) == (3, b"finished")
        if seed == 0:
            (picture,) = read.Images("reconstructions/1")
            assert (picture.width, picture.height, picture.step) == (30, 20, 3)
            png = (folder / "trackers/picture.png").read_bytes()
            assert picture.encoded_image_string == png
    assert found == logged(folder, lambda value: float(np.float32(value)))


def test_wandb(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a network: the files that `wandb sync` uploads."""
    pytest.importorskip("wandb", reason="Weights & Biases is not installed (wandb extra)")
    from wandb.proto.wandb_internal_pb2 import Record

    monkeypatch.setenv("WANDB_MODE", "offline")
    fed(folder, "wandb")
    found: Points = {"seed-0": {}, "seed-1": {}}
    pictures = []
    for path in sorted(folder.glob("wandb/offline-run-*/run-*.wandb")):
        series = path.stem.removeprefix("run-0badcafe-")
        for data in records(path.read_bytes()):
            items = {
                item.key or ".".join(item.nested_key): json.loads(item.value_json)
                for item in Record.FromString(data).history.item
            }
            for name in items.keys() & COLUMNS:
                found[series].setdefault(name, []).append((items["_step"], items[name]))
            if any(name.startswith("reconstructions") for name in items):
                pictures.append((series, items["_step"]))
    assert found == logged(folder)
    assert pictures == [("seed-0", 3)]


def records(data: bytes) -> Iterator[bytes]:
    """Yields the records of a `.wandb` file: after a header LevelDB's log, in blocks of 32 KiB."""
    position, whole = 7, b""
    while position + 7 <= len(data):
        left = 2**15 - position % 2**15
        if left < 7:  # the rest of a block
            position += left
            continue
        length, kind = struct.unpack_from("<HB", data, position + 4)  # after a checksum
        whole += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # all of a record, or its last part
            yield whole
            whole = b""


def test_mlflow(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow", reason="MLflow is not installed (mlflow extra)")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (folder / "mlruns").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    fed(folder, "mlflow")
    client = mlflow.MlflowClient()
    runs = client.search_runs([client.get_experiment_by_name(PROJECT).experiment_id])
    found = {
        run.info.run_name.removeprefix("run/"): {
            name: [(p.step, p.value) for p in client.get_metric_history(run.info.run_id, name)]
            for name in run.data.metrics
        }
        for run in runs
    }
    assert found == logged(folder)
    (first,) = [run for run in runs if run.info.run_name == "run/seed-0"]
    assert first.data.params["model.options.hidden"] == "[8]"
    assert first.data.tags["state"] == "finished"
    (picture,) = client.list_artifacts(first.info.run_id, "reconstructions")
    assert picture.path == "reconstructions/picture.png"


def test_trackio(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In its files on this machine; it keeps the name `step` for itself."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "trackio"]:
        monkeypatch.delitem(sys.modules, name)  # it reads the environment when it is imported
    monkeypatch.delitem(sys.modules, "msae_jax.trackers.trackio", raising=False)
    monkeypatch.setenv("TRACKIO_DIR", str(folder / "trackio"))
    pytest.importorskip("trackio", reason="Trackio is not installed (trackio extra)")
    from trackio.sqlite_storage import SQLiteStorage

    fed(folder, "trackio")
    found: Points = {"seed-0": {}, "seed-1": {}}
    ends: list[tuple[str, str, bool]] = []
    for series, points in found.items():
        for row in SQLiteStorage.get_logs(PROJECT, f"run-0badcafe/{series}"):
            if "state" in row:
                ends.append((series, row["state"], "reconstructions_1" in row))
            for name in COLUMNS:
                key = "batches" if name == "step" else name
                if key in row:
                    points.setdefault(name, []).append((row["step"], row[key]))
    assert found == logged(folder)
    assert ends == [("seed-0", "finished", True), ("seed-1", "finished", False)]
