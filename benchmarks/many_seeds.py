"""Eight seeds of each model: whole commands, beside the best that a PyTorch user can do.

    python -m benchmarks.many_seeds [MODEL ...] [--seeds 8]    about 40 minutes on two CPU cores

Ours is `msae train --seeds 8` and `msae report`, from the start of the first process to the end of
the second, checkpoints and report included. Cold: no compiled programs (an empty XDG_CACHE_HOME).
Warm: the same commands again. PyTorch's is `torch_seeds.py`: a process a core with one thread and
its share of the seeds, all started together, to the end of the last. All run in turn. Each model
has its recipe's data, batch size, likelihood and rate of Adam, and as many epochs as take a minute
or two. Samples are prepared before anything is timed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.commands import HERE, Timed, msae, table, write
from msae_jax import bench, config, data, models, train
from msae_jax.config import TrainConfig
from msae_jax.recipes import published, recipe

EPOCHS = {"conv": 1, "superres": 1, "conv-vae": 1, "lgta": 1, "stacked": 3, "mnist": 3, "sines": 20}
"""Of a model, else of a data set."""


def settings_of(name: str) -> TrainConfig:
    """Returns what both sides train."""
    own = recipe(name)
    kind = "sines" if own.data == "sines" else "mnist"
    return replace(bench.comparable(own), epochs=EPOCHS.get(name, EPOCHS[kind]))


def job_of(name: str, folder: Path) -> dict[str, Any]:
    """Writes what both sides read, and returns the job of PyTorch's processes."""
    from msae_jax.bench import torch_loops

    settings = settings_of(name)
    dataset = data.load(settings.data)
    parts = {}
    for part, split in (("train", dataset.train), ("test", dataset.test)):
        parts[part] = str(folder / f"{settings.data}-{part}.npy")
        np.save(parts[part], np.asarray(split.x))
    task = train.make_task(settings, dataset)
    model: Any = task.model
    module = folder / f"{name}.pt"
    torch.save(torch_loops.build(settings, task), module)
    (folder / f"{name}.json").write_text(json.dumps(config.to_dict(settings)))
    return parts | {
        "module": str(module),
        "channels": len(model.sample_shape) > 1,
        "epochs": settings.epochs,
        "batch_size": settings.batch_size,
        "learning_rate": settings.optimizer.learning_rate,
        "likelihood": task.objective.likelihood,
        "reduction": task.objective.reduction,
        "beta": task.objective.beta,
    }


def ours(timed: Timed, name: str, settings: Path, seeds: int, out: Path, cache: Path) -> None:
    """Times our two commands as one."""
    command = ["train", "--config", str(settings), "--seeds", str(seeds), "--out", str(out)]
    timed.run(msae(*command), cache)
    timed.run(msae("report", str(out), "--out", f"{out}.html"), cache)
    for taken in (timed.seconds, timed.cpu):
        taken[-2:] = [sum(taken[-2:])]
    rows = json.loads((out / "table.json").read_text())
    timed.errors = {name: float(np.mean([row["test_mse"] for row in rows]))}


def theirs(timed: Timed, name: str, job: dict[str, Any], seeds: int, out: Path) -> None:
    """Times PyTorch's processes together."""
    out.mkdir()
    path = out / "job.json"
    path.write_text(json.dumps(job | {"out": str(out)}))
    cores = len(os.sched_getaffinity(0))
    shares = [[str(s) for s in range(first, seeds, cores)] for first in range(min(cores, seeds))]
    command = [sys.executable, str(HERE / "torch_seeds.py"), str(path)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    before, start = os.times(), time.perf_counter()
    running = [subprocess.Popen([*command, *share], env=environment) for share in shares]
    failed = [process.wait() for process in running]
    timed.seconds.append(time.perf_counter() - start)
    after = os.times()
    used = after.children_user + after.children_system
    timed.cpu.append(used - before.children_user - before.children_system)
    if any(failed):
        sys.exit(f"{' '.join(command)} ended with {failed}")
    errors = [json.loads((out / f"{seed}.json").read_text())[-1] for seed in range(seeds)]
    timed.errors = {name: float(np.mean(errors))}


def compared(name: str, folder: Path, repeats: int, seeds: int) -> dict[str, Timed]:
    """Times one model."""
    job = job_of(name, folder)
    found = {side: Timed() for side in ("ours, cold", "ours, warm", "PyTorch, tuned")}
    for i in range(repeats):
        cache = folder / f"{name}-cache-{i}"
        for side, timed in found.items():
            out = folder / f"{name}-{side}-{i}"
            if side.startswith("PyTorch"):
                theirs(timed, name, job, seeds, out)
            else:
                ours(timed, name, folder / f"{name}.json", seeds, out, cache)
            print(f"  {name}, {side}: {timed.seconds[-1]:.2f} s", file=sys.stderr, flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("models", nargs="*")
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--out", type=Path, default=HERE / "results/many_seeds.json")
    args = parser.parse_args()
    names = args.models or [n for n in published() if models.record(n).fit is None]
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            found = compared(name, Path(folder), args.repeats, args.seeds)
            print(f"\n{name}, {args.seeds} seeds\n\n{table(found)}", flush=True)
            write(args.out, {name: found}, args.seeds)


if __name__ == "__main__":
    main()
