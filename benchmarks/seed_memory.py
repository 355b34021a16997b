"""How much memory many seeds take: peak resident size, and seconds a seed and epoch.

    python -m benchmarks.seed_memory msae 1 64 [--checkpoint [last|every]] [--repeats 3]

Each number of seeds trains three epochs in processes of their own, of several the median: many on
all host devices, 1 as `msae train` without --seeds does, on one device that uses all cores. The
slope is in units of what the state of one more seed holds: parameters and Adam's moments. Compiling
would take 20 to 60 MB more or less from one process to the next: a first one, which is not counted,
leaves the programs in the cache.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.memory import in_own_process, peak


def measure(model: str, count: int, checkpoint: str | None) -> dict[str, float]:
    """Trains in this process; returns peak and state in bytes, and seconds."""
    from msae_jax.system import compilation_cache

    compilation_cache.enable()  # before JAX is imported

    from msae_jax.system import distributed

    if count > 1:
        distributed.use_host_devices()

    import jax

    from msae_jax import data
    from msae_jax.fitting.loop import as_members, fit_many, fit_one
    from msae_jax.recipes import recipe
    from msae_jax.runs.arrays import from_states
    from msae_jax.train import seeds

    settings = replace(recipe(model), epochs=3, checkpoint_every=1 if checkpoint == "every" else 3)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run" if checkpoint else None
        if count == 1:
            histories = [fit_one(settings, out=out).history]
        else:
            histories = fit_many(settings, as_members(settings, count), out=out).histories
        highest = peak()
    seconds = [line["seconds"] for history in histories for line in history[1:]]
    dataset = data.load(settings.data)
    members = as_members(settings, count)
    task = seeds.make_task(settings, dataset, members)
    states = jax.eval_shape(
        from_states, seeds.shapes(task, settings, members, dataset.sample_shape)
    )
    state = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(states))
    return {"peak": highest, "state": state, "seconds": statistics.median(seconds)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model")
    parser.add_argument("seeds", type=int, nargs="+")
    parser.add_argument(
        "--checkpoint",
        choices=("last", "every"),
        nargs="?",
        const="last",
        help="write one at the end, or after every epoch",
    )
    parser.add_argument("--repeats", type=int, default=3, help="processes a number of seeds [3]")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.repeats < 1:
        parser.error(f"--repeats must be at least 1, got {args.repeats}")
    if args.here:
        print(json.dumps(measure(args.model, args.seeds[0], args.checkpoint)))
        return
    found: list[dict[str, Any]] = []
    for count in args.seeds:
        options = ["--here", *(["--checkpoint", args.checkpoint] if args.checkpoint else [])]
        command = ["benchmarks.seed_memory", args.model, str(count), *options]
        _, *runs = [in_own_process(*command) for _ in range(args.repeats + 1)]
        found.append({key: statistics.median(run[key] for run in runs) for key in runs[0]})
        size, state, seconds = (found[-1][key] for key in ("peak", "state", "seconds"))
        print(
            f"{count:4} seeds: peak {size / 1e6:.0f} MB, states {state / 1e6:.1f} MB, "
            f"{seconds:.4f} s a seed and epoch",
            flush=True,
        )
    if len(found) > 1:
        grown, states = (found[-1][key] - found[0][key] for key in ("peak", "state"))
        print(f"memory grows by {grown / states:.2f} times the states")


if __name__ == "__main__":
    main()
