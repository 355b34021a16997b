"""Weights leave for other programs: a part of a model as an ONNX or a StableHLO file.

`export` writes one with its certificate. `trace` gives the graph alone, `part` the function.
"""

from __future__ import annotations

from msae_jax.export.graph import trace
from msae_jax.export.parts import part
from msae_jax.export.writing import export

__all__ = ["export", "part", "trace"]
