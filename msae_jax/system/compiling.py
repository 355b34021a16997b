"""Compiler options of programs that run once, to make initial values, and of inference."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

import jax

Function = TypeVar("Function", bound=Callable[..., Any])

HAS_YNNPACK = jax.__version_info__ >= (0, 8, 2)  # XLA before has no such option


def fast_compile_options() -> dict[str, bool | int | float | str] | None:
    """Returns the `compiler_options` of `jax.jit` for such a program; None for the defaults.

    The program runs for milliseconds, but on a CPU it takes as long to compile as one that trains.
    LLVM's optimisation level 1 needs two fifths to two thirds of the compile time of level 3, and
    gives the same bits; level 0 does not. XLA's older emitter of loops takes another quarter off,
    with the same bits, too; programs that train run slower by it.
    """
    if jax.default_backend() != "cpu":
        return None
    return {"xla_backend_optimization_level": 1, "xla_cpu_use_fusion_emitters": False}


def jit_inference(function: Function, **arguments: Any) -> Function:
    """Returns `jax.jit(function, **arguments)` for a program that only goes forward.

    On CPUs its matrix products are Eigen's, and not YNNPACK's, which XLA takes by default: batches
    of some hundred samples take 0.83 to 0.88 of the time. Programs that train gain nothing by it,
    and those with convolutions lose a third. Measured on two cores of an Intel Xeon with AVX-512,
    in turn.

    Inside a JAX transformation, which refuses compiler options, it is `function` itself.
    """

    @functools.cache  # made when it is first called: to ask for the backend starts it
    def program() -> Callable[..., Any]:
        cpu = jax.default_backend() == "cpu" and HAS_YNNPACK
        options = {"xla_cpu_experimental_ynn_fusion_type": ""} if cpu else None
        return jax.jit(function, **arguments, compiler_options=options)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        traced = any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((args, kwargs)))
        return (function if traced else program())(*args, **kwargs)

    return cast(Function, call)
