"""Operators on each element: arithmetic, comparisons, choices, conversions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy import special

from msae_jax.errors import InputError
from msae_jax.interop.files.pt2_values import Setting
from msae_jax.interop.graph.dtypes import floating, is_floating, named, promoted, result_dtype


def of_floats(function: Callable[[jax.Array], jax.Array]) -> Callable[..., jax.Array]:
    """Returns an operator whose result is of floats, those of integers being float32."""

    def operator(self: jax.Array) -> jax.Array:
        return function(floating(self))

    return operator


def of_any(function: Callable[[jax.Array], jax.Array]) -> Callable[..., jax.Array]:
    """Returns an operator whose result has the dtype of what it is given, or truth values."""

    def operator(self: jax.Array) -> jax.Array:
        return function(self)

    return operator


def _of_two(function: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    """Returns an operator on two arrays or numbers, in the dtype of both."""

    def operator(self: Any, other: Any) -> jax.Array:
        return function(*promoted(self, other))

    return operator


def _rounded(function: Callable[[jax.Array], jax.Array]) -> Callable[..., jax.Array]:
    def operator(self: jax.Array) -> jax.Array:
        return function(self) if is_floating(self) else self

    return operator


def add(self: Any, other: Any, alpha: Any = 1) -> jax.Array:
    a, b = promoted(self, other)
    return jnp.logical_or(a, b) if a.dtype == bool else a + (b if alpha == 1 else b * _as(alpha, b))


def sub(self: Any, other: Any, alpha: Any = 1) -> jax.Array:
    a, b = promoted(self, other)
    return a - (b if alpha == 1 else b * _as(alpha, b))


def rsub(self: Any, other: Any, alpha: Any = 1) -> jax.Array:
    return sub(other, self, alpha)


def _as(number: Any, like: jax.Array) -> jax.Array:
    return jnp.asarray(number, like.dtype)


def mul(self: Any, other: Any) -> jax.Array:
    a, b = promoted(self, other)
    return a * b


def div(self: Any, other: Any) -> jax.Array:
    dtype = result_dtype(self, other, 1.0)
    return jnp.asarray(self, dtype) / jnp.asarray(other, dtype)


def div_mode(self: Any, other: Any, rounding_mode: str | None) -> jax.Array:
    if rounding_mode is None:
        return div(self, other)
    if rounding_mode == "floor":
        return floor_divide(self, other)
    if rounding_mode != "trunc":
        raise InputError(f"a division rounds by {rounding_mode!r}, expected floor or trunc.")
    a, b = promoted(self, other)
    if is_floating(a):
        return jnp.trunc(a / b)
    whole = jnp.broadcast_arrays(a, b)
    return jax.lax.div(whole[0], whole[1])


def floor_divide(self: Any, other: Any) -> jax.Array:
    a, b = promoted(self, other)
    return jnp.floor_divide(a, b)


def power(self: Any, exponent: Any) -> jax.Array:
    """Returns self ** exponent; a whole number as an exponent gives exact gradients at 0."""
    if isinstance(exponent, int | float) and not isinstance(exponent, bool):
        x = jnp.asarray(self, result_dtype(self, exponent))
        if exponent == int(exponent) and abs(exponent) <= 64:
            return jnp.asarray(jax.lax.integer_pow(x, int(exponent)))
        return jnp.sqrt(x) if exponent == 0.5 else jnp.power(x, _as(exponent, x))
    return jnp.power(*promoted(self, exponent))


def clamp(self: jax.Array, min: Any = None, max: Any = None) -> jax.Array:
    """Returns the values between two bounds; those on a bound pass the gradient, as in PyTorch."""
    bounds = [bound for bound in (min, max) if bound is not None]
    x = jnp.asarray(self, result_dtype(self, *bounds))
    if min is not None:
        x = jnp.where(x < _as(min, x), _as(min, x), x)
    if max is not None:
        x = jnp.where(x > _as(max, x), _as(max, x), x)
    return x


def clamp_min(self: jax.Array, min: Any) -> jax.Array:
    return clamp(self, min)


def clamp_max(self: jax.Array, max: Any) -> jax.Array:
    return clamp(self, None, max)


def where(condition: jax.Array, self: Any, other: Any) -> jax.Array:
    yes, no = promoted(self, other)
    return jnp.where(condition, yes, no)


def masked_fill(self: jax.Array, mask: jax.Array, value: Any) -> jax.Array:
    return jnp.where(mask, _as(value, self), self)


def lerp(self: jax.Array, end: jax.Array, weight: Any) -> jax.Array:
    return self + _as(weight, self) * (end - self)


def addcmul(self: jax.Array, tensor1: jax.Array, tensor2: jax.Array, value: Any = 1) -> jax.Array:
    return self + _as(value, self) * tensor1 * tensor2


def addcdiv(self: jax.Array, tensor1: jax.Array, tensor2: jax.Array, value: Any = 1) -> jax.Array:
    return self + _as(value, self) * tensor1 / tensor2


def clone(self: jax.Array) -> jax.Array:
    return self


def detach(self: jax.Array) -> jax.Array:
    """Returns the values, which no gradient passes."""
    return jax.lax.stop_gradient(self)


def to_copy(self: jax.Array, dtype: Setting | None = None) -> jax.Array:
    return self if dtype is None else _convert(self, dtype)


def to_dtype(self: jax.Array, dtype: Setting, copy: bool = False) -> jax.Array:
    del copy  # values are never changed in place here, so that a copy is no other value
    return _convert(self, dtype)


def _convert(x: jax.Array, dtype: Setting) -> jax.Array:
    wanted = named(dtype)
    if is_floating(x) and jnp.issubdtype(wanted, jnp.integer):
        x = jnp.trunc(x)
    return x.astype(wanted)


def nan_to_num(
    self: jax.Array, nan: Any = None, posinf: Any = None, neginf: Any = None
) -> jax.Array:
    return jnp.nan_to_num(self, nan=0.0 if nan is None else nan, posinf=posinf, neginf=neginf)


def to_other(self: jax.Array, other: jax.Array, copy: bool = False) -> jax.Array:
    del copy
    return self.astype(other.dtype)


def type_as(self: jax.Array, other: jax.Array) -> jax.Array:
    return self.astype(other.dtype)


def frac(self: jax.Array) -> jax.Array:
    return self - jnp.trunc(self)


def logit(self: jax.Array, eps: float | None = None) -> jax.Array:
    """Returns log(x / (1 - x)), x being kept eps away from 0 and 1 where that is given."""
    x = floating(self)
    return special.logit(x if eps is None else clamp(x, eps, 1 - eps))


def xlogy(self: Any, other: Any) -> jax.Array:
    x, y = (floating(part) for part in promoted(self, other))
    return special.xlogy(x, y)


def logaddexp(self: jax.Array, other: jax.Array) -> jax.Array:
    return jnp.logaddexp(*promoted(self, other))


def abs_(self: jax.Array) -> jax.Array:
    return jnp.abs(self)


_FLOATS = {
    "exp": jnp.exp, "exp2": jnp.exp2, "expm1": jnp.expm1, "log": jnp.log, "log1p": jnp.log1p,
    "log2": jnp.log2, "log10": jnp.log10, "sqrt": jnp.sqrt, "rsqrt": jax.lax.rsqrt,
    "sin": jnp.sin, "cos": jnp.cos, "tan": jnp.tan, "sinh": jnp.sinh, "cosh": jnp.cosh,
    "tanh": jnp.tanh, "asin": jnp.arcsin, "acos": jnp.arccos, "atan": jnp.arctan,
    "asinh": jnp.arcsinh, "acosh": jnp.arccosh, "atanh": jnp.arctanh, "erf": special.erf,
    "erfc": special.erfc, "erfinv": special.erfinv, "sigmoid": jax.nn.sigmoid,
    "reciprocal": jnp.reciprocal, "lgamma": special.gammaln, "digamma": special.digamma,
}  # fmt: skip
_ANY = {
    "neg": jnp.negative, "sign": jnp.sign, "square": jnp.square, "isnan": jnp.isnan,
    "isinf": jnp.isinf, "isfinite": jnp.isfinite, "logical_not": jnp.logical_not,
    "bitwise_not": jnp.invert, "relu": jax.nn.relu,
}  # fmt: skip
_ROUND = {"floor": jnp.floor, "ceil": jnp.ceil, "trunc": jnp.trunc, "round": jnp.round}
_COMPARE: dict[str, Callable[..., Any]] = {
    "eq": jnp.equal, "ne": jnp.not_equal, "lt": jnp.less, "le": jnp.less_equal,
    "gt": jnp.greater, "ge": jnp.greater_equal,
}  # fmt: skip
_TWO: dict[str, Callable[..., Any]] = {
    "maximum": jnp.maximum, "minimum": jnp.minimum, "logical_and": jnp.logical_and,
    "logical_or": jnp.logical_or, "logical_xor": jnp.logical_xor, "atan2": jnp.arctan2,
}  # fmt: skip
_KINDS = ("Tensor", "Scalar")
_ALIASES = {
    "multiply": "mul", "divide": "div", "true_divide": "div", "subtract": "sub",
    "greater": "gt", "greater_equal": "ge", "less": "lt", "less_equal": "le", "not_equal": "ne",
}  # fmt: skip
"""Other names that PyTorch has for operators, and its graphs keep."""
_BITS = {"and": jnp.bitwise_and, "or": jnp.bitwise_or, "xor": jnp.bitwise_xor}

TABLE: dict[str, Callable[..., Any]] = {
    **{f"aten.{name}.default": of_floats(function) for name, function in _FLOATS.items()},
    **{f"aten.{name}.default": of_any(function) for name, function in _ANY.items()},
    **{f"aten.{name}.default": _rounded(function) for name, function in _ROUND.items()},
    **{f"aten.{n}.{kind}": _of_two(f) for n, f in _COMPARE.items() for kind in _KINDS},
    **{f"aten.{name}.default": _of_two(function) for name, function in _TWO.items()},
    **{f"aten.bitwise_{n}.{kind}": _of_two(f) for n, f in _BITS.items() for kind in _KINDS},
    **{f"aten.__{n}__.{kind}": _of_two(f) for n, f in _BITS.items() for kind in _KINDS},
    **{f"aten.remainder.{kind}": _of_two(jnp.remainder) for kind in _KINDS},
    **{f"aten.fmod.{kind}": _of_two(jnp.fmod) for kind in _KINDS},
    **{"aten.max.other": _of_two(jnp.maximum), "aten.min.other": _of_two(jnp.minimum)},
    "aten.abs.default": abs_, "aten.absolute.default": abs_,
    "aten.negative.default": of_any(jnp.negative),
    "aten.add.Tensor": add, "aten.add.Scalar": add,
    "aten.sub.Tensor": sub, "aten.sub.Scalar": sub,
    "aten.rsub.Tensor": rsub, "aten.rsub.Scalar": rsub,
    "aten.mul.Tensor": mul, "aten.mul.Scalar": mul,
    "aten.div.Tensor": div, "aten.div.Scalar": div,
    "aten.div.Tensor_mode": div_mode, "aten.div.Scalar_mode": div_mode,
    "aten.floor_divide.default": floor_divide, "aten.floor_divide.Scalar": floor_divide,
    "aten.pow.Tensor_Scalar": power, "aten.pow.Tensor_Tensor": power, "aten.pow.Scalar": power,
    "aten.clamp.default": clamp, "aten.clamp.Tensor": clamp, "aten.clip.default": clamp,
    "aten.clamp_min.Tensor": clamp_min, "aten.clamp_max.Tensor": clamp_max,
    "aten.clamp_min.default": clamp_min, "aten.clamp_max.default": clamp_max,
    "aten.where.self": where, "aten.where.ScalarSelf": where, "aten.where.ScalarOther": where,
    "aten.where.Scalar": where,
    "aten.masked_fill.Scalar": masked_fill, "aten.masked_fill.Tensor": masked_fill,
    "aten.lerp.Scalar": lerp, "aten.lerp.Tensor": lerp,
    "aten.addcmul.default": addcmul, "aten.addcdiv.default": addcdiv,
    "aten.clone.default": clone, "aten.contiguous.default": clone, "aten.alias.default": clone,
    "aten.lift_fresh_copy.default": clone, "aten.lift_fresh.default": clone,
    "aten.detach.default": detach, "aten.detach_copy.default": detach,
    "aten._to_copy.default": to_copy, "aten.to.dtype": to_dtype,
    "aten.to.device": to_dtype, "aten.to.other": to_other, "aten.type_as.default": type_as,
    "aten.to.dtype_layout": to_copy,
    "aten.nan_to_num.default": nan_to_num, "aten.frac.default": frac,
    "aten.logit.default": logit, "aten.special_logit.default": logit,
    "aten.xlogy.Tensor": xlogy, "aten.xlogy.Scalar_Self": xlogy, "aten.xlogy.Scalar_Other": xlogy,
    "aten.logaddexp.default": logaddexp,
}  # fmt: skip
TABLE |= {
    f"aten.{a}.{kind}": TABLE[f"aten.{n}.{kind}"] for a, n in _ALIASES.items() for kind in _KINDS
}
