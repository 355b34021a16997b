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

    A program compiled for one processor may not run on another that shares the cache, so each kind
    of processor has its own folder. JAX's own variables (JAX_COMPILATION_CACHE_DIR,
    JAX_ENABLE_COMPILATION_CACHE=false) take precedence.
    """
    with contextlib.suppress(OSError, RuntimeError):  # no home, or not to be written: no cache
        folder = _system_caches() / "msae_jax" / _kind()
        folder.mkdir(parents=True, exist_ok=True)
        if os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(folder)) == str(folder):
            remove_interrupted(folder)
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
    os.environ.setdefault("JAX_COMPILATION_CACHE_MAX_SIZE", str(2**29))  # bytes; the oldest go


def remove_interrupted(folder: Path) -> None:
    """Removes programs whose writer was killed in the middle.

    JAX writes a program, then the time of its use. Without the time it would keep no further
    program in the folder, with a warning for each, and never replace the part that is there.
    """
    if "JAX_COMPILATION_CACHE_MAX_SIZE" in os.environ:  # without a limit there are no times
        return
    used = {path.name.removesuffix("-atime") for path in folder.glob("*-atime")}
    for path in folder.glob("*-cache"):
        if path.name.removesuffix("-cache") not in used:
            path.unlink(missing_ok=True)


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
