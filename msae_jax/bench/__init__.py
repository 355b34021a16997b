"""How fast training is, beside PyTorch's usual loops and what the device could do at most."""

from msae_jax.bench.compare import Result, bench, table, to_dict
from msae_jax.bench.operations import Operations, operations
from msae_jax.bench.peaks import Peaks, peaks

__all__ = ["Operations", "Peaks", "Result", "bench", "operations", "peaks", "table", "to_dict"]
