"""The versions and devices that a result was made with."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

ASK_FOR_DEVICES = ("JAX_PLATFORMS", "JAX_PLATFORM_NAME")
"""Environment variables that choose the platform on which JAX computes."""

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


def missing_device() -> str | None:
    """Returns why JAX has no device to compute on, with the variable that asks for it, or None."""
    import jax

    try:
        jax.devices()
    except (
        Exception
    ) as error:  # JAX raises a bare AssertionError for some, a RuntimeError for others
        given = [f"{name}={os.environ[name]}" for name in ASK_FOR_DEVICES if os.environ.get(name)]
        asked = f"{' and '.join(given)} asks for it: unset it" if given else "none is set"
        reason = str(error).partition("\n")[0].partition(" (set ")[0].rstrip(".")
        return f"JAX finds no device: {reason or type(error).__name__}; {asked}."
    return None


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
    """Returns the processor's model name, from /proc/cpuinfo if there is one; adds any AVX-512.

    In clouds, processors with and without AVX-512 have the same model name, but the speed of their
    float32 matrix products differs by a factor of two.
    """
    name = _entries(table).get("model name") or platform.processor() or platform.machine()
    return f"{name}, AVX-512" if "avx512f" in processor_flags(table) else name


def processor_flags(table: Path = Path("/proc/cpuinfo")) -> set[str]:
    """Returns the features of the processor, such as `avx512f`; none where they are not listed."""
    entries = _entries(table)
    return set((entries.get("flags") or entries.get("Features") or "").split())  # x86, ARM


def _entries(table: Path) -> dict[str, str]:
    """Returns what /proc/cpuinfo says of the last core."""
    lines = table.read_text().splitlines() if table.is_file() else []
    pairs = (line.partition(":") for line in lines)
    return {key.strip(): value.strip() for key, _, value in pairs}
