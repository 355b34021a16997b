"""Products in bfloat16: what a training step multiplies is rounded, what it adds up is not.

For every matrix product and convolution of the model, its gradients among them,

    a b    becomes    bf16(a) bf16(b),    added up and given back in float32

while parameters, losses, statistics and the optimiser stay float32. As bfloat16 has the exponents
of float32, the loss need not be scaled. JAX calls such a product the algorithm `BF16_BF16_F32`, and
marks with it what is traced under this name, derivatives too. XLA, however, ignores the mark on
CPUs, and knows it for no convolution. So the traced gradient is rewritten: each operand of a marked
product is converted to bfloat16. CPUs without units for it round the operands and multiply them in
float32, which gives the same but for the order of the sums.

It is done to the gradient as a whole, whatever the model is made of: our layers, your own, a
program's operators. What asks for a precision of its own keeps it.

Sources: Micikevicius et al., "Mixed Precision Training" (2018); Kalamkar et al., "A Study of
BFLOAT16 for Deep Learning Training" (2019).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend import core

from msae_jax.system import precision
from msae_jax.system.precision import ALGORITHM

Function = TypeVar("Function", bound=Callable[..., Any])
PRODUCTS = (lax.dot_general_p, lax.conv_general_dilated_p)
MARK = lax.DotAlgorithmPreset[ALGORITHM]


def with_products_in(name: str, function: Function) -> Function:
    """Returns a function of arrays in trees that computes its products so; not to differentiate.

    Args:
      name: `float32`, which returns `function` itself, or `bfloat16`.
    """
    if name == "float32":
        return function

    def run(*args: Any) -> Any:
        with jax.default_matmul_precision(ALGORITHM):
            closed, shapes = jax.make_jaxpr(function, return_shape=True)(*args)
        results = core.jaxpr_as_fun(_rewritten(closed))(*jax.tree.leaves(args))
        return jax.tree.unflatten(jax.tree.structure(shapes), results)

    return run  # type: ignore[return-value]


def _rewritten(value: Any) -> Any:
    """Returns a traced function with its marked products rounded; anything else as it is."""
    if isinstance(value, tuple):  # branches; a named tuple holds none
        return tuple(map(_rewritten, value)) if type(value) is tuple else value
    if isinstance(value, core.ClosedJaxpr):
        return value.replace(jaxpr=_rewritten(value.jaxpr))
    if not isinstance(value, core.Jaxpr):
        return value
    equations = []
    for equation in value.eqns:
        if equation.primitive in PRODUCTS and equation.params["precision"] is MARK:
            equations += _product(equation)
        else:
            params = {name: _rewritten(inner) for name, inner in equation.params.items()}
            equations.append(equation.replace(params=params))
    return value.replace(eqns=equations)


def _product(equation: Any) -> list[Any]:
    """Returns the equations that round the operands of a product and multiply them.

    A product of anything but float32 only loses its mark.
    """
    inputs, params = equation.invars, equation.params | {"precision": None}
    if any(atom.aval.dtype != jnp.float32 for atom in inputs):
        return [equation.replace(params=params)]
    primitive = equation.primitive

    def on_units(a: jax.Array, b: jax.Array) -> Any:
        a, b = a.astype(jnp.bfloat16), b.astype(jnp.bfloat16)
        return primitive.bind(a, b, **params | {"preferred_element_type": jnp.dtype(jnp.float32)})

    def emulated(a: jax.Array, b: jax.Array) -> Any:
        a, b = (lax.reduce_precision(x, exponent_bits=8, mantissa_bits=7) for x in (a, b))
        return primitive.bind(a, b, **params)

    def on_units_of_cpu(a: jax.Array, b: jax.Array) -> Any:
        return _dot_on_cpu(a, b, *params["dimension_numbers"])

    has_units = primitive is lax.dot_general_p and precision.processor_has_units()
    cpu = on_units_of_cpu if has_units else emulated

    def multiply(a: jax.Array, b: jax.Array) -> Any:
        return lax.platform_dependent(a, b, cpu=cpu, default=on_units)

    shapes = [jax.ShapeDtypeStruct(atom.aval.shape, atom.aval.dtype) for atom in inputs]
    traced = jax.make_jaxpr(multiply)(*shapes).jaxpr
    outer = dict(zip([*traced.invars, *traced.outvars], [*inputs, *equation.outvars], strict=True))

    def named(atoms: Sequence[Any]) -> list[Any]:
        return [atom if isinstance(atom, core.Literal) else outer.get(atom, atom) for atom in atoms]

    return [e.replace(invars=named(e.invars), outvars=named(e.outvars)) for e in traced.eqns]


def _dot_on_cpu(a: jax.Array, b: jax.Array, contracted: Any, batched: Any) -> jax.Array:
    """Returns a product in bfloat16 as [..., M, K] times [..., K, N].

    XLA 0.10.2 fails on products whose transposed operands or results it folds into them: what is
    behind a barrier it leaves alone.
    """
    free = [
        [axis for axis in range(x.ndim) if axis not in {*own, *shared}]
        for x, own, shared in zip((a, b), contracted, batched, strict=True)
    ]
    a = a.transpose(*batched[0], *free[0], *contracted[0])
    b = b.transpose(*batched[1], *contracted[1], *free[1])
    n = len(batched[0])
    batch, rows = a.shape[:n], a.shape[n : n + len(free[0])]
    inner = math.prod(a.shape[n + len(free[0]) :])
    columns = b.shape[b.ndim - len(free[1]) :]
    left = a.reshape(*batch, math.prod(rows), inner).astype(jnp.bfloat16)
    right = b.reshape(*batch, inner, math.prod(columns)).astype(jnp.bfloat16)
    left, right = lax.optimization_barrier((left, right))
    axes = tuple(range(n))
    product = lax.dot_general(
        left, right, (((n + 1,), (n,)), (axes, axes)), preferred_element_type=jnp.float32
    )
    return lax.optimization_barrier(product).reshape(*batch, *rows, *columns)
