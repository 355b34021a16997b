"""Dtypes as PyTorch promotes them, made explicit: no operator here relies on JAX's own promotion.

Everything is in the dtypes that JAX has at hand: without `jax_enable_x64`, 64 bits become 32.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from msae_jax.interop.files.pt2_values import Setting
from msae_jax.interop.files.storages import DTYPES

_KINDS = "biufc"


def named(setting: Setting | None, default: Any = "float32") -> np.dtype:
    """Returns the dtype of an argument `dtype`, as JAX has it; `default` where it is None."""
    dtype = DTYPES[setting.value] if setting is not None else np.dtype(default)
    return jax.dtypes.canonicalize_dtype(dtype)


def _category(dtype: Any) -> int:
    """Returns 0 for truth values, 1 for integers, 2 for floats, 3 for complex numbers."""
    kinds = (jnp.bool_, jnp.integer, jnp.floating, jnp.complexfloating)
    return next(i for i, kind in enumerate(kinds) if jnp.issubdtype(dtype, kind))


def _of_number(number: Any) -> np.dtype:
    kinds = {bool: "bool", int: "int64", float: "float32", complex: "complex64"}
    return jax.dtypes.canonicalize_dtype(np.dtype(kinds[type(number)]))


def _wider(a: Any, b: Any) -> np.dtype:
    """Returns the dtype that holds both: the higher kind's, or the wider of one kind."""
    if _category(a) != _category(b):
        return np.dtype(a if _category(a) > _category(b) else b)
    if a == b or _category(a) != 2:
        return np.promote_types(a, b)
    sizes = np.dtype(a).itemsize, np.dtype(b).itemsize
    if sizes[0] == sizes[1]:  # two formats of 16 bits
        return np.dtype("float32")
    return np.dtype(a if sizes[0] > sizes[1] else b)


def result_dtype(*operands: Any) -> np.dtype:
    """Returns the dtype of a result, as `torch.result_type` has it.

    Arrays with axes decide; those without, and then numbers, only where they are of a higher kind
    (truth values, integers, floats, complex numbers).
    """
    arrays = [x.dtype for x in operands if hasattr(x, "dtype") and x.ndim]
    scalars = [x.dtype for x in operands if hasattr(x, "dtype") and not x.ndim]
    numbers = [_of_number(x) for x in operands if not hasattr(x, "dtype")]
    found: Any = None
    for group in (arrays, scalars, numbers):
        if not group:
            continue
        dtype = group[0]
        for other in group[1:]:
            dtype = _wider(dtype, other)
        if found is None or _category(dtype) > _category(found):
            found = dtype
    return np.dtype(found)


def promoted(*operands: Any) -> list[jax.Array]:
    """Returns the operands as arrays of their result's dtype."""
    dtype = result_dtype(*operands)
    return [jnp.asarray(x, dtype) for x in operands]


def floating(x: Any) -> jax.Array:
    """Returns an array of floats: as it is, or of integers and truth values, in float32."""
    x = jnp.asarray(x)
    return x if _category(x.dtype) >= 2 else x.astype(jnp.float32)


def is_floating(x: jax.Array) -> bool:
    return _category(x.dtype) >= 2


def summed(x: jax.Array, dtype: Setting | None) -> jax.Array:
    """Returns what a sum adds up: integers and truth values become int64."""
    if dtype is not None:
        return x.astype(named(dtype))
    return x if _category(x.dtype) >= 2 else x.astype(named(None, "int64"))
