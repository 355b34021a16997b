"""Time series as data: read, checked, scaled, split in time, and cut into windows by an index."""

from __future__ import annotations

from msae_jax.data.series.dataset import Facts, as_dataset, labels_of, load
from msae_jax.data.series.files import SUFFIXES, TABLES, read, wanted
from msae_jax.data.series.scaling import Scaling
from msae_jax.data.series.series import Series
from msae_jax.data.series.windows import Windows

__all__ = [
    "SUFFIXES",
    "TABLES",
    "Facts",
    "Scaling",
    "Series",
    "Windows",
    "as_dataset",
    "labels_of",
    "load",
    "read",
    "wanted",
]
