"""How the time of an epoch grows with the work, one axis at a time; and where it is not linear.

    python -m benchmarks.scale            about four minutes on two CPU cores
    python -m benchmarks.scale --quick    a look in about a minute: short axes, two repeats

Axes: samples, batch size (of a fixed number of steps), latent size, seeds on one device, and host
devices that share sixteen seeds, each number of them in a process of its own. Writes
benchmarks/results/scale.json and benchmarks/results/scale.png and .svg.

The median of the repeats is taken, after an epoch that is not counted. Beside the slope in log-log
stands the fit  t = fixed + unit * size  in relative least squares: fixed / unit is the size at
which half of the time is work that does not grow.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.growth import growth
from benchmarks.scale_axes import AXES, SHARED, STEPS, sentence
from benchmarks.scale_figure import draw

MODELS = ("baseline", "msae-mlp")


def prepare(model: str, axis: str, size: int) -> tuple[Callable[[], float], dict[str, int]]:
    """Returns what trains an epoch and gives its seconds; its operations, steps, parameters."""
    import jax

    from msae_jax import train
    from msae_jax.bench import operations
    from msae_jax.recipes import recipe

    settings = recipe(model)
    if axis == "batch":
        settings = replace(settings, batch_size=size)
    if axis == "latent":
        grown = replace(settings.model, options={"latent_dim": size})
        settings = replace(settings, model=grown)
    samples = size if axis == "samples" else STEPS * settings.batch_size
    dataset = samples_of(settings.data, samples)
    task = train.make_task(settings, dataset)
    state = train.init_state(task, 0, dataset.sample_shape)
    counts = {
        "operations": operations(task.model).training * samples,
        "steps": -(-samples // settings.batch_size),
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(state.params)),
    }
    if axis in ("seeds", "devices"):
        seeds = size if axis == "seeds" else SHARED
        counts |= {name: counts[name] * seeds for name in ("operations", "steps")}
        return round_of_seeds(task, settings, dataset, seeds), counts
    x = jax.device_put(dataset.train.x)

    def once() -> float:
        nonlocal state
        start = time.perf_counter()
        state, _ = train.train_epoch(task, state, x, batch_size=settings.batch_size)
        jax.block_until_ready(state)
        return time.perf_counter() - start

    return once, counts


def measure(model: str, axis: str, sizes: Sequence[int], repeats: int) -> list[dict[str, Any]]:
    """Times epochs of every size in turn, so that other work on the machine slows all alike."""
    prepared = [prepare(model, axis, size) for size in sizes]
    points: list[dict[str, Any]] = [
        {"size": size, **counts, "seconds": [], "cores": []}
        for size, (_, counts) in zip(sizes, prepared, strict=True)
    ]
    for once, _ in prepared:
        once()  # compiles
    for _ in range(repeats):
        for point, (once, _) in zip(points, prepared, strict=True):
            wall, processor = time.perf_counter(), time.process_time()
            point["seconds"].append(once())
            wall, processor = time.perf_counter() - wall, time.process_time() - processor
            point["cores"].append(processor / wall)
    return points


@functools.cache
def loaded(name: str) -> Any:
    from msae_jax import data

    return data.load(name)


def samples_of(name: str, count: int) -> Any:
    """Returns a data set of so many training samples: its own, over and over where it has less."""
    from msae_jax import data

    dataset = loaded(name)
    x = np.asarray(dataset.train.x)
    chosen = data.Split(x[np.arange(count) % len(x)])
    return data.Dataset(name, chosen, data.Split(np.asarray(dataset.test.x)[:64]))


def round_of_seeds(task: Any, settings: Any, dataset: Any, seeds: int) -> Callable[[], float]:
    """Returns what trains all seeds for an epoch and gives the seconds of that, tests left out."""
    from msae_jax.fitting.loop import as_members
    from msae_jax.fitting.placement import Trainer

    members = as_members(settings, seeds)
    trainer = Trainer(task, settings, members, dataset)

    def once() -> float:
        outcomes = trainer.epoch([True] * seeds)
        assert outcomes[0] is not None
        return outcomes[0].seconds * seeds

    return once


def on_devices(model: str, sizes: Sequence[int], repeats: int) -> list[dict[str, Any]]:
    """`measure` where the CPU appears as so many devices: each in a process of its own, twice."""
    points: dict[int, dict[str, Any]] = {}
    command = [sys.executable, "-m", "benchmarks.scale", "--here", model]
    command += ["--repeats", str(-(-repeats // 2))]
    for devices in [*sizes, *sizes]:
        count = f"--xla_force_host_platform_device_count={devices}"
        flags = {"XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {count}".strip()}
        done = subprocess.run(
            command, check=True, stdout=subprocess.PIPE, text=True, env=os.environ | flags
        )
        [point] = json.loads(done.stdout.splitlines()[-1])
        known = points.setdefault(devices, point | {"size": devices, "seconds": [], "cores": []})
        known["seconds"] += point["seconds"]
        known["cores"] += point["cores"]
    return list(points.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    names = [axis.name for axis in AXES]
    parser.add_argument("--axes", nargs="+", choices=names, default=names)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--repeats", type=int, help="epochs that are timed, of each size [5]")
    parser.add_argument("--quick", action="store_true", help="short axes, two repeats")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/scale.json"))
    parser.add_argument("--figure", type=Path, default=Path("benchmarks/results/scale"))
    parser.add_argument("--here", metavar="MODEL", help=argparse.SUPPRESS)
    args = parser.parse_args()
    repeats = args.repeats or (2 if args.quick else 5)
    if args.here:
        import jax

        print(json.dumps(measure(args.here, "devices", [jax.device_count()], repeats)))
        return

    from msae_jax import figures
    from msae_jax.system import compilation_cache, environment
    from msae_jax.system.files import replacing

    compilation_cache.enable()
    results: list[dict[str, Any]] = []
    for axis in (axis for axis in AXES if axis.name in args.axes):
        for model in args.models:
            sizes = axis.quick if args.quick else axis.sizes
            if axis.name == "devices":
                points = on_devices(model, sizes, repeats)
            else:
                points = measure(model, axis.name, sizes, repeats)
            for point in points:
                seconds = statistics.median(point["seconds"])
                print(f"  {model}: {point['size']:,} {axis.label}: {seconds:.4g} s", flush=True)
            seconds_of = [statistics.median(point["seconds"]) for point in points]
            found = growth(sizes, seconds_of, axis.ideal)
            said = sentence(axis, model, found, points)
            print(said, flush=True)
            results.append(
                {"axis": axis.name, "model": model, "points": points, "says": said}
                | {**found._asdict(), "half": found.half if np.isfinite(found.half) else None}
            )
    content = {
        "axes": [asdict(axis) for axis in AXES],
        "results": results,
        "environment": environment.describe_machine(),
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(args.out, overwrite=True) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n")
    figures.save(draw(results, AXES, MODELS), args.figure)
    print(f"\n{args.out}\n{args.figure}.png")


if __name__ == "__main__":
    main()
