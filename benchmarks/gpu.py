"""Speed on a GPU: beside PyTorch and CUDA graphs, many seeds at once, and how many fit.

    python -m benchmarks.gpu            about ten minutes
    python -m benchmarks.gpu --quick    tiny sizes, also without a GPU

Needs neither the package installed nor TensorFlow Datasets nor files: in place of MNIST it trains
on random images of MNIST's shape. Parts, each in processes of its own, since JAX and PyTorch each
keep what memory they took:

  table   epochs beside PyTorch's loops: plain, tuned, compiled, and as CUDA graphs; each with
          products in float32, and in bfloat16 beside PyTorch's autocast
  seeds   1, 2, 4, ... seeds as one batch: time a seed, and share of the measured peak
  most    seeds at once, doubled until memory is exhausted

Checks that 64 seeds of `msae` and of `msae-mlp` take at most 4 times the time of one. Writes
benchmarks/results/gpu_DEVICE.json; parts of it that are not run again stay.
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
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

MODELS = ("msae", "msae-mlp")
SEEDS, AT_MOST = 64, 4.0  # so many seeds take at most so many times the time of one
IMAGES = ("mnist", "fashion_mnist")


@dataclass(frozen=True)
class Sizes:
    """How much is measured: steps of an epoch, timed epochs, seeds, and where `most` stops."""

    steps: int = 200
    repeats: int = 5
    seeds: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
    first: int = 512
    most: int = 2**17
    table: tuple[str, ...] = (
        *("msae", "baseline", "msae-mlp", "baseline-mlp", "superres", "conv", "stacked"),
        *("vae3", "vae5", "ae5"),
    )
    compiled: bool = True


QUICK = Sizes(4, 2, (1, 2, 4), 2, 4, ("baseline", "conv", "vae3"), compiled=False)


def settings_of(model: str, images: str) -> Any:
    """Returns the recipe of a model; on random images, the file `images`, where it wants MNIST."""
    from msae_jax.recipes import recipe

    settings = recipe(model)
    return replace(settings, data=images) if settings.data in IMAGES else settings


def save_images(path: Path) -> None:
    """Writes 60,000 + 10,000 random images: time and memory do not depend on what they show."""
    rng = np.random.default_rng(0)
    train, test = (rng.integers(0, 256, (n, 28, 28, 1), np.uint8) for n in (60_000, 10_000))
    np.savez(path, train=train, test=test)


def table_part(sizes: Sizes, images: str) -> dict[str, Any]:
    """Times epochs beside PyTorch."""
    import torch

    from msae_jax import bench

    torch.set_float32_matmul_precision("high")  # TF32, as XLA multiplies float32 on a GPU
    results = []
    for name, precision in itertools.product(sizes.table, ("float32", "bfloat16")):
        result = bench.bench(
            replace(settings_of(name, images), precision=precision),
            steps=sizes.steps,
            repeats=sizes.repeats,
            compiled=sizes.compiled,
        )
        results.append(result)
        for side, reason in result.failed.items():
            print(f"{name}, {precision}: {side} could not run: {reason}", flush=True)
    limits = bench.peaks()
    print(bench.table(results, limits), flush=True)
    return bench.to_dict(results, limits)


def trainer_of(model: str, seeds: int, steps: int, images: str) -> Any:
    """Returns what trains so many seeds as one batch, `steps` steps an epoch, and its task."""
    from msae_jax import data, train
    from msae_jax.fitting.loop import as_members
    from msae_jax.fitting.placement import Trainer

    settings = settings_of(model, images)
    dataset = data.load(settings.data)
    x, x_test = np.asarray(dataset.train.x), np.asarray(dataset.test.x)
    x = x[np.arange(steps * settings.batch_size) % len(x)]
    dataset = data.Dataset(model, data.Split(x), data.Split(x_test[:16]))
    task = train.make_task(settings, dataset)
    members = as_members(settings, seeds)
    return Trainer(task, settings, members, dataset, seeds_per_batch=seeds), task, len(x)


def seeds_part(model: str, sizes: Sizes, images: str) -> dict[str, Any]:
    """Times epochs of 1, 2, 4, ... seeds, each number as one batch."""
    from msae_jax import bench

    limit, tensor = bench.peaks().matmul, default_peak()
    points = []
    for seeds in sizes.seeds:
        trainer, task, samples = trainer_of(model, seeds, sizes.steps, images)
        timed = [_epoch(trainer, seeds) for _ in range(sizes.repeats + 1)][1:]  # compiles
        seconds = statistics.median(timed)
        rate = bench.operations(task.model).training * samples * seeds / seconds / 1e9
        points.append(
            {"seeds": seeds, "seconds": timed, "seconds_per_seed": seconds / seeds}
            | {"gflops": rate, "of_peak": rate / limit, "of_default_peak": rate / tensor}
        )
        print(
            f"{model}: {seeds:4} seeds {seconds:.4f} s an epoch of {sizes.steps} steps, "
            f"{1e3 * seconds / seeds:.3f} ms a seed, {rate:,.0f} GFLOP/s, {rate / limit:.1%} of "
            f"the float32 peak, {rate / tensor:.1%} of that at default precision",
            flush=True,
        )
    return {"points": points, "float32_peak": limit, "default_peak": tensor, "steps": sizes.steps}


def _epoch(trainer: Any, seeds: int) -> float:
    return trainer.epoch([True] * seeds)[0].seconds * seeds


def default_peak(size: int = 4096) -> float:
    """Returns GFLOP/s of a matrix product as models multiply: on recent GPUs in TF32."""
    import jax
    import jax.numpy as jnp

    if jax.default_backend() == "cpu":
        size = 1024
    a, product, seconds = jnp.ones((size, size)), jax.jit(lambda a: a @ a), []
    jax.block_until_ready(product(a))
    for _ in range(10):
        start = time.perf_counter()
        jax.block_until_ready(product(a))
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / min(seconds) / 1e9


def fits_part(model: str, seeds: int, images: str) -> dict[str, Any]:
    """Trains so many seeds at once for two steps; says whether they fit the memory."""
    import jax

    try:
        _epoch(trainer_of(model, seeds, 2, images)[0], seeds)
    except (jax.errors.JaxRuntimeError, MemoryError) as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return {"fits": False, "why": str(error).splitlines()[0][:300]}
    stats = jax.devices()[0].memory_stats() or {}
    return {"fits": True, "peak_bytes": stats.get("peak_bytes_in_use")}


def describe() -> dict[str, Any]:
    """Returns versions and device; PyTorch's device too, which may be another."""
    import torch

    from msae_jax.system import environment

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return environment.describe_machine() | {"torch": torch.__version__, "torch_gpu": gpu}


