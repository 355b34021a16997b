"""What reading a hostile file may cost."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager

SECONDS = 1.0
MEMORY = 200e6  # bytes beyond the file's size


@contextmanager
def in_time() -> Iterator[None]:
    """Asserts that its block takes less than `SECONDS` of this process's time.

    What earlier tests left is kept from the garbage collector meanwhile: to walk through that again
    and again is no time that the file costs.
    """
    gc.freeze()
    start = time.process_time()
    try:
        yield
    finally:
        seconds = time.process_time() - start
        gc.unfreeze()
        assert seconds < SECONDS
