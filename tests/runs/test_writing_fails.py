"""Checkpoints that cannot be written: one line, whatever Orbax's threads have to say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from msae_jax.config import TrainConfig
from msae_jax.errors import CheckpointError
from msae_jax.runs import store
from msae_jax.runs.arrays import StateArrays
from msae_jax.runs.writer import Writer

WAITING = """
import sys, threading
from msae_jax.cli import main
from msae_jax.runs import store
def save(*arguments):
    threading.Thread(target=threading.Event().wait).start()  # as Orbax's, for ever
    raise store.NotWrittenError("checkpoint 1 cannot be written: no space")
store.save = save
sys.exit(main())
"""

LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)),) * 2)
from msae_jax.cli import main
sys.exit(main())
"""


def fails(*arguments: object) -> None:
    raise ValueError("no space")


def test_what_failed_is_not_raised_again_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = Writer(tmp_path, TrainConfig(), (2,))
    close = writer._manager.close
    monkeypatch.setattr(writer._manager, "wait_until_finished", fails)
    monkeypatch.setattr(writer._manager, "close", fails)
    arrays = StateArrays({"params": {"w": np.zeros((1, 2), np.float32)}}, {"step": np.zeros(1)})
    with pytest.raises(CheckpointError, match=r"checkpoint 0 cannot be written .* no space"):
        writer.save(arrays, [[]], [{"diverged": None}])
    writer.close()
    monkeypatch.undo()
    close()


def test_a_failure_at_the_end_is_an_error_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = Writer(tmp_path, TrainConfig(), (2,))
    close = writer._manager.close
    monkeypatch.setattr(writer._manager, "close", fails)
    with pytest.raises(CheckpointError, match="cannot be closed: no space"):
        writer.close()
    close()


@pytest.mark.slow
def test_threads_that_wait_for_ever_do_not_keep_the_command(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WAITING, "train", "--model", "baseline", "--data", "sines"]
    done = subprocess.run(
        [*command, "--epochs", "1", "--set", "hidden=[16]", "--out", str(tmp_path / "run")],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (
        2,
        "msae: error: checkpoint 1 cannot be written: no space\n",
    )


def test_an_error_is_short_and_keeps_its_end() -> None:
    text = store._first_line(ValueError("began" + "x" * 5000 + "No space left on device"))
    assert len(text) <= 200
    assert text.startswith("began")
    assert text.endswith("No space left on device")


@pytest.mark.parametrize("size", [1000, 4000])
def test_a_limit_of_file_sizes_is_one_line(
    tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The configuration fits, or the first arrays do; then Orbax's threads fail, each aloud."""
    monkeypatch.setenv("JAX_ENABLE_COMPILATION_CACHE", "false")  # it would warn of its own files
    model = ["--model", "baseline", "--set", "hidden=[16]", "--epochs", "2", "--data", "sines"]
    command = [sys.executable, "-c", LIMITED, str(size), "train", *model]
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "run")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "cannot be written" in done.stderr
