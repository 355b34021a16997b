"""How programs are compiled that make initial values."""

from __future__ import annotations

import jax


def quickly() -> dict[str, bool | int | float | str] | None:
    """Returns the `compiler_options` of `jax.jit` for such a program; None for the defaults.

    It runs once, in milliseconds, and on a CPU takes as long to compile as one that trains: with
    the first of LLVM's levels of optimisation two fifths to two thirds of the time that the third
    takes. The results are the same bits, which those without any optimisation are not.
    """
    return {"xla_backend_optimization_level": 1} if jax.default_backend() == "cpu" else None
