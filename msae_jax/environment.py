"""The versions and devices that a result was made with."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("msae-jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def versions() -> dict[str, str]:
    """Returns the versions of Python and of the packages that numbers depend on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def describe() -> dict[str, Any]:
    """Returns versions, operating system and devices, for the record of a result."""
    import jax

    devices = jax.devices()
    return {
        "versions": versions(),
        "platform": f"{platform.system()} {platform.machine()}",
        "device": f"{len(devices)} x {devices[0].platform} ({devices[0].device_kind})",
    }


def describe_machine() -> dict[str, Any]:
    """Returns `describe`'s record with the processor and its cores, on which times depend."""
    return describe() | {"processor": _processor(), "cores": os.cpu_count()}


def _processor(table: Path = Path("/proc/cpuinfo")) -> str:
    """Returns the processor's model, as Linux's own table has it where there is one.

    With AVX-512 or without it float32 products differ in speed by two, under one name in clouds.
    """
    lines = table.read_text().splitlines() if table.is_file() else []
    pairs = (line.partition(":") for line in lines)
    entries = {key.strip(): value.strip() for key, _, value in pairs}
    name = entries.get("model name") or platform.processor() or platform.machine()
    return f"{name}, AVX-512" if "avx512f" in entries.get("flags", "").split() else name
