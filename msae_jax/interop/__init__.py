"""The bridge to PyTorch: files of tensors, without PyTorch.

`read_tensors` and `write_tensors` take dotted keys and NumPy arrays from and to `.pth`, `.pt`,
`.ckpt` and `.safetensors` files.
"""

from __future__ import annotations

from msae_jax.interop.pth import read_pth, write_pth
from msae_jax.interop.tensor_files import (
    read_safetensors,
    read_tensors,
    write_safetensors,
    write_tensors,
)

__all__ = [
    "read_pth",
    "read_safetensors",
    "read_tensors",
    "write_pth",
    "write_safetensors",
    "write_tensors",
]
