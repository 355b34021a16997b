"""A run directory has one writer, and believes nothing that was changed behind its back."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from msae_jax.config import ModelConfig, OptimizerConfig, TrainConfig
from msae_jax.data import Dataset
from msae_jax.errors import CheckpointError, InputError
from msae_jax.fitting.loop import fit_many, fit_one
from msae_jax.runs import checkpoint, directory, store
from msae_jax.train.seeds import Member

SETTINGS = TrainConfig(
    model=ModelConfig("baseline", {"hidden": [16], "latent_dim": 4}), batch_size=30, epochs=2
)


HOLD = """
import signal, sys, filelock
with filelock.FileLock(sys.argv[1]):
    print("held", flush=True)
    signal.pause()
"""


@pytest.fixture(scope="module")
def finished(signals: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of SETTINGS, of seed 0 and two epochs."""
    out = tmp_path_factory.mktemp("finished") / "run"
    fit_one(SETTINGS, signals, out=out)
    return out


@pytest.fixture(scope="module")
def first(signals: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one epoch."""
    out = tmp_path_factory.mktemp("first") / "run"
    fit_one(replace(SETTINGS, epochs=1), signals, out=out)
    return out


@pytest.fixture(scope="module")
def pair(signals: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the seeds 0 and 4, of two epochs."""
    out = tmp_path_factory.mktemp("pair") / "run"
    fit_many(SETTINGS, [Member(0), Member(4)], signals, out=out)
    return out


def copied(run: Path, tmp_path: Path) -> Path:
    """Returns a copy of a run to damage."""
    return Path(shutil.copytree(run, tmp_path / "run"))


def test_the_second_writer_is_told_at_once_and_a_dead_one_does_not_block(
    signals: Dataset, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    out.mkdir()
    command = [sys.executable, "-c", HOLD, str(out / directory.LOCK)]
    other = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    assert other.stdout.readline() == "held\n"
    for resume in (False, True):
        with pytest.raises(InputError, match="another process is writing to"):
            fit_one(SETTINGS, signals, out=out, resume=resume)
    assert [path.name for path in out.iterdir()] == [directory.LOCK]
    other.kill()
    other.communicate()
    assert len(fit_one(SETTINGS, signals, out=out).history) == 2


def test_what_fails_before_it_writes_leaves_no_folder(signals: Dataset, tmp_path: Path) -> None:
    wrong = replace(SETTINGS, model=ModelConfig("conv"))
    with pytest.raises(InputError, match="expects images"):
        fit_one(wrong, signals, out=tmp_path / "a" / "run")
    assert not (tmp_path / "a").exists()


def changed(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


def test_a_configuration_that_was_changed_is_refused(
    finished: Path, signals: Dataset, tmp_path: Path
) -> None:
    """One flipped bit, 0.001 to 0.003: the checkpoint knows better."""
    out = copied(finished, tmp_path)
    changed(out / "config.json", "0.001", "0.003")
    settings = replace(directory.read_config(out), epochs=3)
    assert settings.optimizer == OptimizerConfig(learning_rate=0.003)
    with (
        pytest.warns(UserWarning, match=r"config\.json is not as it was written"),
        pytest.raises(InputError, match=r"optimizer.learning_rate was 0.001, is 0.003"),
    ):
        fit_one(settings, signals, out=out, resume=True)


@pytest.mark.parametrize("content", [None, b"", b"[]", b"\xff", b'{"seed": 7, "epochs": 9}'])
def test_a_run_goes_on_under_the_configuration_of_its_checkpoint(
    finished: Path, signals: Dataset, tmp_path: Path, content: bytes | None
) -> None:
    """More epochs would be accepted of a user, and are not of a damaged file."""
    out = copied(finished, tmp_path)
    before = (out / "config.json").read_bytes()
    (out / "config.json").unlink()
    if content is not None:
        (out / "config.json").write_bytes(content)
    with pytest.warns(UserWarning, match="the newest checkpoint holds counts"):
        settings = checkpoint.read_config(out)
    assert settings == SETTINGS
    with pytest.warns(UserWarning, match="the newest checkpoint holds counts"):
        fit_one(settings, signals, out=out, resume=True)
    assert (out / "config.json").read_bytes() == before


def test_more_epochs_that_were_asked_for_are_no_damage(finished: Path, tmp_path: Path) -> None:
    """A run that was killed before the next checkpoint."""
    out = copied(finished, tmp_path)
    directory.make(out, replace(SETTINGS, epochs=5), [Member(0)])
    assert checkpoint.read_config(out).epochs == 5


def test_a_damaged_log_is_written_anew(finished: Path, signals: Dataset, tmp_path: Path) -> None:
    out = copied(finished, tmp_path)
    log = out / "metrics.jsonl"
    before = log.read_bytes()
    log.write_bytes(b"\0" + before[:50])
    fit_one(SETTINGS, signals, out=out, resume=True)
    assert log.read_bytes() == before


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"metrics": 5}', None])
def test_a_damaged_record_of_orbax_hurts_nothing(
    finished: Path, signals: Dataset, tmp_path: Path, content: bytes | None
) -> None:
    """Orbax keeps it in every checkpoint and reads it where training goes on."""
    out = copied(finished, tmp_path)
    record = out / "checkpoints" / "1" / "_CHECKPOINT_METADATA"
    assert record.exists()
    record.unlink()
    if content is not None:
        record.write_bytes(content)
    longer = fit_one(replace(SETTINGS, epochs=3), signals, out=out, resume=True)
    assert (len(longer.history), longer.messages) == (3, [])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("config", {"epochs": 0}),
        ("members", []),
        ("members", [{"seed": 0}]),
        ("members", [{"seed": 0, "vary": "x", "learning_rate": None, "beta": None}]),
        ("sample_shape", [0]),
        ("columns", ["epoch", "epoch"]),
        ("score", "0.5"),
        ("versions", {"jax": 7}),
        ("digests", []),
        ("seeds_per_batch", 0),
        ("facts", {"dtype": "float32"}),
        ("format", "2"),
    ],
)
def test_a_record_with_other_values_is_one_line_even_under_a_digest(
    first: Path, tmp_path: Path, name: str, value: object
) -> None:
    out = copied(first, tmp_path)
    meta = out / "checkpoints" / "1" / "meta" / "metadata"
    content = json.loads(meta.read_text())["content"] | {name: value}
    meta.write_text(json.dumps({"content": content, "sha256": store._digest_json(content)}))
    with pytest.raises(CheckpointError, match=r"not written by msae_jax|has format"):
        checkpoint.load(out)


