"""Checkpoints survive kills, and damage is found out."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from msae_jax.config import METRICS, ModelConfig, TrainConfig
from msae_jax.data import Dataset
from msae_jax.errors import CheckpointError, InputError
from msae_jax.fitting.loop import fit_one
from msae_jax.runs import arrays, checkpoint
from msae_jax.runs.history import History
from msae_jax.runs.writer import Writer
from tests.cli.in_process import msae

SETTINGS = TrainConfig(
    model=ModelConfig("baseline", {"hidden": [16], "latent_dim": 4}), batch_size=30, epochs=3
)
COMMAND = ["train", "--model", "baseline", "--epochs", "12", "--set", "hidden=[64]"]
COMMAND += ["--batch-size", "100", "--resume"]


@pytest.fixture(scope="module")
def finished(signals: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("finished") / "run"
    fit_one(SETTINGS, signals, out=run)
    return run


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


MEMBER = {"seed": 0, "vary": "all", "learning_rate": None, "beta": None, "diverged": None}


def digests(run: Path) -> dict[str, str]:
    """Of what the seed decides; the history has seconds too."""
    step = max(int(p.name) for p in (run / "checkpoints").iterdir() if p.name.isdigit())
    meta = json.loads((run / "checkpoints" / str(step) / "meta" / "metadata").read_text())
    return {name: meta["content"]["digests"][name] for name in ("weights", "training")}


@pytest.mark.slow
def test_a_killed_run_resumes_bit_for_bit(tmp_path: Path) -> None:
    """kill -9 while it starts and while it trains; tests/campaign has many more moments."""
    whole = tmp_path / "whole"
    assert msae(*COMMAND, "--out", whole) == 0
    killed = tmp_path / "killed"
    kills = 0
    moments: list[float | int] = [1.0, 1, 6]  # seconds, then epochs logged
    for moment in moments:
        process = subprocess.Popen(
            [sys.executable, "-m", "msae_jax", *COMMAND, "--out", str(killed)],
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        begun = time.monotonic()
        while process.poll() is None and time.monotonic() - begun < 120:
            if isinstance(moment, float):
                reached = time.monotonic() - begun > moment
            else:
                log = killed / "metrics.jsonl"
                reached = log.exists() and len(log.read_text().splitlines()) >= moment
            if reached:
                process.send_signal(signal.SIGKILL)
                process.wait()
                kills += 1
            time.sleep(0.002)
    assert msae(*COMMAND, "--out", killed) == 0
    assert kills >= 2
    assert digests(killed) == digests(whole)
    logs = [
        [
            {k: v for k, v in json.loads(line).items() if k != "seconds"}
            for line in (run / "metrics.jsonl").read_text().splitlines()
        ]
        for run in (whole, killed)
    ]
    assert logs[0] == logs[1]


def array_files(item: Path) -> list[Path]:
    return [p for p in item.rglob("d/*") if p.is_file() and p.stat().st_size > 100]


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("damage", "item"),
    [
        pytest.param(damage, item, marks=[pytest.mark.slow] * (item in also))
        for damage, also in (
            (flip, ()),
            (truncate, ("training", "history")),  # arrays in files as those of the weights
            (Path.unlink, ("training", "history")),
        )
        for item in ("weights", "training", "history", "meta")
    ],
)
def test_damage_is_found_and_resume_falls_back(
    run: Path, signals: Dataset, damage, item: str
) -> None:
    latest = run / "checkpoints" / "3"
    files = [latest / "meta" / "metadata"] if item == "meta" else array_files(latest / item)
    assert files
    for file in files:
        damage(file)
    if item != "training":
        with pytest.raises(CheckpointError, match=r"checkpoint .*3"):
            checkpoint.load(run)
    resumed = fit_one(SETTINGS, signals, out=run, resume=True)
    assert len(resumed.messages) == 1
    assert "3" in resumed.messages[0]
    assert [p.name for p in (run / "checkpoints-damaged").iterdir()] == ["3"]
    assert checkpoint.load(run).epoch == 3  # trained again
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 3


def test_what_falls_back_ends_at_the_same_bits(finished: Path, run: Path, signals: Dataset) -> None:
    for file in array_files(run / "checkpoints" / "3" / "weights"):
        flip(file)
    fit_one(SETTINGS, signals, out=run, resume=True)
    assert digests(run) == digests(finished)


def test_a_half_written_checkpoint_is_ignored(run: Path, signals: Dataset) -> None:
    half = run / "checkpoints" / "4.orbax-checkpoint-tmp"
    (half / "weights").mkdir(parents=True)
    (half / "weights" / "manifest.ocdbt").write_bytes(b"half")
    assert checkpoint.load(run).epoch == 3
    longer = fit_one(replace(SETTINGS, epochs=4), signals, out=run, resume=True)
    assert longer.messages == []
    assert checkpoint.load(run).epoch == 4


def test_all_damaged_is_an_error_that_lists_them(run: Path, signals: Dataset) -> None:
    for step in (run / "checkpoints").iterdir():
        flip(step / "meta" / "metadata")
    for _ in range(2):  # asking again does not start from scratch
        with pytest.raises(CheckpointError, match="no checkpoint of this run is usable"):
            fit_one(SETTINGS, signals, out=run, resume=True)
    assert not (run / "checkpoints-damaged").exists()


def test_latest_and_best_are_kept(finished: Path) -> None:
    kept = sorted(int(p.name) for p in (finished / "checkpoints").iterdir())
    losses = [line["test_loss"] for line in checkpoint.load(finished).history]
    best = int(np.argmin(losses)) + 1
    assert kept == sorted({2, 3, best})
    assert checkpoint.load(finished, best=True).epoch == best


def test_a_best_that_cannot_be_read_is_not_passed_over_in_silence(run: Path) -> None:
    latest = max(int(step.name) for step in (run / "checkpoints").iterdir())
    other = next(step for step in (run / "checkpoints").iterdir() if int(step.name) != latest)
    (other / "meta" / "metadata").write_text("{}")
    with pytest.warns(UserWarning, match=f"the best is sought among the others: .*{other}"):
        assert checkpoint.load_all(run, best=True).number == latest


def test_a_checkpoint_of_another_run_is_refused(
    run: Path, signals: Dataset, tmp_path: Path
) -> None:
    """Its own digests are right: what tells is the configuration of the run that it lies in."""
    fit_one(replace(SETTINGS, seed=7), signals, out=tmp_path / "other")
    shutil.rmtree(run / "checkpoints" / "3")
    shutil.copytree(tmp_path / "other" / "checkpoints" / "3", run / "checkpoints" / "3")
    with pytest.raises(CheckpointError, match="of another run: seed is 7, the run's 0"):
        checkpoint.load(run)
    with pytest.raises(InputError, match="holds another run"):
        fit_one(SETTINGS, signals, out=run, resume=True)


def test_a_checkpoint_tells_where_it_comes_from(finished: Path) -> None:
    opened = checkpoint.load(finished / "checkpoints" / "2")
    assert opened.epoch == 2
    assert opened.config["model"]["name"] == "baseline"
    assert opened.sample_shape == [128]
    assert opened.versions["jax"] == jax.__version__


@pytest.mark.slow
def test_batch_statistics_go_on_where_they_were(images: Dataset, tmp_path: Path) -> None:
    model = ModelConfig("conv", {"channels": [2, 2, 2], "latent_dim": 2})
    settings = TrainConfig(model=model, batch_size=35, epochs=2)
    fit_one(settings, images, out=tmp_path / "whole")
    fit_one(replace(settings, epochs=1), images, out=tmp_path / "parts")
    fit_one(settings, images, out=tmp_path / "parts", resume=True)
    assert digests(tmp_path / "parts") == digests(tmp_path / "whole")
    opened = checkpoint.load(tmp_path / "parts")
    assert opened.sample_shape == [28, 28, 1]
    assert set(opened.variables) == {"params", "batch_stats"}
    assert len(jax.tree.leaves(opened.variables["batch_stats"])) == 5 * 3


def lines(epochs: int) -> History:
    counts = [{"epoch": i + 1, "step": 7 * (i + 1), "seconds": 0.1} for i in range(epochs)]
    return [line | {name: 1 / (3 + i) for name in METRICS} for i, line in enumerate(counts)]


@pytest.mark.parametrize("epochs", [(3, 0, 2), (0, 0, 0)])
def test_members_keep_histories_of_their_own_length(
    tmp_path: Path, epochs: tuple[int, ...]
) -> None:
    histories = [lines(n) for n in epochs]
    state = arrays.StateArrays(
        {"params": {"w": np.zeros((3, 2), np.float32)}}, {"step": np.zeros(3)}
    )
    writer = Writer(tmp_path, SETTINGS, (2,))
    writer.save(state, histories, [MEMBER] * 3, versions={})
    writer.close()
    found = checkpoint.load_all(tmp_path).histories
    assert found == histories
    assert all(
        type(line[name]) is int for own in found for line in own for name in ("epoch", "step")
    )


def test_batch_statistics_are_kept_beside_the_parameters(tmp_path: Path) -> None:
    weights = {
        "params": {"w": np.ones((1, 2), np.float32)},
        "batch_stats": {"mean": np.arange(3, dtype=np.float32)[None]},
    }
    writer = Writer(tmp_path, SETTINGS, (2,))
    state = arrays.StateArrays(weights, {"step": np.zeros(1)})
    writer.save(state, [lines(1)], [MEMBER], versions={})
    writer.close()
    found = checkpoint.load(tmp_path).variables
    assert set(found) == {"params", "batch_stats"}
    np.testing.assert_array_equal(found["batch_stats"]["mean"], [0, 1, 2])


def test_a_checkpoint_of_another_version_says_so(run: Path, signals: Dataset) -> None:
    """Before histories were an array, there was no such item."""
    for step in (run / "checkpoints").iterdir():
        shutil.rmtree(step / "history")
    with pytest.raises(CheckpointError, match="it has no history, as those of other versions"):
        checkpoint.load(run)
    with pytest.raises(CheckpointError, match="it has no history, as those of other"):
        fit_one(SETTINGS, signals, out=run, resume=True)


def test_histories_of_many_members_take_little_memory(tmp_path: Path) -> None:
    """Less than half of what they take themselves; their JSON took more than that."""
    state = arrays.StateArrays(
        {"params": {"w": np.zeros((64, 2), np.float32)}}, {"step": np.zeros(64)}
    )
    writer = Writer(tmp_path, SETTINGS, (2,))
    members = [MEMBER] * 64
    writer.save(state, [lines(1)] * 64, members, versions={})  # what is allocated once, is
    tracemalloc.start()
    try:
        histories = [lines(100) for _ in range(64)]
        held, _ = tracemalloc.get_traced_memory()
        peaks = []
        for _ in range(3):  # threads of earlier tests may end meanwhile, and take memory for it
            tracemalloc.reset_peak()
            writer.save(state, histories, members, versions={})
            peaks.append(tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()
        writer.close()
    assert min(peaks) - held < 0.5 * held


def test_a_checkpoint_opens_on_other_device_counts(finished: Path) -> None:
    """Written on one device, opened by a process with four, and its weights used there."""
    code = (
        "import sys, jax; from msae_jax.runs import arrays, checkpoint;"
        "assert len(jax.devices()) == 4;"
        "print(arrays.digest(checkpoint.load(sys.argv[1]).variables))"
    )
    env = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=4"}
    got = subprocess.run(
        [sys.executable, "-c", code, str(finished)], env=env, capture_output=True, text=True
    )
    assert got.returncode == 0, got.stderr
    assert got.stdout.strip() == arrays.digest(checkpoint.load(finished).variables)


@pytest.mark.parametrize("name", ["missing", "empty", "notes.txt"])
def test_what_is_no_checkpoint_is_named(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=name):
        checkpoint.load(tmp_path / name)


def test_digests_see_names_shapes_types_and_values() -> None:
    base = {"a": np.zeros((2, 3), np.float32)}
    others = [
        {"b": np.zeros((2, 3), np.float32)},
        {"a": np.zeros((3, 2), np.float32)},
        {"a": np.zeros((2, 3), np.int32)},
        {"a": np.full((2, 3), 1e-45, np.float32)},
    ]
    found = {arrays.digest(tree) for tree in [base, *others]}
    assert len(found) == 5


def test_a_run_named_like_a_checkpoint_is_a_run(finished: Path, tmp_path: Path) -> None:
    target = tmp_path / "checkpoints" / "5"
    shutil.copytree(finished, target)
    assert checkpoint.load_all(target).number == checkpoint.load_all(finished).number
