"""200 kills at random moments: what goes on after them is, to the bit, what was never killed."""

from __future__ import annotations

import gzip
import hashlib
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.campaign import processes as p

pytestmark = pytest.mark.slow

IN_A_ROW = 5  # kills of one run before it may end
KILLS = {
    "one seed": 60,
    "seeds": 50,
    "sweep": 30,
    "study": 20,
    "preparation": 10,
    "convert": 15,
    "embed": 15,
}

Found = dict[str, Any]


def training(out: Path, data: Path) -> dict[str, list[object]]:
    """Returns the commands that train something, each of which goes on where it was killed."""
    tiny = ["train", *p.TINY, "--data", data, "--out", out, "--resume"]
    sweep = ["--sweep", "latent_dim=2,3", "--sweep", "lr=0.001,0.01", "--seeds", 2]
    study = ["--quick", "--seeds", 1, "--runs", out / "runs", "--out", out / "figures"]
    return {
        "one seed": [*tiny, "--epochs", 12],
        "seeds": [*tiny, "--epochs", 8, "--seeds", 3],
        "sweep": [*tiny, "--epochs", 3, *sweep],
        "study": ["reproduce", "sines", *study],
    }


def found(out: Path) -> Found:
    """Returns what all run directories below a folder hold, and the tables and claims in it."""
    runs = sorted(path.parent for path in out.rglob("config.json"))
    held = {str(run.relative_to(out)): p.contents(run) for run in runs}
    tables = {str(path.relative_to(out)): path.read_text() for path in out.rglob("table.csv")}
    tables = {name: without_seconds(text) for name, text in tables.items()}
    claims = {
        str(path.relative_to(out)): json.loads(path.read_text())["claims"]
        for path in out.rglob("results.json")
    }
    assert held
    return held | tables | claims


def without_seconds(table: str) -> list[list[str]]:
    rows = [line.split(",") for line in table.splitlines()]
    return [
        [cell for name, cell in zip(rows[0], row, strict=True) if "seconds" not in name]
        for row in rows
    ]


def newest(out: Path) -> dict[str, int]:
    """Returns the number of the newest finished checkpoint of each run below a folder."""
    return {
        str(folder): max((int(n.name) for n in folder.iterdir() if n.name.isdigit()), default=-1)
        for folder in out.rglob("checkpoints")
    }


def timed(arguments: Sequence[object], begun: Callable[[], bool]) -> tuple[float, float]:
    """Runs a command to its end; returns the seconds until it had begun to write, and in all."""
    start = time.monotonic()
    process = p.start(*arguments)
    first = None
    while process.poll() is None and first is None:
        if begun():
            first = time.monotonic() - start
        time.sleep(0.005)
    status, _, errors = p.finish(process)
    assert status == 0, errors
    whole = time.monotonic() - start
    return first or 0.7 * whole, whole


def kill_after(arguments: Sequence[object], seconds: float) -> bool:
    """Kills a command after so many seconds; returns False where it had ended before."""
    process = p.start(*arguments)
    time.sleep(seconds)
    early = process.poll() is None
    p.kill(process)
    _, errors = process.communicate()
    assert early or process.returncode == 0, errors
    return early


@pytest.mark.parametrize("kind", ["one seed", "seeds", "sweep", "study"])
def test_a_killed_run_goes_on(
    kind: str,
    tmp_path: Path,
    seed: int,
    share: Callable[[int], int],
    count: Callable[[str], None],
    programs: Path,
) -> None:
    data = p.samples(tmp_path)
    whole = tmp_path / "whole"
    command = training(whole, data)[kind]
    p.run(*command)  # fills the cache of compiled programs, so that what follows is as long
    whole.rename(tmp_path / "first")
    begin, end = timed(command, lambda: any(whole.rglob("config.json")))
    expected = found(whole)
    rng = np.random.default_rng([seed, 1])
    wanted, kills, runs, faults = share(KILLS[kind]), 0, 0, []
    while kills < wanted:
        out = tmp_path / f"run{runs}"
        runs += 1
        before: dict[str, int] = {}
        for _ in range(min(IN_A_ROW, wanted - kills)):
            kills += kill_after(training(out, data)[kind], rng.uniform(0.8 * begin, end))
            after = newest(out)
            if any(after.get(name, -1) < number for name, number in before.items()):
                faults.append(f"run {runs}: a checkpoint was lost: {before}, {after}")
            before = after
        status, _, errors = p.run(*training(out, data)[kind])
        left = [*p.debris(out), *(str(path) for path in out.rglob("*orbax-checkpoint-tmp*"))]
        if status or errors.strip():
            faults.append(f"run {runs}: status {status}: {errors[-1500:]}")
        elif wrong := p.differing(expected, found(out)):
            faults.append(f"run {runs}: not as the one that was never killed: {wrong}")
        elif left:
            faults.append(f"run {runs}: left behind: {left}")
    count(f"kills of {kind}: {kills} in {runs} runs, {len(faults)} lost or different")
    assert not faults, "\n".join(faults)


