"""What every writer of tensor files needs: checked arrays, and files that appear whole or not."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import numpy as np

from msae_jax.errors import InputError
from msae_jax.interop.state_dict import MAX_KEY
from msae_jax.interop.unpickle import MAX_TENSORS


@contextlib.contextmanager
def replacing(path: str | Path, overwrite: bool = False) -> Iterator[Path]:
    """Yields a temporary path beside `path`, and moves what was written there to `path` on success.

    On any exception the temporary file is removed and `path` is as it was.

    Raises:
        InputError: `path` exists and `overwrite` is False, or it cannot be written.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise InputError(
            f"{path} exists already; overwrite (--overwrite, overwrite=True) replaces it."
        )
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}.") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


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
