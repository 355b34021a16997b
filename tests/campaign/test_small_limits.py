"""20 runs on full disks and under small limits: one line each, and what was finished is kept.

A disk is a file system in memory where one can be mounted; without that permission, those parts are
skipped, and limits of file sizes stand for them.
"""

from __future__ import annotations

import contextlib
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.campaign import processes as p

pytestmark = pytest.mark.slow

DISKS, FILES, DESCRIPTORS = 10, 6, 4
EPOCHS = 8


@contextlib.contextmanager
def disk(folder: Path, options: str) -> Iterator[Path]:
    """Mounts a small file system; skips where that is not permitted."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("no permission to mount a small file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def grow(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


LIMITED = """
import os, resource, sys
limit, value = map(int, sys.argv[1:3])
resource.setrlimit(limit, (value, resource.getrlimit(limit)[1]))
os.execv(sys.argv[3], sys.argv[3:])
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, programs: Path) -> tuple[Path, Path]:
    """The samples, and a run that had all it needed."""
    folder = tmp_path_factory.mktemp("whole")
    data, out = p.samples(folder), folder / "run"
    status, _, errors = p.run(*train(data, out))
    assert status == 0, errors
    return data, out


def train(data: Path, out: Path) -> list[object]:
    tiny = ["train", *p.TINY, "--data", data, "--epochs", EPOCHS]
    return [*tiny, "--out", out, "--resume"]


def check(
    whole: tuple[Path, Path],
    out: Path,
    starved: tuple[int, str, str],
    grown: Callable[[], None],
) -> str:
    """Returns `failed` or `fitted`, or what is wrong with a run that lacked something, and with
    what became of it once it did not."""
    status, _, errors = starved
    if status < 0 or (status and not p.is_one_line(errors)):
        return f"status {status}: {errors[-2000:]}"
    grown()
    again, _, errors = p.run(*train(whole[0], out))
    if again:
        return f"does not go on: {errors[-1500:]}"
    if wrong := p.differing(p.contents(whole[1]), p.contents(out)):
        return f"not as one that was not interrupted: {wrong}"
    return "failed" if status else "fitted"


def bytes_below(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def counted(found: Mapping[str, str], count: Callable[[str], None], what: str) -> None:
    failed = sum(result == "failed" for result in found.values())
    fitted = sum(result == "fitted" for result in found.values())
    faults = {name: result for name, result in found.items() if result not in ("failed", "fitted")}
    count(
        f"{what}: {len(found)} runs, {failed} ended with one line and went on to the same bits, "
        f"{fitted} had enough, {len(faults)} faults"
    )
    assert not faults, "\n".join(f"{name}: {result}" for name, result in faults.items())
    assert failed


def test_full_disks(
    whole: tuple[Path, Path],
    tmp_path: Path,
    seed: int,
    share: Callable[[int], int],
    count: Callable[[str], None],
) -> None:
    """Of bytes and of files, from almost nothing to almost enough."""
    pages = bytes_below(whole[1]) + 4096 * len(list(whole[1].rglob("*")))
    files = 3 * len(list(whole[1].rglob("*")))
    rng = np.random.default_rng([seed, 4])
    found: dict[str, str] = {}
    for i in range(share(DISKS)):
        part = rng.uniform(0.02, 0.9)
        small = f"size={max(8192, int(part * pages))}"
        if i % 3 == 2:
            small = f"size=64m,nr_inodes={max(4, int(part * files))}"
        with disk(tmp_path / f"disk{i}", small) as folder:
            out = folder / "run"
            starved = p.run(*train(whole[0], out))
            found[small] = check(
                whole, out, starved, lambda folder=folder: grow(folder, "size=64m,nr_inodes=0")
            )
    counted(found, count, "full disks")


@pytest.mark.parametrize(
    ("kind", "limit", "full", "low", "high"),
    [
        ("sizes of files", resource.RLIMIT_FSIZE, FILES, 16, 6000),
        ("open files", resource.RLIMIT_NOFILE, DESCRIPTORS, 8, 60),
    ],
)
def test_small_limits(
    kind: str,
    limit: int,
    full: int,
    low: int,
    high: int,
    whole: tuple[Path, Path],
    tmp_path: Path,
    seed: int,
    share: Callable[[int], int],
    count: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("JAX_ENABLE_COMPILATION_CACHE", "false")  # it would be limited first
    rng = np.random.default_rng([seed, 5])
    found: dict[str, Any] = {}
    for i in range(share(full)):
        value = int(np.exp(rng.uniform(np.log(low), np.log(high))))
        out = tmp_path / f"run{i}"
        starved = p.run(*train(whole[0], out), within=[LIMITED, limit, value])
        found[f"{value}"] = check(whole, out, starved, lambda: None)
    counted(found, count, f"limits of {kind}")
