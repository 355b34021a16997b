"""The storages of a PyTorch file, and the tensors that view them, as its pickle describes them.

Sources: torch/storage.py and torch/_utils.py of PyTorch 2.13.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import ml_dtypes
import numpy as np

MAX_TENSORS = 5_000
MAX_DIMENSIONS = 64  # NumPy's and PyTorch's own

_NAMES = (
    "float16", "float32", "float64", "bfloat16", "complex64", "complex128", "bool",
    "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz",
)  # fmt: skip
DTYPES = {name: np.dtype(getattr(ml_dtypes, name, name)) for name in _NAMES}
STORAGES = {
    "FloatStorage": DTYPES["float32"],
    "DoubleStorage": DTYPES["float64"],
    "HalfStorage": DTYPES["float16"],
    "BFloat16Storage": DTYPES["bfloat16"],
    "LongStorage": DTYPES["int64"],
    "IntStorage": DTYPES["int32"],
    "ShortStorage": DTYPES["int16"],
    "CharStorage": DTYPES["int8"],
    "ByteStorage": DTYPES["uint8"],
    "BoolStorage": DTYPES["bool"],
    "ComplexFloatStorage": DTYPES["complex64"],
    "ComplexDoubleStorage": DTYPES["complex128"],
}

STORAGE_TYPES = {f"torch.{name}": dtype for name, dtype in STORAGES.items()} | {
    "torch.storage.UntypedStorage": DTYPES["uint8"],
    "torch.QInt8Storage": DTYPES["int8"],
    "torch.QUInt8Storage": DTYPES["uint8"],
    "torch.QInt32Storage": DTYPES["int32"],
    "torch.QUInt4x2Storage": DTYPES["uint8"],
    "torch.QUInt2x4Storage": DTYPES["uint8"],
}


@dataclass(frozen=True, slots=True)
class Global:
    """A name that the pickle refers to; never looked up."""

    name: str


@dataclass(frozen=True, slots=True)
class Storage:
    """`nbytes` raw bytes from `start` on, of those kept in the file under `key`."""

    key: str
    dtype: np.dtype
    nbytes: int
    start: int = 0


@dataclass(frozen=True, slots=True)
class Unsupported:
    """A tensor that is no array of numbers, such as a quantised one; `kind` says what it is."""

    kind: str


@dataclass(frozen=True, slots=True)
class Tensor:
    """A view of a storage that lies within it; offset and strides are in elements."""

    storage: Storage
    dtype: np.dtype
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def storage_of(reference: tuple, roots: dict[str, Storage]) -> Storage:
    """Returns the storage of a persistent id, ("storage", type, key, location, element count).

    Files before PyTorch 1.6 add whether it is a part of the storage `key`: None, or the part's own
    key, its first element and how many it has.

    Args:
      roots: takes the whole storage, by its key.
    """
    tag, kind, key, _location, count, *view = reference
    if tag != "storage" or type(key) is not str or not _is_natural(count) or len(view) > 1:
        raise ValueError("a persistent id is not that of a storage")
    dtype = STORAGE_TYPES[kind.name]
    root = Storage(key, dtype, count * dtype.itemsize)
    if roots.setdefault(key, root).nbytes != root.nbytes:
        raise ValueError(f"the storage {key[:40]!a} has two sizes")
    if not view or view[0] is None:
        return root
    _key, first, length = view[0]
    if not (_is_natural(first) and _is_natural(length) and first + length <= count):
        raise ValueError("a part of a storage lies outside of it")
    return Storage(key, dtype, length * dtype.itemsize, first * dtype.itemsize)


def tensor_v2(
    storage: Storage,
    offset: int,
    shape: tuple,
    strides: tuple,
    _requires_grad: bool,
    _hooks: object,
    metadata: object = None,
    dtype: np.dtype | None = None,
) -> Tensor:
    """Returns what `torch._utils._rebuild_tensor_v2` would view, checked to lie in its storage."""
    dtype = dtype or storage.dtype
    if metadata:
        raise ValueError("a tensor is lazily conjugated or negated: resolve that before saving")
    if len(shape) != len(strides) or len(shape) > MAX_DIMENSIONS:
        raise ValueError("a tensor's sizes and strides do not match")
    if not all(map(_is_natural, (offset, *shape, *strides))):
        raise ValueError("a tensor's offset, sizes or strides are negative, huge or no numbers")
    last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
    if 0 not in shape and (last + 1) * dtype.itemsize > storage.nbytes:
        raise ValueError("a tensor reaches beyond its storage")
    return Tensor(storage, dtype, offset, shape, strides)


def tensor_v3(
    storage: Storage,
    offset: int,
    shape: tuple,
    strides: tuple,
    requires_grad: bool,
    hooks: object,
    dtype: Global,
    metadata: object = None,
) -> Tensor:
    """As `tensor_v2`, for the dtypes newer than typed storages: raw bytes and the dtype's name."""
    named = DTYPES[dtype.name.removeprefix("torch.")]
    return tensor_v2(storage, offset, shape, strides, requires_grad, hooks, metadata, named)


def _is_natural(number: object) -> bool:
    return type(number) is int and 0 <= number < 2**62


def tensor_v1(storage: Storage, offset: int, shape: tuple, strides: tuple) -> Tensor:
    """As `tensor_v2`, as PyTorch before 0.4 wrote it."""
    return tensor_v2(storage, offset, shape, strides, False, None)
