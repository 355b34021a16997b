"""What the C library does with memory that is freed."""

from __future__ import annotations

import ctypes
import sys


def give_back() -> None:
    """Gives free memory back to the system; a few milliseconds.

    glibc returns a freed block at once only above a size that rises to that of the largest freed so
    far, at most 32 MiB. Smaller ones stay, and the heap grows where none fits the next request.
    Other C libraries are left alone.
    """
    if sys.platform.startswith("linux"):
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