def here(part: str, model: str, seeds: int, sizes: Sizes, images: str) -> dict[str, Any]:
    """Runs a part in this process."""
    if part == "table":
        return table_part(sizes, images)
    if part == "seeds":
        return seeds_part(model, sizes, images)
    return fits_part(model, seeds, images) if part == "fits" else describe()


def child(part: str, args: argparse.Namespace, images: str, *more: str) -> dict[str, Any] | None:
    """Runs a part in a process of its own; passes on what it prints. None where it died."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "found.json"
        command = [sys.executable, "-m", "benchmarks.gpu", "--here", part, str(out)]
        command += ["--images", images, *more, *(["--quick"] * args.quick)]
        environment = dict(os.environ)
        if part == "table":  # leaves PyTorch its share
            environment.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.4")
        if part == "fits":
            environment.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.95")
        code = subprocess.run(command, env=environment).returncode
        if not out.exists():
            print(f"{part} {' '.join(more)}: ended with status {code}", flush=True)
            return None
        return json.loads(out.read_text())


def most(model: str, args: argparse.Namespace, sizes: Sizes, images: str) -> dict[str, Any]:
    """Doubles the seeds at once until they do not fit."""
    found: dict[str, Any] = {"seeds": None, "tried": []}
    for seeds in _doubled(sizes.first, sizes.most):
        tried = child("fits", args, images, "--model", model, "--seeds", str(seeds))
        tried = tried or {"fits": False, "why": "the process died"}
        found["tried"].append({"seeds": seeds, **tried})
        print(f"{model}: {seeds:,} seeds at once {'fit' if tried['fits'] else 'do not fit'}")
        if not tried["fits"]:
            break
        found["seeds"] = seeds
    return found


def _doubled(first: int, last: int) -> Iterator[int]:
    while first <= last:
        yield first
        first *= 2


def check(points: list[dict[str, Any]], seeds: int = SEEDS) -> float | None:
    """Returns how many times the time of one seed so many take; None where not measured."""
    median = {point["seeds"]: statistics.median(point["seconds"]) for point in points}
    return median[seeds] / median[1] if seeds in median and 1 in median else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parts = ("table", "seeds", "most")
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts)
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it runs")
    parser.add_argument("--out", type=Path, help="[benchmarks/results/gpu_DEVICE.json]")
    parser.add_argument("--here", nargs=2, metavar=("PART", "FILE"), help=argparse.SUPPRESS)
    parser.add_argument("--model", default="msae", help=argparse.SUPPRESS)
    parser.add_argument("--seeds", type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument("--images", help=argparse.SUPPRESS)
    args = parser.parse_args()
    sizes = QUICK if args.quick else Sizes()
    if args.here:
        part, out = args.here
        Path(out).write_text(json.dumps(here(part, args.model, args.seeds, sizes, args.images)))
        return
    with tempfile.TemporaryDirectory() as folder:
        images = str(Path(folder) / "images.npz")
        save_images(Path(images))
        described = child("describe", args, images)
        if described is None:
            sys.exit("JAX or PyTorch does not start here")
        print(described["device"], described["torch_gpu"], flush=True)
        kind = described["device"].split("(")[-1].strip(")").replace(" ", "-").lower()
        quick = "_quick" * args.quick
        path = args.out or Path(f"benchmarks/results/gpu_{kind}{quick}.json")
        kept = json.loads(path.read_text()) if path.exists() else {}

        def keep(name: str, found: Any) -> None:
            kept.update({name: found, "environment": described})
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(kept, indent=1) + "\n")

        if "seeds" in args.parts:
            for model in MODELS:
                found = child("seeds", args, images, "--model", model)
                keep(f"seeds {model}", found)
                ratio = check(found["points"]) if found else None
                if ratio is not None:
                    verdict = "at most" if ratio <= AT_MOST else "NOT at most"
                    print(f"{model}: {SEEDS} seeds take {ratio:.2f} times one, {verdict} {AT_MOST}")
        if "most" in args.parts:
            for model in MODELS:
                keep(f"most {model}", most(model, args, sizes, images))
        if "table" in args.parts:
            keep("table", child("table", args, images))
    print(path)


if __name__ == "__main__":
    main()
