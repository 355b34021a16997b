"""The published studies: one module each, with its configuration, published numbers and figures."""

from __future__ import annotations

import importlib
from types import ModuleType

from msae_jax.errors import unknown_name

NAMES = {
    "sines": "multi-scale against baseline on 1-D signals: Table I, loss curves, reconstructions",
}


def find(name: str) -> ModuleType:
    """Returns the module of a study; it has `reproduce(setup)`."""
    if name not in NAMES:
        raise unknown_name("study", name, NAMES)
    return importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
