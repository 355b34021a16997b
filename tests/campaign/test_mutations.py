"""6,000 damaged inputs of every kind that is read: the same bits come out, or an error of ours.

No other exception, no code run, nothing above 20 seconds or 1 GiB of addresses.
"""

from __future__ import annotations

import collections
import json
import os
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.campaign.subjects import SUBJECTS

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SECONDS = 20.0
START = 180.0  # seconds until the original is made and read
EVIL = "from pathlib import Path\nPath({!r}).touch()\nClass = Path\n"


def outcomes(kind: str, folder: Path, seed: int, count: int) -> Iterator[dict[str, Any]]:
    """Yields what came of each damaged input, from one worker after another."""
    folder.mkdir(parents=True)
    (folder / "evil.py").write_text(EVIL.format(str(folder / "sentinel")))
    index = 0
    while index < count:
        with start(kind, folder, seed, index, count) as worker:
            assert worker.stdout is not None
            waiting = START
            while index < count:
                line = next_line(worker.stdout.fileno(), waiting)
                if line is None or line == "":
                    if waiting == START:
                        raise AssertionError(f"{kind}: the worker did not begin: {tail(folder)}")
                    worker.kill()
                    worker.wait()
                    what = "a hang" if line is None else f"the worker died: {worker.returncode}"
                    yield {"index": index, "result": "fault", "text": what + tail(folder)}
                    index += 1
                    break
                waiting = SECONDS
                found = json.loads(line)
                if "index" in found:
                    yield found
                    index += 1
            worker.kill()


def start(kind: str, folder: Path, seed: int, begin: int, end: int) -> subprocess.Popen:
    """Starts a worker in the folder, from which a module that makes the sentinel is importable."""
    numbers = map(str, (seed, begin, end))
    return subprocess.Popen(
        [sys.executable, "-m", "tests.campaign.worker", kind, str(folder), *numbers],
        stdout=subprocess.PIPE,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
    )


def next_line(descriptor: int, seconds: float) -> str | None:
    """Returns the next line, an empty one at the end, None where none comes in time."""
    line = b""
    while not line.endswith(b"\n"):
        ready, _, _ = select.select([descriptor], [], [], seconds)
        if not ready:
            return None
        byte = os.read(descriptor, 1)
        if not byte:
            return ""
        line += byte
    return line.decode()


def tail(folder: Path) -> str:
    path = folder / "printed.txt"
    return "\n" + path.read_text(errors="replace")[-2000:] if path.exists() else ""


def test_the_sentinel_works(tmp_path: Path) -> None:
    (tmp_path / "evil.py").write_text(EVIL.format(str(tmp_path / "sentinel")))
    subprocess.run([sys.executable, "-c", "import evil"], cwd=tmp_path, check=True)
    assert (tmp_path / "sentinel").exists()


def test_the_counts_are_6000() -> None:
    assert sum(subject.count for subject in SUBJECTS.values()) == 6000


@pytest.mark.parametrize("kind", SUBJECTS)
def test_what_is_damaged_is_refused_or_harmless(
    kind: str,
    tmp_path: Path,
    seed: int,
    share: Callable[[int], int],
    count: Callable[[str], None],
    programs: Path,
) -> None:
    found = list(outcomes(kind, tmp_path / "w", seed, share(SUBJECTS[kind].count)))
    results = collections.Counter(outcome["result"] for outcome in found)
    faults = [outcome for outcome in found if outcome["result"] == "fault"]
    count(
        f"{kind}: {len(found)} damaged, {results['refused']} refused, "
        f"{results['accepted']} accepted rightly, {len(faults)} faults"
    )
    shown = "\n".join(
        f"{outcome['index']}: {outcome.get('what')}: {outcome['text']}" for outcome in faults[:20]
    )
    assert not faults, f"{len(faults)} faults; inputs in {tmp_path / 'w' / 'faults'}\n{shown}"
