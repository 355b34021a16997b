"""Two real processes on this machine give what one gives."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
import pytest

from msae_jax.errors import InputError
from msae_jax.runs import checkpoint, directory
from msae_jax.system import distributed
from tests.cli.in_process import msae

MODEL = ["--model", "baseline", "--set", "hidden=[16]", "--epochs", "2", "--optimizer", "sgd"]
MODEL += ["--batch-size", "100"]


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("localhost", 0))
        return s.getsockname()[1]


def train(out: Path, *args: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "msae_jax", "train", *MODEL, "--out", str(out), *args]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def start_two(
    out: Path, *args: str, own: Sequence[Sequence[str]] = ((), ())
) -> list[subprocess.Popen]:
    """Starts both processes, each with arguments of its own too."""
    port = free_port()
    return [
        train(
            out,
            *("--coordinator", f"localhost:{port}"),
            *("--num-processes", "2", "--process-id", str(i)),
            *args,
            *own[i],
        )
        for i in range(2)
    ]


def together(out: Path, *args: str) -> None:
    for process in start_two(out, *args):
        output = process.communicate(timeout=180)
        assert process.returncode == 0, output


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seeds that this process has trained."""
    out = tmp_path_factory.mktemp("distributed") / "one"
    assert msae("train", *MODEL, "--seeds", 3, "--out", out) == 0
    return out


@pytest.mark.slow
@pytest.mark.parametrize("data_devices", ["1", "2"])
def test_two_processes_give_the_result_of_one(one: Path, tmp_path: Path, data_devices: str) -> None:
    """Seeds spread over both: the same bits. A batch split between them: 1e-6 relative."""
    how = ["--host-devices", "1", "--data-devices", data_devices]
    together(tmp_path / "two", "--seeds", "2", *how)
    together(tmp_path / "two", "--seeds", "3", "--resume", *how)  # and goes on, adding a seed
    alone, two = (checkpoint.load_all(run) for run in (one, tmp_path / "two"))
    assert [m["seed"] for m in two.members] == [0, 1, 2]
    for a, b in zip(jax.tree.leaves(alone.variables), jax.tree.leaves(two.variables), strict=True):
        if data_devices == "1":
            np.testing.assert_array_equal(a, b)
        else:
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)
    for a, b in zip(alone.histories, two.histories, strict=True):
        assert a[-1]["test_mse"] == pytest.approx(b[-1]["test_mse"], rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("failing", [0, 1])
def test_an_error_of_one_process_ends_all(tmp_path: Path, failing: int) -> None:
    """JAX would wait at exit for those that are gone, 80 seconds and more, and abort."""
    own = ([], [])
    own[failing].extend(["--batch-size", "0"])
    processes = start_two(tmp_path / "run", "--seeds", "2", "--host-devices", "1", own=own)
    start = time.monotonic()
    output = [process.communicate(timeout=180)[1] for process in processes]
    assert time.monotonic() - start < 60
    assert processes[failing].returncode == 2, output
    assert "msae: error: batch size must be" in output[failing].splitlines()[-1]
    # JAX aborts (-6) whoever waits for the first process, which is the coordinator too
    assert processes[1 - failing].returncode in ((1, -6) if failing == 0 else (1,)), output
    if failing == 1:
        assert output[0].splitlines()[-1].startswith("msae: error: ")
        assert "Traceback" not in output[0]
        assert "start all again with --resume" in output[0].splitlines()[-1]


@pytest.mark.slow
def test_an_error_of_all_processes_is_reported_by_each(tmp_path: Path) -> None:
    processes = start_two(tmp_path / "run", "--seeds", "2", "--batch-size", "0")
    output = [process.communicate(timeout=60)[1] for process in processes]
    for process, text in zip(processes, output, strict=True):
        assert process.returncode == 2, output
        assert text.splitlines()[-1].startswith("msae: error: batch size must be"), output


def test_processes_that_were_not_started_alike_are_refused(tmp_path: Path) -> None:
    """Each would train its seeds in its own way, or they would wait for one another for ever."""
    out = tmp_path / "run"
    processes = start_two(out, "--seeds", "2", own=([], ["--lr", "0.01", "--seeds", "3"]))
    output = [process.communicate(timeout=60)[1] for process in processes]
    for process, text in zip(processes, output, strict=True):
        assert process.returncode == 2, output
        line = text.splitlines()[-1]
        assert "optimizer.learning_rate is 0.001 and 0.01; seeds is '0 to 1' and '0 to 2'" in line
    assert not out.exists()


@pytest.mark.slow
def test_sigterm_ends_a_process_among_others(tmp_path: Path) -> None:
    processes = start_two(tmp_path / "run", "--seeds", "2", "--epochs", "100000")
    try:
        end = time.monotonic() + 120
        while not (tmp_path / "run" / "metrics.jsonl").exists():
            time.sleep(0.1)
            assert all(process.poll() is None for process in processes)
            assert time.monotonic() < end
        processes[1].terminate()
        for process in processes:
            process.communicate(timeout=60)
        assert [process.returncode for process in processes] == [1, -signal.SIGTERM]
    finally:
        for process in processes:
            process.kill()


@pytest.mark.slow
def test_processes_with_unequal_numbers_of_devices_are_refused(tmp_path: Path) -> None:
    processes = start_two(
        tmp_path / "run", "--seeds", "2", own=(["--host-devices", "1"], ["--host-devices", "2"])
    )
    output = [process.communicate(timeout=60)[1] for process in processes]
    for process, text in zip(processes, output, strict=True):
        assert process.returncode == 2, output
        assert "the processes have 1, 2 devices" in text.splitlines()[-1]


def test_a_directory_that_only_the_first_process_sees_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory, "PATIENCE", 0.2)
    with pytest.raises(InputError, match="must name one that all processes see"):
        directory.check_seen(tmp_path)


def test_an_absent_coordinator_is_an_error_in_time() -> None:
    start = time.monotonic()
    with pytest.raises(InputError, match="no coordinator answers at localhost:"):
        distributed.initialize(f"localhost:{free_port()}", 2, 1, timeout=1)
    assert time.monotonic() - start < 10


@pytest.mark.parametrize("host", ["127.0.0.1", "::", ""])
def test_a_taken_port_is_an_error_before_jax_looks_at_it(host: str) -> None:
    """JAX ends in a traceback or a segmentation fault."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as taken:
        taken.bind((host, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"cannot listen on port {port} .* another --coord"):
            distributed.initialize(f"localhost:{port}", 1, 0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("localhost", 2, 0), "HOST:PORT"),
        (("localhost:99999", 2, 0), "HOST:PORT"),
        (("localhost:1", 2, 2), "0 to 1"),
        (("localhost:1", None, 0), "needs --num-processes"),
        ((None, 2, 0), "need --coordinator"),
    ],
)
def test_bad_arguments_are_refused(arguments: tuple, words: str) -> None:
    with pytest.raises(InputError, match=words):
        distributed.initialize(*arguments)
