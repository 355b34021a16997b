"""How much memory many seeds take: peak resident size, and seconds a seed and epoch.

    python benchmarks/seed_memory.py msae 16 128 [--checkpoint [last|every]]

Each number of seeds trains three epochs in a process of its own, on all host devices. The slope is
in units of what the state of one more seed holds: parameters and Adam's moments.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from memory import in_own_process, peak


def measure(model: str, seeds: int, checkpoint: str | None) -> dict[str, float]:
    """Trains in this process; returns peak and state in bytes, and seconds."""
    from msae_jax import distributed

    distributed.use_host_devices()

    import jax

    from msae_jax.ensemble import as_members, fit_many
    from msae_jax.recipes import recipe

    settings = replace(recipe(model), epochs=3, checkpoint_every=1 if checkpoint == "every" else 3)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run" if checkpoint else None
        done = fit_many(settings, as_members(settings, seeds), out=out)
        highest = peak()
    seconds = [line["seconds"] for history in done.histories for line in history[1:]]
    state = sum(leaf.nbytes for leaf in jax.tree.leaves(done.items))
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
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.here:
        print(json.dumps(measure(args.model, args.seeds[0], args.checkpoint)))
        return
    found: list[dict[str, Any]] = []
    for count in args.seeds:
        options = ["--here", *(["--checkpoint", args.checkpoint] if args.checkpoint else [])]
        found.append(in_own_process(__file__, args.model, str(count), *options))
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
