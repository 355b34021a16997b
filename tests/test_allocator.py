from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

TUNING = ("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD")
ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith(TUNING)}
BLOCKS = """
import resource
import numpy as np
from msae_jax import allocator

def resident():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()

np.ones(3 << 20)  # 24 MiB: once freed, glibc keeps smaller blocks
before = resident()
blocks = [np.ones(1 << 19) for _ in range(32)]  # 4 MiB each
del blocks[::2]
kept = resident() - before
allocator.give_back()
print(kept / 2**20, (resident() - before) / 2**20)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc alone")
def test_freed_blocks_between_others_go_back() -> None:
    run = [sys.executable, "-c", BLOCKS]
    done = subprocess.run(run, capture_output=True, text=True, check=True, env=ENVIRONMENT)
    kept, left = map(float, done.stdout.split())
    assert kept == pytest.approx(128, abs=4)  # else there is nothing to do
    assert left == pytest.approx(64, abs=4)
