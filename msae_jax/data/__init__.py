"""Sources of training data: `load(name)` gives a `Dataset` of arrays, or of what streams them."""

from __future__ import annotations

from msae_jax.data.arrays import load_array
from msae_jax.data.catalog import load, names, register
from msae_jax.data.dataset import Dataset, Samples, Source, Split
from msae_jax.data.streaming import batches

__all__ = [
    "Dataset",
    "Samples",
    "Source",
    "Split",
    "batches",
    "load",
    "load_array",
    "names",
    "register",
]
