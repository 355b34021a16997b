"""Products in bfloat16: how they are asked for, and whether a device has units for them."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from msae_jax.system.environment import processor_flags

ALGORITHM = "BF16_BF16_F32"
"""JAX's name of the product of operands rounded to bfloat16, added up in float32."""
UNITS = {"avx512_bf16", "amx_bf16", "bf16"}
"""What /proc/cpuinfo lists of a processor that has them: the first two of x86, the last of ARM."""


def asked_for() -> bool:
    """Whether what is traced now is to compute its products in bfloat16."""
    import jax

    return bool(getattr(jax.config, "jax_default_matmul_precision") == ALGORITHM)  # noqa: B009


def exact(precision: str) -> contextlib.AbstractContextManager[Any]:
    """Keeps products in float32 while they are traced, within what is traced in bfloat16."""
    import jax

    if precision == "float32":
        return contextlib.nullcontext()
    return jax.default_matmul_precision("highest")


def remark(precision: str) -> str | None:
    """Returns what a precision means on the devices that JAX has found; None where they have it."""
    import jax

    if precision == "float32":
        return None
    why = missing(jax.local_devices()[0])
    if why is None:
        return None
    return f"{why}: the precision bfloat16 gives the same numbers here, and gains no time."


def processor_has_units(table: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the processor is known to have units for bfloat16."""
    return bool(processor_flags(table) & UNITS)


def missing(device: Any, table: Path = Path("/proc/cpuinfo")) -> str | None:
    """Returns why a device may have no units for bfloat16, or None."""
    if device.platform == "tpu":
        return None
    if device.platform == "gpu":
        capability = str(getattr(device, "compute_capability", ""))  # NVIDIA's, such as 8.0
        major = capability.partition(".")[0]
        if not major.isdigit():
            return f"it is not known whether the GPU {device.device_kind} has units for bfloat16"
        if int(major) >= 8:
            return None
        return (
            f"the GPU {device.device_kind} has no units for bfloat16 (compute capability "
            f"{capability}, and they came with 8.0)"
        )
    if device.platform != "cpu" or not processor_flags(table):
        return f"it is not known whether this {device.platform.upper()} has units for bfloat16"
    if processor_has_units(table):
        return None
    return "this CPU has no units for bfloat16 (neither avx512_bf16 nor amx_bf16)"
