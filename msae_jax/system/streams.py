"""The standard streams, made fit to print to whatever they are connected with."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import threading
import warnings
from typing import NoReturn


def prepare() -> None:
    """Opens those standard streams that are closed, and lets standard output show every text.

    A closed stream is connected to the null device. Otherwise the next opened file, such as one of
    a checkpoint, would get its descriptor, and C libraries would print into that file. Characters
    that the terminal cannot show are printed as backslash escapes.
    """
    for number, name, mode in [(0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")]:
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def leave(status: int) -> NoReturn:
    """Ends this process without waiting for threads."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # nobody reads it any more
            stream.flush()
    os._exit(status)


def silence_background() -> None:
    """Keeps what fails in the threads and finalizers of Orbax and TensorStore from being printed.

    It is raised where it is waited for, and reported there, once.
    """
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    threading.excepthook = lambda arguments: None
    sys.unraisablehook = lambda unraisable: None
    warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
