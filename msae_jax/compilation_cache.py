"""Compiled programs, kept between processes where the system keeps caches."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import sys
from pathlib import Path


def enable() -> None:
    """Turns JAX's persistent compilation cache on; call it before JAX is imported.

    Programs compiled for one processor may not run on another that shares the folder, so that each
    kind has its own. JAX's own variables (JAX_COMPILATION_CACHE_DIR,
    JAX_ENABLE_COMPILATION_CACHE=false) go before it.
    """
    folder = _system_caches() / "msae_jax" / _kind()
    with contextlib.suppress(OSError):  # nowhere to write: compile anew each time
        folder.mkdir(parents=True, exist_ok=True)
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(folder))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
    os.environ.setdefault("JAX_COMPILATION_CACHE_MAX_SIZE", str(2**29))  # bytes; the oldest go


def _system_caches() -> Path:
    if "XDG_CACHE_HOME" in os.environ:
        return Path(os.environ["XDG_CACHE_HOME"])
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home()))
    return Path.home() / ".cache"


def _kind() -> str:
    """Returns a name for this kind of processor, by what it says it can do."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        features = sorted({line for line in lines if line.startswith(("flags", "Features"))})
    except OSError:
        features = [platform.processor()]
    digest = hashlib.sha256("\n".join(features).encode()).hexdigest()
    return f"{platform.machine()}-{digest[:12]}"
