"""The bridge to PyTorch: files of tensors, without PyTorch; models from and to them; verification.

`read_tensors` and `write_tensors` take dotted keys and NumPy arrays from and to `.pth`, `.pt`,
`.ckpt` and `.safetensors` files; `load_torch` and `save_torch` models; `load_pt2` opens programs of
`torch.export.save`. `verify` alone makes use of PyTorch, where it is installed.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from msae_jax.interop.files.pth import read_pth, write_pth
from msae_jax.interop.files.tensor_files import (
    read_safetensors,
    read_tensors,
    write_safetensors,
    write_tensors,
)

if TYPE_CHECKING:
    from msae_jax.interop.pt2 import load_pt2 as load_pt2
    from msae_jax.interop.torch_files import load_torch as load_torch
    from msae_jax.interop.torch_files import save_torch as save_torch

_LAZY = {  # import JAX
    "load_pt2": "msae_jax.interop.pt2",
    "load_torch": "msae_jax.interop.torch_files",
    "save_torch": "msae_jax.interop.torch_files",
}

__all__ = [
    "load_pt2",
    "load_torch",
    "read_pth",
    "read_safetensors",
    "read_tensors",
    "save_torch",
    "write_pth",
    "write_safetensors",
    "write_tensors",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)