LOAD = """
import hashlib
from msae_jax import data
print(hashlib.sha256(data.load("mnist").train.x.tobytes()).hexdigest())
"""


def test_a_killed_preparation_is_prepared_again(
    official: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    seed: int,
    share: Callable[[int], int],
    count: Callable[[str], None],
) -> None:
    import subprocess

    monkeypatch.setenv("MSAE_DATA_DIR", str(official))
    packed = official / "mnist" / "train-images-idx3-ubyte.gz"
    expected = hashlib.sha256(gzip.decompress(packed.read_bytes())[16:]).hexdigest()

    def load(folder: Path) -> subprocess.Popen[str]:
        monkeypatch.setenv("TFDS_DATA_DIR", str(folder))
        return subprocess.Popen(
            [sys.executable, "-c", LOAD],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    begin = time.monotonic()
    assert p.finish(load(tmp_path / "whole"))[1].strip() == expected
    whole = time.monotonic() - begin
    rng = np.random.default_rng([seed, 2])
    kills, wrong = 0, []
    for i in range(share(KILLS["preparation"])):
        process = load(tmp_path / f"tfds{i // IN_A_ROW}")
        time.sleep(rng.uniform(0.2 * whole, whole))
        kills += process.poll() is None
        p.kill(process)
        process.communicate()
        if i % IN_A_ROW == IN_A_ROW - 1 or i + 1 == share(KILLS["preparation"]):
            folder = tmp_path / f"tfds{i // IN_A_ROW}"
            status, out, errors = p.finish(load(folder))
            left = [path.name for path in (folder / "msae_mnist").iterdir()]
            if out.strip() != expected or left != ["1.0.0"]:
                wrong.append(f"{status}, {out}, {left}, {errors[-1000:]}")
    count(f"kills of preparation: {kills}, {len(wrong)} lost or different")
    assert not wrong, wrong


@pytest.mark.parametrize("kind", ["convert", "embed"])
def test_what_a_killed_command_writes_is_there_whole_or_not(
    kind: str,
    tmp_path: Path,
    seed: int,
    share: Callable[[int], int],
    count: Callable[[str], None],
    programs: Path,
) -> None:
    data, run = p.samples(tmp_path), tmp_path / "run"
    assert p.run("train", *p.TINY, "--data", data, "--epochs", 1, "--out", run)[0] == 0
    targets = [tmp_path / name for name in ("a.pth", "a.safetensors", "converted")]
    commands = {target: ["convert", run, target] for target in targets}
    if kind == "embed":
        target = tmp_path / "z.npy"
        commands = {target: ["embed", run, "--input", data, "--out", target]}
    rng = np.random.default_rng([seed, 3])
    kills, there, wrong = 0, 0, []
    for target, command in commands.items():
        begin, whole = timed(command, target.exists)
        expected = bytes_of(target)
        for _ in range(max(1, share(KILLS[kind]) // len(commands))):
            remove(target)
            kills += kill_after(command, rng.uniform(0.6 * begin, whole))
            there += target.exists()
            if target.exists() and bytes_of(target) != expected:
                wrong.append(f"{target.name} is there in part")
        remove(target)
        status, _, errors = p.run(*command)
        if status or bytes_of(target) != expected or p.debris(tmp_path):
            wrong.append(f"{target.name} again: {status}, {errors}, {p.debris(tmp_path)}")
    count(f"kills of {kind}: {kills}, {there} had written it, {len(wrong)} in part or different")
    assert not wrong, wrong


def bytes_of(target: Path) -> dict[str, Any] | bytes:
    if target.is_file():
        return target.read_bytes()
    from msae_jax.weights import load_weights

    loaded = load_weights(target)
    import jax

    leaves = jax.tree_util.tree_leaves_with_path(loaded.variables)
    return {jax.tree_util.keystr(path): leaf.tobytes() for path, leaf in leaves}


def remove(target: Path) -> None:
    import shutil

    if target.is_dir():
        shutil.rmtree(target)
    target.unlink(missing_ok=True)
