"""How fast we are, beside PyTorch's usual loops and what the device could do at most."""

from msae_jax.bench.compare import Result, bench, comparable, table, to_dict
from msae_jax.bench.infer import bench_inference
from msae_jax.bench.operations import Operations, operations
from msae_jax.bench.peaks import Peaks, peaks
from msae_jax.bench.programs import bench_program

__all__ = [
    "Operations",
    "Peaks",
    "Result",
    "bench",
    "bench_inference",
    "bench_program",
    "comparable",
    "operations",
    "peaks",
    "table",
    "to_dict",
]
