"""What every writer of tensor files needs: arrays that are checked and laid out for writing."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from msae_jax.errors import InputError
from msae_jax.interop.files.state_dict import MAX_KEY
from msae_jax.interop.files.storages import MAX_TENSORS


def own_arrays(
    tensors: Mapping[str, np.ndarray], dtypes: Collection[np.dtype]
) -> dict[str, np.ndarray]:
    """Returns the arrays little-endian and C-contiguous, checked to be writable by dotted key."""
    arrays = {}
    for key, tensor in tensors.items():
        array = np.asarray(tensor)
        array = np.asarray(array, array.dtype.newbyteorder("<"), order="C")
        if array.dtype not in dtypes:
            known = ", ".join(sorted(map(str, dtypes)))
            raise InputError(f"{key} has dtype {array.dtype}; this format takes {known}.")
        if not isinstance(key, str) or not 0 < len(key) <= MAX_KEY or not key.isprintable():
            raise InputError(f"{key!r} is not a dotted key of at most {MAX_KEY} characters.")
        arrays[key] = array
    if not 0 < len(arrays) <= MAX_TENSORS:
        raise InputError(f"got {len(arrays)} tensors to write, expected 1 to {MAX_TENSORS}.")
    return arrays
