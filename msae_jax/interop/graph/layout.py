"""Keeps the channels of convolutions last from one layer to the next.

The library's convolutions have them last and PyTorch's second. A permutation there and back around
each would cost as much as a small convolution. Here what a convolution returns stays as it is, a
`Last`, through norms, activations and sums, until an operator asks for PyTorch's layout.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from msae_jax.interop.graph import convolutions, norms, pools, resizing, shapes
from msae_jax.interop.graph.context import Mutated

_CONVOLUTIONS: dict[Any, Callable[..., jax.Array]] = {
    convolutions.conv: convolutions.conv_last,
    convolutions.conv_padding: convolutions.conv_padding_last,
    convolutions.conv_transpose: convolutions.conv_transpose_last,
    convolutions.convolution_kernel: convolutions.convolution_kernel_last,
}
_NORMS = (
    norms.batch_norm,
    norms.batch_norm_functional,
    norms.batch_norm_no_training,
    norms.batch_norm_no_stats,
)
"""All that they know of axes is which one is that of the channels."""

_NORMS_OF_GROUPS: dict[Any, Callable[..., Any]] = {
    norms.group_norm: norms.group_norm_last,
    norms.native_group_norm: norms.native_group_norm_last,
}

WITHIN_CHANNELS = frozenset({*pools.TABLE, *resizing.TABLE} - {"aten.max_unpool2d.default"})
"""Operators that treat each channel alike and by itself, if they pad nothing but spatial axes."""

_ELEMENTWISE = """
    relu.default relu6.default leaky_relu.default elu.default selu.default celu.default gelu.default
    silu.default mish.default softplus.default sigmoid.default tanh.default hardtanh.default
    hardsigmoid.default hardswish.default neg.default abs.default exp.default sqrt.default
    pow.Tensor_Scalar clamp.default clamp_min.default clamp_max.default add.Tensor add.Scalar
    sub.Tensor sub.Scalar mul.Tensor mul.Scalar div.Tensor div.Scalar dropout.default
    native_dropout.default clone.default detach.default alias.default contiguous.default
"""
ELEMENTWISE = frozenset(f"aten.{name}" for name in _ELEMENTWISE.split())
"""Operators for which it makes no difference where an axis lies."""


class Last:
    """An array [B, *S, C] that stands for [B, C, *S]."""

    __slots__ = ("array",)

    def __init__(self, array: jax.Array) -> None:
        self.array = array

    @property
    def ndim(self) -> int:
        return self.array.ndim


def second(value: Any) -> Any:
    """Returns a value in PyTorch's layout; of a tuple each part."""
    if isinstance(value, Last):
        return jnp.moveaxis(value.array, -1, 1)
    return tuple(map(second, value)) if type(value) is tuple else value


def beside(array: jax.Array, value: Any) -> Any:
    """Returns an array that lies as a value does."""
    return Last(array) if isinstance(value, Last) else array


def like(value: Any, before: Any) -> Any:
    """Returns a value in the dtype of the one whose place it takes."""
    dtype = before.array.dtype if isinstance(before, Last) else before.dtype
    if isinstance(value, Last):
        return Last(value.array.astype(dtype))
    return jnp.asarray(value).astype(dtype)


def call(operator: str, function: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    """Returns what an operator gives; arguments and results may be `Last`."""
    x = arguments.get("input")
    if function in _CONVOLUTIONS and x is not None and x.ndim == arguments["weight"].ndim:
        moved = x.array if isinstance(x, Last) else jnp.moveaxis(x, 1, -1)
        rest = {name: second(value) for name, value in arguments.items() if name != "input"}
        return Last(_CONVOLUTIONS[function](input=moved, **rest))
    held = next((v for part in arguments.values() for v in _parts(part) if type(v) is Last), None)
    if held is None:
        return function(**arguments)
    if function in _NORMS and isinstance(x, Last):
        rows = x.array.reshape(-1, x.array.shape[-1])
        shape = x.array.shape
        value = function(**{**arguments, "input": rows})
        return _with_first(value, lambda y: Last(y.reshape(shape)))
    if function in _NORMS_OF_GROUPS and isinstance(x, Last):
        value = _NORMS_OF_GROUPS[function](**{**arguments, "input": x.array})
        return _with_first(value, Last)
    if operator in WITHIN_CHANNELS:
        return _within_channels(function, arguments)
    if operator.replace("_.", ".") in ELEMENTWISE and _all_meet(arguments.values(), held.ndim):
        return _with_first(function(**{k: _last(v) for k, v in arguments.items()}), Last)
    joined = function is shapes.cat and arguments.get("dim") == 1
    if joined and _all_meet(arguments["tensors"], held.ndim):
        return Last(shapes.cat(tuple(map(_last, arguments["tensors"])), -1))
    return function(**{name: second(value) for name, value in arguments.items()})


def _within_channels(function: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    """Returns what an operator makes of each channel, with the channels last as they were."""
    [name] = {"self", "input"} & set(arguments)
    x, rest = arguments[name], {k: v for k, v in arguments.items() if k != name}
    padding = arguments.get("pad", arguments.get("padding", ()))
    if not isinstance(padding, int) and len(padding) > 2 * (x.ndim - 2):
        return function(**{name: second(x)}, **rest)
    mapped = jax.vmap(lambda channel: function(**{name: channel}, **rest), -1, -1)
    return jax.tree.map(Last, mapped(x.array))


def _parts(value: Any) -> tuple[Any, ...]:
    return value if type(value) is tuple else (value,)


def _all_meet(values: Any, ndim: int) -> bool:
    """Whether all arrays have so many axes, or none, so that they meet in either layout."""
    arrays = [v for v in values if isinstance(v, jax.Array | Last)]
    return all(array.ndim in (0, ndim) for array in arrays)


def _last(value: Any) -> Any:
    if isinstance(value, Last):
        return value.array
    if isinstance(value, jax.Array) and value.ndim:
        return jnp.moveaxis(value, 1, -1)
    return value


def _with_first(value: Any, wrap: Callable[[jax.Array], Last]) -> Any:
    """Wraps the value of an operator, or the first of several."""
    if isinstance(value, Mutated):
        return value._replace(value=wrap(value.value))
    return (wrap(value[0]), *value[1:]) if isinstance(value, tuple) else wrap(value)
