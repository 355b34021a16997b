"""Compiler options: of programs that run once, to make initial values, that train, that infer."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import jax

from msae_jax.system.environment import processor_flags

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


def jit_training(function: Function, **arguments: Any) -> Function:
    """Returns `jax.jit(function, **arguments)` for a program that trains.

    On processors where 512-bit instructions are known to pay (`wide`), loops are compiled for
    these; XLA prefers 256 bits. Steps take 0.92 to 1.0 of the time. Measured on two cores of an
    AMD EPYC of the fifth generation, in turn.

    Inside a JAX transformation, which refuses compiler options, it is `function` itself.
    """
    return cast(Function, _Program(function, {}, arguments))


def jit_inference(function: Function, **arguments: Any) -> Function:
    """Does as `jit_training`, for a program that only goes forward.

    On CPUs its matrix products are Eigen's, and not YNNPACK's, which XLA takes by default: batches
    of some hundred samples take 0.83 to 0.88 of the time. Programs that train gain nothing by it,
    and those with convolutions lose a third. Measured on two cores of an Intel Xeon with AVX-512,
    in turn.
    """
    options = {"xla_cpu_experimental_ynn_fusion_type": ""} if HAS_YNNPACK else {}
    return cast(Function, _Program(function, options, arguments))


def wide(table: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether 512-bit instructions are taken to pay: where there are those for bfloat16, too.

    Measured on one such processor, an AMD EPYC of the fifth generation. An Intel Xeon without
    them gained here and lost there.
    """
    return "avx512_bf16" in processor_flags(table)


class _Program:
    """What `jax.jit` returns, made when it is first needed: to ask for the backend starts it."""

    def __init__(self, function: Any, on_cpus: dict[str, Any], arguments: dict[str, Any]) -> None:
        functools.update_wrapper(self, function)
        self._function, self._on_cpus, self._arguments = function, on_cpus, arguments

    @functools.cached_property
    def _compiled(self) -> Any:
        options = None
        if jax.default_backend() == "cpu":
            options = self._on_cpus | ({"xla_cpu_prefer_vector_width": 512} if wide() else {})
        return jax.jit(self._function, **self._arguments, compiler_options=options or None)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        traced = any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((args, kwargs)))
        return (self._function if traced else self._compiled)(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        """Returns what else a compiled function has, such as `lower`."""
        if name.startswith("_") and name != "_cache_size":  # nor by a look at what it is
            raise AttributeError(name)
        return getattr(self._compiled, name)
