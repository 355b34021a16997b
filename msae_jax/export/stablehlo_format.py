"""StableHLO: a function as a file of `jax.export`, and what that file computes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax import export as jax_export

from msae_jax.errors import InputError

PLATFORMS = ("cpu", "cuda", "tpu")


def check_installed() -> None:
    """Does nothing: what this format needs is always installed."""


def versions() -> dict[str, Any]:
    """Returns what the file and its check depend on beside JAX."""
    return {
        "platforms": list(PLATFORMS),
        "calling convention": jax_export.maximum_supported_calling_convention_version,
    }


def make(
    function: Callable[..., jax.Array],
    inputs: Sequence[jax.ShapeDtypeStruct],
    about: Mapping[str, str],
) -> bytes:
    """Returns the file of a function of arrays `[B, ...]`, of any batch size, on any platform.

    Matrix products are of full float32 precision on each. `about` finds no place in such a file.

    Raises:
      InputError: the function cannot be traced with a free batch size.
    """
    (size,) = jax_export.symbolic_shape("batch")
    given = [jax.ShapeDtypeStruct((size, *x.shape[1:]), x.dtype) for x in inputs]
    try:
        with jax.default_matmul_precision("highest"):
            exported = jax_export.export(jax.jit(function), platforms=PLATFORMS)(*given)
    except InputError:
        raise
    except Exception as error:  # JAX has many for what hangs on a size that is no number
        raise InputError(
            f"this model cannot be traced with a free batch size: {type(error).__name__}: {error}"
        ) from error
    return bytes(exported.serialize())


def opened(file: bytes) -> Callable[[np.ndarray], np.ndarray]:
    """Returns what a file computes, on JAX's own device."""
    call = jax.jit(jax_export.deserialize(bytearray(file)).call)

    def run(x: np.ndarray) -> np.ndarray:
        return np.asarray(call(x))

    return run
