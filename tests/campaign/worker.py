"""Reads damaged inputs of one kind, one after another, under limits of memory and time.

`python -m tests.campaign.worker KIND FOLDER SEED BEGIN END` writes a line of JSON for each; what
started it holds a clock beside it, and starts another where this one dies.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import sys
import traceback
from pathlib import Path
from typing import IO, Any

from msae_jax.system import compilation_cache

GIB = 2**30
LIMIT = 2 * GIB
"""Bytes of addresses beyond those in use after the original was read; 1 GiB is a fault already."""


def main(kind: str, folder: Path, seed: int, begin: int, end: int) -> None:
    lines = _own_output(folder)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    compilation_cache.enable()

    import numpy as np

    from tests.campaign.subjects import SUBJECTS

    subject = SUBJECTS[kind]
    for name, number in (("original", 0), ("twin", 1)):
        if not (folder / name).exists():
            (folder / name).mkdir(parents=True)
            subject.make(folder / name, number)
    original = subject.read(_copied(folder))
    again = subject.judge(original, subject.read(_copied(folder)), folder / "input")
    assert again is None, again
    resource.setrlimit(resource.RLIMIT_AS, (_addresses("VmSize") + LIMIT,) * 2)
    print(json.dumps({"ready": True}), file=lines, flush=True)
    for index in range(begin, end):
        rng = np.random.default_rng([seed, index])
        what = subject.spoil(_copied(folder), folder / "twin", rng)
        damaged = folder / "damaged"
        shutil.rmtree(damaged, ignore_errors=True)
        shutil.copytree(folder / "input", damaged)
        result, text = _read(subject, folder, original)
        if result == "fault":
            shutil.copytree(damaged, folder / "faults" / str(index))
        print(
            json.dumps({"index": index, "what": what, "result": result, "text": text}),
            file=lines,
            flush=True,
        )


def _own_output(folder: Path) -> IO[str]:
    """Returns a file of the standard output; whatever else is printed goes to a file of its own."""
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8")
    folder.mkdir(parents=True, exist_ok=True)
    printed = os.open(folder / "printed.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(printed, 1)
    os.dup2(printed, 2)
    return lines


def _copied(folder: Path) -> Path:
    """Puts the original where it is read, and returns the place."""
    target = folder / "input"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(folder / "original", target)
    return target


def _read(subject: Any, folder: Path, original: Any) -> tuple[str, str]:
    from msae_jax.errors import InputError

    size, peak = _addresses("VmSize"), _addresses("VmPeak")
    try:
        got = subject.read(folder / "input")
        wrong = subject.judge(original, got, folder / "input")
        result, text = ("accepted", "") if wrong is None else ("fault", f"accepted: {wrong}")
    except InputError as error:
        result, text = "refused", str(error)[:300]
        if _lacks_memory(error):
            result, text = "fault", f"refused only because memory ran out: {text}"
        elif not text.isprintable():
            result, text = "fault", f"an error of several lines or terminal escapes: {text!r}"
    except BaseException:
        result, text = "fault", traceback.format_exc()[-3000:]
    grown = _addresses("VmPeak") - size
    if _addresses("VmPeak") > peak and grown > GIB:
        result, text = "fault", f"{grown / GIB:.1f} GiB more; {result}: {text}"
    sentinel = folder / "sentinel"
    if sentinel.exists():
        sentinel.unlink()
        result, text = "fault", f"CODE RAN; {result}: {text}"
    return result, text


def _lacks_memory(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, MemoryError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _addresses(field: str) -> int:
    """Returns bytes of addresses in use (VmSize), or at most so far (VmPeak)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{field}:"))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:]))
