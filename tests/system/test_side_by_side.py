"""Tasks run in other processes, with a share of the cores, and never outlive a failure."""

from __future__ import annotations

import functools
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from msae_jax.errors import InputError
from msae_jax.system import progress, side_by_side

needs_cores = pytest.mark.skipif(len(side_by_side._cores()) < 2, reason="one core")


def describe(path: Path) -> None:
    path.write_text(f"{os.getpid()} {len(side_by_side._cores())}")


def refuse() -> None:
    raise InputError("got nothing")


@needs_cores
def test_each_task_has_a_process_and_its_share(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in "abc"]
    side_by_side.run([functools.partial(describe, path) for path in paths])
    found = [path.read_text().split() for path in paths]
    assert str(os.getpid()) not in {process for process, _ in found}
    cores = len(side_by_side._cores())
    count = min(3, cores)
    assert {int(share) for _, share in found} <= {cores // count, -(-cores // count)}


@needs_cores
def test_an_error_is_raised_here_and_stops_the_others() -> None:
    begin = time.monotonic()
    with pytest.raises(InputError, match="got nothing"):
        side_by_side.run([functools.partial(time.sleep, 60), refuse])
    assert time.monotonic() - begin < 30
    deadline = time.monotonic() + 10
    while multiprocessing.active_children() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not multiprocessing.active_children()


def test_one_core_needs_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(side_by_side, "_cores", lambda: [0])
    side_by_side.run([functools.partial(describe, tmp_path / "a")])
    assert (tmp_path / "a").read_text() == f"{os.getpid()} 1"


@needs_cores
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="reads /proc")
def test_tasks_end_with_a_process_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import functools, os, pathlib, signal, sys, time\n"
        "from msae_jax.system import side_by_side\n"
        "from tests.system.test_side_by_side import wait_after\n"
        "if __name__ == '__main__':\n"
        "    paths = [pathlib.Path(p) for p in sys.argv[1:]]\n"
        "    side_by_side.run([functools.partial(wait_after, p) for p in paths])\n"
    )
    paths = [tmp_path / name for name in "ab"]
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, str(script), *map(str, paths)], env=os.environ | {"PYTHONPATH": str(root)}
    )
    children = [int(_written(path)) for path in paths]
    process.kill()
    process.wait()
    deadline = time.monotonic() + 20
    while any(_runs(child) for child in children) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(_runs(child) for child in children)


def wait_after(path: Path) -> None:
    describe(path)
    time.sleep(60)


def _written(path: Path) -> str:
    deadline = time.monotonic() + 60
    while not (path.exists() and " " in path.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return path.read_text().split()[0]


def _runs(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2]
    except OSError:
        return False
    return state[0] != "Z"  # a zombie has ended


def test_progress_of_other_processes_is_a_bar_each() -> None:
    class Bars(list):
        def add_task(self, label: str, total: int, losses: str) -> int:
            self.append([label, total, losses])
            return len(self) - 1

        def update(self, task: int, completed: int, losses: str) -> None:
            self[task] += [completed, losses]

        def remove_task(self, task: int) -> None:
            self[task] = None

    reports = multiprocessing.get_context("spawn").SimpleQueue()
    progress.report_to(reports)
    try:
        for label in ("first", "second"):
            with progress.progress_bar(9, label) as show:
                show({"epoch": 3, "train_loss": 0.5, "test_loss": 0.25})
        reports.put(None)
    finally:
        progress.report_to(None)
    bars = Bars()
    progress._show_all(bars, reports)
    assert bars == [None, ["second", 9, "compiling", 3, "loss 0.5  test 0.25"]]