def test_a_checkpoint_that_lacks_a_newer_field_is_of_its_run(first: Path, tmp_path: Path) -> None:
    """Another version wrote it; the field has its default."""
    out = copied(first, tmp_path)
    meta = out / "checkpoints" / "1" / "meta" / "metadata"
    content = json.loads(meta.read_text())["content"]
    del content["config"]["objective"]["noise_std"]
    meta.write_text(json.dumps({"content": content, "sha256": store._digest_json(content)}))
    assert checkpoint.load(out).epoch == 1
    directory.make(out, replace(SETTINGS, epochs=9), [Member(0)])
    assert checkpoint.load(out, best=True).epoch == 1


@pytest.mark.parametrize("text", ["5", "[]", '{"model": 3}'])
def test_a_signed_configuration_that_is_none_is_one_line(
    first: Path, tmp_path: Path, text: str
) -> None:
    out = copied(first, tmp_path)
    (out / "config.json").write_text(text)
    signed = {"members": [], "sha256": directory._digest([], text.encode())}
    (out / "seeds.json").write_text(json.dumps(signed))
    with pytest.raises(CheckpointError, match=r"of another run: .*"):
        checkpoint.load(out)


@pytest.mark.parametrize("name", ["config.json", "seeds.json"])
def test_before_there_is_a_checkpoint_a_digest_tells(tmp_path: Path, name: str) -> None:
    directory.make(tmp_path, SETTINGS, [Member(0), Member(1)])
    assert checkpoint.read_members(tmp_path) == [Member(0), Member(1)]
    changed(tmp_path / name, "1", "3")
    with pytest.raises(InputError, match="are not as they were written"):
        checkpoint.read_members(tmp_path)


@pytest.mark.parametrize("content", [None, b"", b"[]", b"\xff", b"[" * 100_000])
def test_seeds_are_those_of_the_checkpoint_whatever_the_file_says(
    pair: Path, signals: Dataset, tmp_path: Path, content: bytes | None
) -> None:
    out = copied(pair, tmp_path)
    (out / "seeds.json").unlink()
    if content is not None:
        (out / "seeds.json").write_bytes(content)
    more = fit_many(replace(SETTINGS, epochs=3), [Member(0)], signals, out=out, resume=True)
    assert [member.seed for member in more.members] == [0, 4]
    assert [len(history) for history in more.histories] == [3, 3]


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff\xfe", b"[" * 100_000, b'{"epochs": "x"}'])
def test_a_configuration_that_is_none_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(InputError, match="is not a configuration"):
        directory.read_config(tmp_path)


def test_a_directory_that_is_moved_ends_the_run(signals: Dataset, tmp_path: Path) -> None:
    def move(line: dict) -> None:
        if line["epoch"] == 1:
            (tmp_path / "run").rename(tmp_path / "moved")

    with pytest.raises(InputError, match="was moved or deleted while it trained"):
        fit_one(SETTINGS, signals, out=tmp_path / "run", on_epoch=move)
    whole = fit_one(SETTINGS, signals)
    resumed = fit_one(SETTINGS, signals, out=tmp_path / "moved", resume=True)
    kernel = whole.variables["params"]["decoder"]["linear_1"]["kernel"]
    np.testing.assert_array_equal(
        resumed.variables["params"]["decoder"]["linear_1"]["kernel"], kernel
    )


def test_a_checkpoint_of_a_later_format_is_named(first: Path, tmp_path: Path) -> None:
    out = copied(first, tmp_path)
    meta = out / "checkpoints" / "1" / "meta" / "metadata"
    content = json.loads(meta.read_text())["content"] | {"format": store.FORMAT + 1}
    meta.write_text(json.dumps({"content": content, "sha256": store._digest_json(content)}))
    with pytest.raises(CheckpointError, match=r"has format 3, .* reads up to 2"):
        checkpoint.load(out)


@pytest.mark.parametrize("damage", [b"", b"{}", b"\xff", b'{"test_loss": "x"}'])
def test_a_damaged_file_of_metrics_beside_a_checkpoint_hurts_nothing(
    finished: Path, signals: Dataset, tmp_path: Path, damage: bytes
) -> None:
    """Checkpoints of format 1 had Orbax's own record of metrics beside them."""
    out = copied(finished, tmp_path)
    for number in ("1", "2"):
        folder = out / "checkpoints" / number / "metrics"
        folder.mkdir()
        (folder / "metrics").write_bytes(damage)
    assert checkpoint.load(out, best=True).epoch in (1, 2)
    longer = fit_one(replace(SETTINGS, epochs=3), signals, out=out, resume=True)
    assert (len(longer.history), longer.messages) == (3, [])
