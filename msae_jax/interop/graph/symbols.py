"""Sizes and arithmetic on them, which are plain numbers here; the checks that a graph carries."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import jax

from msae_jax.errors import InputError
from msae_jax.interop.files.pt2_values import Setting
from msae_jax.interop.graph.dtypes import named

Number = Any


def size(self: jax.Array, dim: int) -> int:
    return self.shape[dim]


def _one(function: Callable[[Number], Number]) -> Callable[..., Number]:
    def of_number(a: Number) -> Number:
        return function(a)

    return of_number


def _two(function: Callable[[Number, Number], Number]) -> Callable[..., Number]:
    def of_numbers(a: Number, b: Number) -> Number:
        return function(a, b)

    return of_numbers


def choose(b: bool, t: Number, f: Number) -> Number:
    return t if b else f


def total(args: Sequence[Number]) -> Number:
    return sum(args)


def assert_scalar(self: Number, assert_msg: str) -> None:
    """Checks what must hold of the sizes.

    Raises:
      InputError: it does not.
    """
    if not self:
        raise InputError(f"the program asks for something that does not hold: {assert_msg[:200]}")


def assert_values(self: jax.Array, assert_msg: str) -> None:
    """Checks nothing: what must hold of values is known to no compiled graph."""
    del self, assert_msg


def assert_metadata(
    a: jax.Array,
    size: Sequence[int] | None = None,
    stride: Sequence[int] | None = None,
    dtype: Setting | None = None,
) -> None:
    del stride  # how PyTorch keeps the values
    if size is not None and tuple(size) != a.shape:
        raise InputError(f"the program expects a tensor {list(size)}, got {list(a.shape)}.")
    if dtype is not None and named(dtype) != a.dtype:
        raise InputError(f"the program expects a tensor of {dtype.value}, got {a.dtype}.")


def constrain(size: Number, min: int | None = None, max: int | None = None) -> None:
    if (min is not None and size < min) or (max is not None and size > max):
        raise InputError(f"the program expects a size from {min} to {max}, got {size}.")


_TWO = ("add", "sub", "mul", "floordiv", "truediv", "mod", "pow", "eq", "ne", "lt", "le", "gt",
        "ge", "and_", "or_")  # fmt: skip

TABLE: dict[str, Callable[..., Any]] = {
    "aten.sym_size.int": size,
    **{f"_operator.{name}": _two(getattr(operator, name)) for name in _TWO},
    "_operator.neg": _one(operator.neg),
    "_operator.pos": _one(operator.pos),
    "math.ceil": _one(math.ceil), "math.floor": _one(math.floor), "math.trunc": _one(math.trunc),
    "torch.sym_int": _one(int), "torch.sym_float": _one(float),
    "torch.sym_not": _one(operator.not_),
    "torch.sym_max": _two(max), "torch.sym_min": _two(min),
    "torch.sym_ite": choose, "torch.sym_sum": total,
    "torch._sym_sqrt": _one(math.sqrt),
    "aten._assert_scalar.default": assert_scalar,
    "aten._assert_async.msg": assert_values,
    "aten._assert_tensor_metadata.default": assert_metadata,
    "aten.sym_constrain_range.default": constrain,
    "aten.sym_constrain_range_for_size.default": constrain,
}  # fmt: skip
