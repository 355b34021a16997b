"""The versions and devices that a result was made with."""

from __future__ import annotations

import platform
from importlib import metadata
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
