"""Time a seed, eight seeds trained together, beside one seed trained alone.

    python -m benchmarks.seeds_together [MODEL ...] [--seeds 8] --out results.json

An epoch of one, then an epoch of the other, in one process, several times: medians. Alone is what
`msae train` runs, a program of one device that XLA splits over the cores where it can; together is
`msae train --seeds N`, seeds spread over as many host devices as there are cores.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from msae_jax import data, train
from msae_jax.fitting.loop import as_members
from msae_jax.fitting.placement import Trainer
from msae_jax.recipes import published, recipe
from msae_jax.system import distributed, environment
from msae_jax.train import seeds


def compare(name: str, count: int, steps: int, repeats: int) -> dict[str, Any]:
    """Returns the seconds of each timed epoch: alone, and together, divided by the seeds."""
    settings = recipe(name)
    dataset = data.load(settings.data)
    x = np.asarray(dataset.train.x)[: steps * settings.batch_size]
    dataset = replace(
        dataset, train=data.Split(x), test=data.Split(np.asarray(dataset.test.x)[:100])
    )
    task = train.make_task(settings, dataset)
    members = as_members(settings, count)
    here = jax.device_put(x)
    one = train.init_state(task, settings.seed, dataset.sample_shape)
    many = Trainer(task, settings, members, dataset, seeds_per_batch=1)

    def alone() -> float:
        nonlocal one
        start = time.perf_counter()
        one, _ = train.train_epoch(task, one, here, batch_size=settings.batch_size)
        jax.block_until_ready(one)
        return time.perf_counter() - start

    def together() -> float:
        (first, *_) = many.epoch([True] * count)
        assert first is not None
        return first.seconds  # of training, a seed

    alone()  # compile
    together()
    found: dict[str, list[float]] = {"alone": [], "together": []}
    for _ in range(repeats):
        found["alone"].append(alone())
        found["together"].append(together())
    ratios = [a / b for a, b in zip(found["alone"], found["together"], strict=True)]
    return {
        "model": name,
        "seeds": count,
        "samples": len(x),
        "devices": seeds.make_mesh(members=count).size,
        "seconds": found,
        "times_as_fast": statistics.median(ratios),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("models", nargs="*", default=published())
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=63, help="batches of an epoch")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    distributed.use_host_devices()
    results = []
    for name in args.models:
        result = compare(name, args.seeds, args.steps, args.repeats)
        results.append(result)
        alone, together = (statistics.median(s) for s in result["seconds"].values())
        print(
            f"{name:13} alone {alone:.4g} s, one of {args.seeds} {together:.4g} s an epoch of "
            f"{result['samples']:,}: {result['times_as_fast']:.2f} times as fast",
            flush=True,
        )
    if args.out is not None:
        content = {"results": results, "environment": environment.describe_machine()}
        args.out.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
