"""What products in bfloat16 do to test errors: every model in both precisions, over seeds.

    python -m benchmarks.precision [MODEL ...] [--seeds 6] --out results.json

Each model is trained a few epochs on the first samples of its recipe's data, from the same initial
weights and in the same order in both precisions, and tested in float32. The seeds are compared as
`msae compare` compares them. Times say nothing: what has no units for bfloat16 emulates it.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from msae_jax import data
from msae_jax.config import TrainConfig
from msae_jax.fitting.loop import as_members, fit_many
from msae_jax.models import record
from msae_jax.recipes import published, recipe
from msae_jax.results import compare as c
from msae_jax.system import environment, precision

SHORTER = {"lgta": 400}
"""Training samples of what takes long for each of them: batches of 8, step after step in time."""


def compared(name: str, seeds: int, epochs: int, samples: int, tested: int) -> c.Verdict:
    """Trains a model in both precisions, and returns what its seeds say of them."""
    settings = replace(recipe(name), epochs=epochs)
    dataset = data.load(settings.data)
    x = np.asarray(dataset.train.x)[: min(samples, SHORTER.get(name, samples))]
    held = np.asarray(dataset.test.x)[:tested]
    dataset = replace(dataset, train=data.Split(x), test=data.Split(held))

    def side(own: TrainConfig) -> c.Side:
        done = fit_many(own, as_members(own, seeds), dataset)
        return c.side_of(done, name=own.precision)

    low, full = side(replace(settings, precision="bfloat16")), side(settings)
    return c.compare(low, full, meant=["precision"])


def row(name: str, verdict: c.Verdict) -> str:
    """Returns a row of the table: means, and by how many per cent bfloat16 is higher."""
    found = verdict.comparison
    percent = found.reduction_percent
    interval = f"{-percent.high:+.2f}% to {-percent.low:+.2f}%"
    return (
        f"| `{name}` | {found.b.mean:.5g} | {found.b.std:.1g} | {found.a.mean:.5g} | "
        f"{-percent.mean:+.2f}% | {interval} |"
    )


HEAD = (
    "| model | float32 | std over seeds | bfloat16 | higher by | 95% interval |\n"
    "|---|---|---|---|---|---|"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("models", nargs="*")
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--samples", type=int, default=1920, help="to train on, at most")
    parser.add_argument("--tested", type=int, default=1000, help="to test on, at most")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    remark = precision.remark("bfloat16")
    if remark is not None:
        print(f"{remark}\n", flush=True)
    results: list[dict[str, Any]] = []
    print(HEAD, flush=True)
    for name in args.models or [n for n in published() if record(n).fit is None]:
        start = time.perf_counter()
        verdict = compared(name, args.seeds, args.epochs, args.samples, args.tested)
        print(row(name, verdict), flush=True)
        taken = {"seconds": time.perf_counter() - start, "epochs": args.epochs}
        results.append({"model": name, **taken, **verdict.to_dict()})
        if args.out is not None:
            found = {"results": results, "samples": args.samples, "remark": remark}
            found["environment"] = environment.describe_machine()
            args.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
