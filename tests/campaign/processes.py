"""Commands in processes of their own, and what a run directory holds after them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from msae_jax.runs import checkpoint

SECONDS = 120.0
"""Until a command that does not end counts as a hang."""

TINY = ("--model", "baseline", "--set", "hidden=[4]", "--set", "latent_dim=2", "--batch-size", "16")


def samples(folder: Path) -> Path:
    """Writes 60 samples of 6 values, and returns the file."""
    path = folder / "samples.npy"
    np.save(path, np.random.default_rng(0).normal(size=(60, 6)).astype(np.float32))
    return path


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "msae_jax", *map(str, arguments)]


def start(*arguments: object, within: Sequence[object] = ()) -> subprocess.Popen[str]:
    """Starts `msae` with the arguments, as the leader of a group of processes.

    Args:
      within: a Python program that becomes the command in its last arguments, and its first ones.
    """
    before = [sys.executable, "-c", *map(str, within)] if within else []
    return subprocess.Popen(
        [*before, *command(*arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str], seconds: float = SECONDS) -> tuple[int, str, str]:
    """Returns status, output and errors of a process; fails where it does not end in time."""
    try:
        out, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        kill(process)
        out, errors = process.communicate()
        raise AssertionError(
            f"hangs after {seconds:.0f} seconds: {process.args}\n{errors[-3000:]}"
        ) from None
    return process.returncode, out, errors


def run(*arguments: object, within: Sequence[object] = ()) -> tuple[int, str, str]:
    return finish(start(*arguments, within=within))


def kill(process: subprocess.Popen[str]) -> None:
    """Kills a process and those that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def is_one_line(errors: str, beginning: str = "msae: error: ") -> bool:
    """Whether standard error has one line, notes and warnings of ours aside."""
    lines = [
        line
        for line in errors.splitlines()
        if not line.startswith(("msae: note: ", "msae: warning: ", "preparing "))
    ]
    return len(lines) == 1 and lines[0].startswith(beginning)


def contents(run: Path) -> dict[str, Any]:
    """Returns what a run directory holds, times aside: arrays as bytes, `metrics.jsonl` as text."""
    opened = checkpoint.load_all(run)
    leaves = jax.tree_util.tree_leaves_with_path(opened.variables)
    arrays = {
        jax.tree_util.keystr(path): (str(leaf.dtype), leaf.shape, leaf.tobytes())
        for path, leaf in leaves
    }
    return {
        **arrays,
        "config": opened.config,
        "members": opened.members,
        "config.json": (run / "config.json").read_text(),
        "metrics.jsonl": without_times((run / "metrics.jsonl").read_text()),
    }


def without_times(log: str) -> str:
    """Returns a log, byte for byte but for the seconds that training took."""
    lines = [json.loads(line) for line in log.splitlines()]
    for line in lines:
        line["seconds"] = 0
    return "".join(json.dumps(line) + "\n" for line in lines)


def differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """Returns the names of what differs."""
    return [name for name in sorted({*a, *b}) if a.get(name) != b.get(name)]


def debris(folder: Path) -> list[str]:
    """Returns the temporary files that are left below a folder."""
    return [str(p.relative_to(folder)) for p in folder.rglob("*") if p.name.endswith(".tmp")]
