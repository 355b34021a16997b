"""Whole commands, from the start of the process to its end, beside PyTorch scripts doing the same.

    python -m benchmarks.commands            about ten minutes on two CPU cores
    python -m benchmarks.commands --quick    one repeat, two seeds: about two minutes

`msae reproduce sines` against `torch_sines.py`, an epoch of `msae train` on MNIST against
`torch_mnist.py`, each both as the usual DataLoader loop and tuned; `msae --help`; and how long a
training command takes to its first step. Commands run in turn, and again. Needs the `torch` extra,
and MNIST in `MSAE_DATA_DIR`, which is prepared before anything is timed.

Cold: no compiled programs (an empty XDG_CACHE_HOME) and no run directory. Warm: the same command
again, with the programs that the cold one kept, into a new run directory. The system's own cache of
files is warm in both. PyTorch has nothing to keep here.

The first step is timed inside the process, from its start: of 64 samples, an epoch is one step; of
MNIST an epoch is one program, whose first step begins when it is called.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
HELP, FIRST_STEP = 0.5, 2.5  # seconds, what is aimed at

# What `msae` does, with the time noted around its first epoch; imports are the same, and earlier.
FIRST = """
import sys, time
from msae_jax.system import compilation_cache
from msae_jax.cli import main
compilation_cache.enable()
import jax
from msae_jax.train import seeds
compiled = seeds.train_epoch
def noted(*args, **kwargs):
    begun = time.time()
    found = jax.block_until_ready(compiled(*args, **kwargs))
    print("NOTED", begun, time.time(), flush=True)
    return found
