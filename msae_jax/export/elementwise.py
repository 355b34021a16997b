"""Primitives that compute each value by itself, as ONNX operators, which repeat as NumPy does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from msae_jax.export.builder import Builder, Sizes, Tensor, Unsupported, constant, is_one

Rule = Callable[..., Tensor]

PLAIN = {  # the operator computes what the primitive computes
    "abs": "Abs",
    "acos": "Acos",
    "acosh": "Acosh",
    "add": "Add",
    "add_any": "Add",
    "asin": "Asin",
    "asinh": "Asinh",
    "atan": "Atan",
    "atanh": "Atanh",
    "ceil": "Ceil",
    "cos": "Cos",
    "cosh": "Cosh",
    "div": "Div",
    "eq": "Equal",
    "erf": "Erf",
    "exp": "Exp",
    "floor": "Floor",
    "ge": "GreaterOrEqual",
    "gt": "Greater",
    "le": "LessOrEqual",
    "log": "Log",
    "logistic": "Sigmoid",
    "lt": "Less",
    "max": "Max",
    "min": "Min",
    "mul": "Mul",
    "neg": "Neg",
    "pow": "Pow",
    "sign": "Sign",
    "sin": "Sin",
    "sinh": "Sinh",
    "sqrt": "Sqrt",
    "sub": "Sub",
    "tan": "Tan",
    "tanh": "Tanh",
}


def joint(inputs: list[Tensor], shape: Sizes) -> Sizes:
    """Returns the sizes of what is computed of each value of inputs, numbers among them."""
    sizes = [1] * len(shape)
    for tensor in inputs:
        for axis, size in enumerate(tensor.sizes):
            sizes[axis] = sizes[axis] if is_one(size) else size
    return tuple(sizes)


class Math:
    """Writes formulas of values of one shape; `a + b` is an operator."""

    def __init__(self, g: Builder, tensor: Tensor, shape: Sizes) -> None:
        self.g, self.tensor, self.shape = g, tensor, shape

    def __call__(self, operator: str, *others: Any, dtype: Any = None) -> Math:
        """Applies an operator to this and to others, which may be numbers."""
        inputs = [self.tensor, *(self._tensor(other) for other in others)]
        kind = self.tensor.dtype if dtype is None else dtype
        sizes = joint(inputs, self.shape)
        made = self.g.node(operator, inputs, sizes, kind, shape=self.shape)
        return Math(self.g, made, self.shape)

    def _tensor(self, other: Any) -> Tensor:
        if isinstance(other, Math):
            return other.tensor
        return constant(np.array(other, self.tensor.dtype))

    def where(self, a: Any, b: Any) -> Math:
        """Returns a where this is true, else b; one of them is a value and not a number."""
        known = a if isinstance(a, Math) else b
        inputs = [self.tensor, known._tensor(a), known._tensor(b)]
        sizes = joint(inputs, self.shape)
        made = self.g.node("Where", inputs, sizes, known.tensor.dtype, shape=self.shape)
        return Math(self.g, made, self.shape)


def _formula(write: Callable[..., Math]) -> Rule:
    """Makes a rule of a formula of its inputs and the primitive's parameters."""

    def rule(g: Builder, inputs: list[Tensor], out: Any, params: dict[str, Any]) -> Tensor:
        return write(*(Math(g, tensor, out.shape) for tensor in inputs), **params).tensor

    return rule


def _plain(operator: str) -> Rule:
    def rule(g: Builder, inputs: list[Tensor], out: Any, params: dict[str, Any]) -> Tensor:
        if out.dtype == np.bool_ and operator in ("Max", "Min"):
            operator_ = {"Max": "Or", "Min": "And"}[operator]
        else:
            operator_ = operator
        return g.node(operator_, inputs, joint(inputs, out.shape), out.dtype, shape=out.shape)

    return rule


def _of_truths(operator: str) -> Rule:
    def rule(g: Builder, inputs: list[Tensor], out: Any, params: dict[str, Any]) -> Tensor:
        if out.dtype != np.bool_:
            raise Unsupported("of the bits of integers")
        return g.node(operator, inputs, joint(inputs, out.shape), out.dtype, shape=out.shape)

    return rule


