"""The same bits from run to run, where a device does not give them by itself."""

from __future__ import annotations

import os

_FLAG = "--xla_gpu_deterministic_ops=true"
"""Of XLA: kernels that add in a fixed order, and no choice of kernels by measured time."""


def ask() -> None:
    """Asks XLA for it; call it before JAX is used."""
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_FLAG}".strip()


def remark() -> str | None:
    """Returns what asking means on the devices that JAX has found; None where it changes bits."""
    import jax

    platform = jax.default_backend()
    if platform == "gpu":
        return None
    return (
        f"--deterministic changes nothing on a {platform.upper()}: there the same command gives "
        "the same bits anyway, on the same machine and with the same versions."
    )