seeds.train_epoch = noted
sys.exit(main())
"""


@dataclass
class Timed:
    """A command's runs: seconds from start to end, and seconds of processor time.

    Attributes:
      begun, stepped: seconds to the beginning and the end of the first epoch, where noted.
      errors: what the last run trained to, by model.
    """

    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    begun: list[float] = field(default_factory=list)
    stepped: list[float] = field(default_factory=list)
    errors: dict[str, float] = field(default_factory=dict)

    def run(self, command: Sequence[str], cache: Path | None = None) -> str:
        """Runs a command once more; returns what it printed, or ends where it fails."""
        environment = (
            dict(os.environ) if cache is None else os.environ | {"XDG_CACHE_HOME": str(cache)}
        )
        before, start, clock = os.times(), time.perf_counter(), time.time()
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        self.seconds.append(time.perf_counter() - start)
        after = os.times()
        used = after.children_user + after.children_system
        self.cpu.append(used - before.children_user - before.children_system)
        if done.returncode:
            sys.exit(f"{' '.join(command)}\n{done.stdout}\n{done.stderr}")
        for line in done.stdout.splitlines():
            if line.startswith("NOTED"):
                begun, stepped = map(float, line.split()[1:])
                self.begun.append(begun - clock)
                self.stepped.append(stepped - clock)
        return done.stdout

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def msae(*arguments: str) -> list[str]:
    return [str(Path(sys.executable).with_name("msae")), *arguments]


def script(name: str, *arguments: str) -> list[str]:
    return [sys.executable, str(HERE / name), *arguments]


def sines(folder: Path, repeats: int, seeds: int) -> dict[str, Timed]:
    """Times the study `sines`."""
    found = {name: Timed() for name in ("ours, cold", "ours, warm", "PyTorch", "PyTorch, tuned")}
    for i in range(repeats):
        cache = folder / f"cache-{i}"
        for name in found:
            out = folder / f"sines-{name}-{i}"
            out.mkdir()
            if name.startswith("ours"):
                where = ["--out", str(out / "figures"), "--runs", str(out / "runs")]
                found[name].run(msae("reproduce", "sines", "--seeds", str(seeds), *where), cache)
                claims = json.loads((out / "figures/results.json").read_text())["claims"]
                ids = {"msae": "msae", "baseline": "baseline", "control": "matched parameters"}
                means = {claim["id"]: claim["mean"] for claim in claims}
                errors = {model: means[f"{id}-test-mse"] for id, model in ids.items()}
            else:
                tuned = ["--tuned"] * name.endswith("tuned")
                arguments = ["--seeds", str(seeds), "--out", str(out / "errors.json")]
                found[name].run(script("torch_sines.py", *arguments, *tuned))
                by_seed = json.loads((out / "errors.json").read_text())
                errors = {model: float(np.mean(values)) for model, values in by_seed.items()}
            found[name].errors = errors
            print(f"  sines, {name}: {found[name].seconds[-1]:.2f} s", flush=True)
    return found


def mnist(folder: Path, repeats: int) -> dict[str, Timed]:
    """Times an epoch of the multi-scale MLP on MNIST."""
    found = {name: Timed() for name in ("ours, cold", "ours, warm", "PyTorch", "PyTorch, tuned")}
    for i in range(repeats):
        cache = folder / f"mnist-cache-{i}"
        for name in found:
            out = folder / f"mnist-{name}-{i}"
            if name.startswith("ours"):
                found[name].run(msae(*TRAIN_MNIST, "--out", str(out)), cache)
                line = (out / "metrics.jsonl").read_text().splitlines()[-1]
                found[name].errors = {"msae-mlp": json.loads(line)["test_mse"]}
            else:
                tuned = ["--tuned"] * name.endswith("tuned")
                said = found[name].run(script("torch_mnist.py", "--out", f"{out}.pth", *tuned))
                found[name].errors = {"msae-mlp": float(said.split()[-1])}
            print(f"  mnist, {name}: {found[name].seconds[-1]:.2f} s", flush=True)
    return found


TRAIN_MNIST = ("train", "--model", "msae-mlp", "--data", "mnist", "--epochs", "1")


def first_steps(folder: Path, repeats: int) -> dict[str, Timed]:
    """Times a training command to its first step: the first run of it, and the second."""
    samples = folder / "samples.npy"
    np.save(samples, np.random.default_rng(0).standard_normal((64, 128)).astype(np.float32))
    commands = {
        "64 samples": ("train", "--model", "baseline", "--data", str(samples), "--epochs", "1"),
        "MNIST": TRAIN_MNIST,
    }
    found: dict[str, Timed] = {}
    for i, (data, command) in itertools.product(range(repeats), commands.items()):
        for which in ("first run", "second run"):
            timed = found.setdefault(f"{data}, {which}", Timed())
            out = str(folder / f"{data}-{which}-{i}")
            cache = folder / f"{data}-cache-{i}"
            timed.run([sys.executable, "-c", FIRST, *command, "--out", out], cache)
    return found


def table(found: dict[str, Timed]) -> str:
    """Returns a Markdown table: seconds of wall clock and of processors, how many times as long
    PyTorch takes, and what was trained to."""
    rows = [
        "| | s (lowest to highest) | processor s | PyTorch takes | tuned | test MSE |",
        "|---|---|---|---|---|---|",
    ]
    for name, timed in found.items():
        spread = f"{timed.median:.2f} ({min(timed.seconds):.2f} to {max(timed.seconds):.2f})"
        ratios = [
            f"{found[side].median / timed.median:.2f} times"
            if name.startswith("ours") and side in found
            else ""
            for side in ("PyTorch", "PyTorch, tuned")
        ]
        errors = ", ".join(f"{error:.5f}" for error in timed.errors.values())
        cpu = f"{statistics.median(timed.cpu):.1f}"
        rows.append("| " + " | ".join([name, spread, cpu, *ratios, errors]) + " |")
    return "\n".join(rows)


def aim(what: str, seconds: float, at_most: float) -> str:
    """Says whether an aim is met."""
    return f"{what}: {seconds:.2f} s, {'under' if seconds < at_most else 'NOT under'} {at_most} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parts = ("help", "first", "mnist", "sines")
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--quick", action="store_true", help="one repeat, two seeds")
    parser.add_argument("--out", type=Path, default=HERE / "results/commands.json")
    args = parser.parse_args()
    repeats, seeds = (1, 2) if args.quick else (args.repeats, args.seeds)
    found: dict[str, dict[str, Timed]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if set(args.parts) & {"first", "mnist"}:  # prepares MNIST, where nobody has
            Timed().run([sys.executable, "-c", "from msae_jax import data; data.load('mnist')"])
        if "help" in args.parts:
            found["help"] = {"msae --help": Timed()}
            for _ in range(5):
                found["help"]["msae --help"].run(msae("--help"))
            print(aim("msae --help", found["help"]["msae --help"].median, HELP), flush=True)
        if "first" in args.parts:
            found["first"] = first_steps(folder, repeats)
            for what, timed in found["first"].items():
                begun, stepped = statistics.median(timed.begun), statistics.median(timed.stepped)
                print(f"{what}: first epoch begins after {begun:.2f} s, ends after {stepped:.2f} s")
            second = found["first"]["64 samples, second run"]
            print(aim("first step done, second run", statistics.median(second.stepped), FIRST_STEP))
            second = found["first"]["MNIST, second run"]
            print(aim("first step begun, MNIST", statistics.median(second.begun), FIRST_STEP))
        if "mnist" in args.parts:
            found["mnist"] = mnist(folder, repeats)
            print(f"\nmsae {' '.join(TRAIN_MNIST)}\n\n{table(found['mnist'])}\n", flush=True)
        if "sines" in args.parts:
            found["sines"] = sines(folder, repeats, seeds)
            print(f"\nmsae reproduce sines --seeds {seeds}\n\n{table(found['sines'])}\n")
    write(args.out, found, seeds)


def write(out: Path, found: dict[str, dict[str, Timed]], seeds: int) -> None:
    """Writes what was measured; parts of an earlier file that were not measured again stay."""
    import torch

    from msae_jax.system import environment
    from msae_jax.system.files import replacing

    kept = json.loads(out.read_text()) if out.exists() else {}
    described: dict[str, Any] = environment.describe_machine() | {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
    for part, timed in found.items():
        runs = {name: vars(t) for name, t in timed.items()}
        kept[part] = {"runs": runs, "environment": described}
        kept[part] |= {} if part in ("help", "first", "mnist") else {"seeds": seeds}
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out, overwrite=True) as temporary:
        temporary.write_text(json.dumps(kept, indent=1) + "\n")
    print(out)


if __name__ == "__main__":
    main()