def _select(g: Builder, inputs: list[Tensor], out: Any, params: dict[str, Any]) -> Tensor:
    which, *cases = inputs
    if len(cases) != 2 or which.dtype != np.bool_:
        raise Unsupported("among more than two cases")
    ordered = [which, cases[1], cases[0]]
    return g.node("Where", ordered, joint(ordered, out.shape), out.dtype, shape=out.shape)


def _cast(g: Builder, inputs: list[Tensor], out: Any, params: dict[str, Any]) -> Tensor:
    return g.cast(inputs[0], out.dtype)


def _same(g: Builder, inputs: list[Tensor], out: Any, params: dict[str, Any]) -> Tensor:
    return inputs[0]


def _reduce_precision(x: Math, *, exponent_bits: int, mantissa_bits: int) -> Math:
    if (exponent_bits, mantissa_bits) != (8, 23):
        raise Unsupported("to less than float32")
    return x


def _integer_pow(x: Math, *, y: int) -> Math:
    if y in (2, -2):
        squared = x("Mul", x)
        return squared if y == 2 else squared("Reciprocal")
    return x("Reciprocal") if y == -1 else x("Pow", y)


def _expm1(x: Math, **_: Any) -> Math:
    """Near zero exp(x) - 1 = 2 t / (1 - t) with t = tanh(x / 2), which loses no digits."""
    half = x("Mul", 0.5)("Max", -1.0)("Min", 1.0)("Tanh")
    near = half("Mul", 2.0)("Div", half("Neg")("Add", 1.0))
    return x("Abs")("Less", 1.0, dtype=np.bool_).where(near, x("Exp")("Sub", 1.0))


def _log1p(x: Math, **_: Any) -> Math:
    """Near zero log(1 + x) = log(u) x / (u - 1) with u = 1 + x as rounded (Kahan)."""
    u = x("Add", 1.0)
    log, off = u("Log"), u("Sub", 1.0)
    alike = off("Equal", 0.0, dtype=np.bool_)
    near = alike.where(x, log("Mul", x)("Div", alike.where(1.0, off)))
    return x("Greater", 1.0, dtype=np.bool_).where(log, near)


def _is_finite(x: Math, **_: Any) -> Math:
    return x("Sub", x)("Equal", 0.0, dtype=np.bool_)


def _clamp(low: Math, x: Math, high: Math, **_: Any) -> Math:
    return x("Max", low)("Min", high)


def _round(x: Math, *, rounding_method: Any) -> Math:
    if int(rounding_method) == 1:  # to even, as ONNX does
        return x("Round")
    return x("Abs")("Add", 0.5)("Floor")("Mul", x("Sign"))


def _rem(g: Builder, inputs: list[Tensor], out: Any, params: dict[str, Any]) -> Tensor:
    sizes = joint(inputs, out.shape)
    return g.node("Mod", inputs, sizes, out.dtype, shape=out.shape, fmod=1)


def _gelu_tail(x: Math, **_: Any) -> Math:
    return x("Erf")("Neg")("Add", 1.0)


RULES: dict[str, Rule] = {
    **{name: _plain(operator) for name, operator in PLAIN.items()},
    **{name: _of_truths(name.capitalize()) for name in ("and", "or", "xor", "not")},
    "clamp": _formula(_clamp),
    "convert_element_type": _cast,
    "copy": _same,
    "copy_p": _same,
    "erfc": _formula(_gelu_tail),
    "exp2": _formula(lambda x, **_: x("Mul", float(np.log(2)))("Exp")),
    "expm1": _formula(_expm1),
    "integer_pow": _formula(_integer_pow),
    "is_finite": _formula(_is_finite),
    "log1p": _formula(_log1p),
    "ne": _formula(lambda x, y, **_: x("Equal", y, dtype=np.bool_)("Not")),
    "optimization_barrier": _same,
    "reduce_precision": _formula(_reduce_precision),
    "rem": _rem,
    "round": _formula(_round),
    "rsqrt": _formula(lambda x, **_: x("Sqrt")("Reciprocal")),
    "select_n": _select,
    "square": _formula(lambda x, **_: x("Mul", x)),
    "stop_gradient": _same,
}
