"""Two processes that train together, of which one is killed: the other ends, with one line.

Process 0 holds JAX's coordinator. Where it is killed, JAX itself ends the other, with a message of
its own and status -6 (docs/how-to/devices-and-machines.md).
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.campaign import processes as p

pytestmark = pytest.mark.slow

KILLS = 20
PATIENCE = 20.0


def together(out: Path, data: Path, port: int, index: int, epochs: int) -> list[object]:
    tiny = ["train", *p.TINY, "--data", data, "--epochs", epochs, "--seeds", 2, "--out", out]
    joined = ["--coordinator", f"localhost:{port}", "--num-processes", 2, "--process-id", index]
    return [*tiny, "--host-devices", 1, "--resume", *joined]


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("localhost", 0))
        return int(taken.getsockname()[1])


def test_a_survivor_ends_in_time(
    tmp_path: Path,
    seed: int,
    share: Callable[[int], int],
    count: Callable[[str], None],
    programs: Path,
) -> None:
    data = p.samples(tmp_path)
    rng = np.random.default_rng([seed, 6])
    lines, aborted, slowest, faults = 0, 0, 0.0, []
    for i in range(share(KILLS)):
        port, out = free_port(), tmp_path / f"run{i}"
        pair = [p.start(*together(out, data, port, k, 100_000)) for k in range(2)]
        end = time.monotonic() + p.SECONDS
        while not (out / "metrics.jsonl").exists() and time.monotonic() < end:
            time.sleep(0.05)
        time.sleep(rng.uniform(0, 2))
        victim = i % 2
        p.kill(pair[victim])
        pair[victim].communicate()
        begin = time.monotonic()
        try:
            status, _, errors = p.finish(pair[1 - victim], 3 * PATIENCE)
        except AssertionError as error:
            faults.append(f"kill {i} of process {victim}: {error}")
            continue
        seconds = time.monotonic() - begin
        slowest = max(slowest, seconds)
        one_line = status == 1 and p.is_one_line(errors)
        lines += one_line
        aborted += victim == 0 and not one_line and status in (-6, 1)
        if seconds > PATIENCE or not (one_line or (victim == 0 and status in (-6, 1))):
            faults.append(
                f"kill {i} of process {victim}: {seconds:.0f} s, status {status}: {errors[-1500:]}"
            )
    count(
        f"two processes: {share(KILLS)} kills of either, survivors ended after at most "
        f"{slowest:.1f} s, {lines} with one line, {aborted} by JAX's own abort after process 0 was "
        f"killed, {len(faults)} faults"
    )
    assert not faults, "\n".join(faults)


def test_a_taken_port_is_one_line(
    tmp_path: Path, share: Callable[[int], int], count: Callable[[str], None]
) -> None:
    data, faults = p.samples(tmp_path), []
    for i in range(share(8)):
        with socket.socket() as taken:
            taken.bind(("localhost", 0))
            taken.listen()
            port = int(taken.getsockname()[1])
            ended = p.run(*together(tmp_path / f"run{i}", data, port, 0, 1))
        if ended[0] != 2 or not p.is_one_line(ended[2]):
            faults.append(str(ended)[:1500])
    count(f"taken ports: {share(8)} tries, {len(faults)} without one line")
    assert not faults, "\n".join(faults)
