"""How much memory training takes: peak resident size after fewer and more epochs.

    python -m benchmarks.training_memory msae-mlp 2 8 [--data mnist]

Each number of epochs trains in a process of its own. The peak must not grow with them.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace

from benchmarks.memory import in_own_process, peak


def measure(model: str, epochs: int, data: str | None) -> dict[str, float]:
    """Trains in this process; returns the peak in bytes, and seconds of the last epoch."""
    from msae_jax.fitting.loop import fit_one
    from msae_jax.recipes import recipe

    settings = recipe(model)
    done = fit_one(replace(settings, epochs=epochs, data=data or settings.data))
    return {"peak": peak(), "seconds": done.history[-1]["seconds"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model")
    parser.add_argument("epochs", type=int, nargs="+")
    parser.add_argument("--data", help="instead of the recipe's")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.here:
        print(json.dumps(measure(args.model, args.epochs[0], args.data)))
        return
    peaks = []
    for epochs in args.epochs:
        data = ["--data", args.data] if args.data else []
        found = in_own_process(
            "benchmarks.training_memory", args.model, str(epochs), "--here", *data
        )
        peaks.append(found["peak"])
        print(
            f"{args.model}, {epochs} epochs: peak {peaks[-1] / 1e6:.0f} MB, "
            f"{found['seconds']:.2f} s an epoch",
            flush=True,
        )
    if len(peaks) > 1:
        print(f"memory grows by {(peaks[-1] - peaks[0]) / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
