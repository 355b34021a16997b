"""Exported PyTorch programs of twelve families: ours beside PyTorch, eager and compiled.

    python -m benchmarks.programs [--batch-size 16] [--out benchmarks/results/programs.json]

Each module of `benchmarks.torch_programs` is written as a `.pt2`, both graphs, and timed as `msae
bench FILE.pt2` times it: forward and training, median of passes in turn. About fifteen minutes on
two CPU cores, most of which `torch.compile` takes. Needs the `torch` extra.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from benchmarks import torch_programs
from msae_jax import bench
from msae_jax.interop.export_torch import export_torch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("modules", nargs="*", help="Of these alone.")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--eager", action="store_true", help="Without torch.compile.")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    known = {module.__name__: module for module in torch_programs.MODULES}
    results: list[bench.Result] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in given.modules or known:
            module, path = known[name], Path(folder) / f"{name}.pt2"
            dtypes = [module.dtype] if hasattr(module, "dtype") else []
            target = f"benchmarks.torch_programs:{name}"
            export_torch(target, path, [module.shape], dtypes=dtypes)
            found = bench.bench_program(
                path,
                batch_size=given.batch_size,
                repeats=given.repeats,
                compiled=not given.eager,
            )
            for one in found:
                sides = ", ".join(f"{side} {one.median(side):.4g} s" for side in one.seconds)
                agree = "" if one.agree else f", results differ: {one.apart}"
                print(f"{name}, {one.task}: {one.ratio:.2f} times; {sides}{agree}", flush=True)
            results += found
    limits = bench.peaks()
    print(bench.table(results, limits))
    if given.out is not None:
        given.out.write_text(json.dumps(bench.to_dict(results, limits), indent=1) + "\n")


if __name__ == "__main__":
    main()
