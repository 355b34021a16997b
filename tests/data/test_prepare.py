"""Preparations that are killed half-way, and that two processes start at once."""

from __future__ import annotations

import gzip
import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

LOAD = """
import hashlib, sys
from msae_jax import data
x = data.load("mnist").train.x
print(hashlib.sha256(x.tobytes()).hexdigest())
"""


def start_loading(folder: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", LOAD],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "MSAE_DATA_DIR": str(folder)},
    )


@pytest.mark.slow
def test_a_killed_preparation_breaks_neither_of_two_that_follow_at_once(
    official: Path, unpacked: Path, fresh: Path
) -> None:
    killed = start_loading(unpacked)
    half_written = []
    deadline = time.monotonic() + 30
    while not half_written and time.monotonic() < deadline and killed.poll() is None:
        half_written = list(fresh.glob("msae_mnist/incomplete.*/*array_record*"))
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert half_written, "the preparation was to be caught half-way"
    assert half_written[0].parent.exists()
    assert not (fresh / "msae_mnist" / "1.0.0").exists()

    packed = official / "mnist" / "train-images-idx3-ubyte.gz"
    racing = [start_loading(unpacked) for _ in range(2)]
    expected = hashlib.sha256(gzip.decompress(packed.read_bytes())[16:])
    for process in racing:
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        assert out.strip() == expected.hexdigest()
    assert [path.name for path in (fresh / "msae_mnist").iterdir()] == ["1.0.0"]
