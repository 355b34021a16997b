"""The contract of trackers: each point once, and nothing that one does reaches the training."""

from __future__ import annotations

import json
import shutil
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from msae_jax import config
from msae_jax.config import TrainConfig
from msae_jax.errors import InputError
from msae_jax.fitting.loop import fit
from msae_jax.runs.history import COLUMNS
from msae_jax.trackers import feeder, feeding, parse
from msae_jax.trackers.feeding import following
from tests.trackers.conftest import OWN

pytestmark = pytest.mark.usefixtures("all_quick_to_compile", "importable")


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def logged(run: Path) -> list[tuple[str, int, dict[str, float]]]:
    """Returns what a tracker must be given of a run, from its `metrics.jsonl`."""
    return [
        (f"seed-{line['seed']}", line["epoch"], {k: line[k] for k in COLUMNS if k != "epoch"})
        for line in lines(run / "metrics.jsonl")
    ]


def entries(run: Path, kind: str) -> list[Any]:
    return [tuple(entry) for kind_, *entry in lines(run / "own.jsonl") if kind_ == kind]


def test_a_tracker_gets_every_epoch_of_every_seed(run: Path, settings: TrainConfig) -> None:
    assert len(logged(run)) == 6
    assert entries(run, "log") == logged(run)
    begun = dict(entries(run, "begin"))
    assert begun["seed-1"] == json.loads(json.dumps(config.to_dict(replace(settings, seed=1))))
    ends = {series: rest for series, *rest in entries(run, "end")}
    for seed in (0, 1):
        assert ends[f"seed-{seed}"][:2] == [3, {"state": "finished, 3 epochs"}]
    assert ends["seed-0"][2][0] > 1000  # bytes of a picture
    assert ends["seed-1"][2] == []
    assert entries(run, "close") == [("small",)]


def test_a_run_that_goes_on_doubles_nothing(
    run: Path, settings: TrainConfig, tmp_path: Path
) -> None:
    """A run that no tracker has seen is finished, then finished again, then has another epoch."""
    out = tmp_path / "run"
    shutil.copytree(run, out, ignore=shutil.ignore_patterns("trackers", "own.jsonl"))
    for epochs in (3, 3, 4):
        with following([OWN], out) as on_epoch:
            longer = replace(settings, epochs=epochs)
            fit(longer, seeds=2, out=out, resume=True, on_epoch=on_epoch)
    assert len(logged(out)) == 8
    assert entries(out, "log") == logged(out)
    ends = [end[:2] for end in entries(out, "end")]
    assert ends == [("seed-0", 3), ("seed-1", 3), ("seed-0", 4), ("seed-1", 4)]


def test_trackers_that_fail_do_not_reach_the_training(
    run: Path, settings: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeding, "PATIENCE", 3.0)
    names = [f"tests.trackers.own:{name}" for name in ("Full", "Offline", "Dies")]
    out = tmp_path / "run"
    with (
        pytest.warns(UserWarning, match="has not got all of") as said,
        following([OWN, *names], out) as on_epoch,
    ):
        fit(settings, seeds=2, out=out, on_epoch=on_epoch)
    texts = " ".join(sorted(str(warning.message) for warning in said))
    assert "Full has not got all of" in texts
    assert "OSError: [Errno 28] No space left on device; msae train --resume --out" in texts
    assert "Offline has not got all of" in texts
    assert "it took more than 3 seconds after training" in texts
    assert "its process ended with status 9; see" in texts
    assert texts.count("has not got all of") == 3

    def timeless(run: Path) -> list[Any]:
        return [(series, epoch, {**found, "seconds": 0}) for series, epoch, found in logged(run)]

    assert timeless(out) == timeless(run)  # bit for bit
    assert entries(out, "log") == logged(out)  # the other tracker got everything


def test_what_cannot_be_told_does_not_reach_the_training(
    settings: TrainConfig, tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    with (
        pytest.warns(UserWarning, match="is not a run directory"),
        following([OWN], tmp_path / "run") as on_epoch,
    ):
        on_epoch({})  # there is no run


def test_a_run_that_raises_ends_its_trackers(run: Path, tmp_path: Path) -> None:
    copy = copied(run, tmp_path, 2)

    def interrupted() -> None:
        with following([OWN], copy) as on_epoch:
            on_epoch({})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [epoch for _, epoch, _ in entries(copy, "log")] == [1, 1]
    assert entries(copy, "close")
    assert not entries(copy, "end")


def copied(run: Path, folder: Path, count: int) -> Path:
    """Returns a copy of a run whose log has its first lines, and which no tracker knows."""
    copy = folder / run.name
    copy.mkdir()
    for name in ("config.json", "seeds.json"):
        (copy / name).write_bytes((run / name).read_bytes())
    text = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (copy / "metrics.jsonl").write_text("".join(text[:count]))
    return copy


def test_a_missing_package_is_named_with_its_extra(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    monkeypatch.delitem(sys.modules, "msae_jax.trackers.wandb", raising=False)
    ended = threading.Event()
    ended.set()
    with pytest.raises(InputError):
        feeder.feed("wandb", run, ended)
    said = json.loads((run / "trackers/wandb.json").read_text())["error"]
    assert said == "wandb is not installed: pip install 'msae-jax[wandb]'"


def test_names_of_trackers() -> None:
    assert parse("wandb,tensorboard,wandb") == ["wandb", "tensorboard"]
    assert parse(None) == []
    with pytest.raises(InputError, match="unknown tracker 'tensorbord'"):
        parse("tensorbord")


def test_the_log_is_read_as_it_grows_and_when_it_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "log"
    read = feeder.Lines(path)
    assert list(read.new()) == []
    path.write_text('{"a": 1}\n{"a"')
    assert list(read.new()) == [{"a": 1}]
    with path.open("a") as file:
        file.write(': 2}\n{"a": 3}\n')
    assert list(read.new()) == [{"a": 2}, {"a": 3}]
    (tmp_path / "other").write_text('{"a": 4}\n{"a": 5}\n{"a": 6}\n{"a": 7}\n')
    (tmp_path / "other").replace(path)
    assert list(read.new()) == [{"a": 4}, {"a": 5}, {"a": 6}, {"a": 7}]
    assert len(list(read.new(again=True))) == 4


def test_a_verdict_is_logged_once(tmp_path: Path) -> None:
    verdict = {"sentence": "A is lower.", "p": 0.25, "fair": True, "seeds": [0, 1], "claim": None}
    for _ in range(2):
        feeding.send_verdict([OWN], tmp_path, "A and B", verdict, "compare A B")
    assert entries(tmp_path, "begin")[0] == ("verdict", verdict)
    assert entries(tmp_path, "log") == [("verdict", 1, {"p": 0.25})]
    summary = {"sentence": "A is lower.", "fair": True}
    assert entries(tmp_path, "end") == [("verdict", 1, summary, [])]
