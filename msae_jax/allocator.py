"""What the C library does with memory that is freed."""

from __future__ import annotations

import ctypes
import sys


def give_back() -> None:
    """Gives free memory back to the system; a few milliseconds.

    glibc keeps freed blocks of up to 32 MiB, the more the larger those were that were freed before,
    and takes more where none of them fits. Other C libraries are left alone.
    """
    if sys.platform.startswith("linux"):
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
