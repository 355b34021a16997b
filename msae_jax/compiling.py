"""How programs are compiled that run once: those that make initial values."""

from __future__ import annotations

import jax


def quickly() -> dict[str, bool | int | float | str] | None:
    """Returns their `compiler_options`, for `jax.jit`.

    On a CPU such a program takes longer to compile than to run, and no less than one that trains:
    with the first of LLVM's levels of optimisation two fifths to two thirds of the time that the
    third takes. Its results are the same bits, which those without any optimisation are not.
    """
    return {"xla_backend_optimization_level": 1} if jax.default_backend() == "cpu" else None
