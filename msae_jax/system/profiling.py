"""A profile of one epoch of training, by JAX's own profiler."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax

VIEWER = "https://ui.perfetto.dev"


@contextlib.contextmanager
def profiled_epoch(folder: Path, epochs: int) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Profiles the second epoch that is trained in the block, because the first one compiles.

    Where `epochs` is 1, it profiles all of the block. What fails is one line on standard error:
    training goes on.

    Args:
      folder: gets what JAX's profiler writes. epochs: that are to be trained.

    Yields:
      What is to be called after each epoch.
    """
    state = "waits"

    def turn(*, on: bool) -> None:
        nonlocal state
        try:
            if on:
                jax.profiler.start_trace(str(folder), create_perfetto_trace=True)
            else:
                jax.profiler.stop_trace()
            state = "runs" if on else "done"
        except Exception as error:  # of the profiler, or a full disk
            state = "failed"
            text = " ".join(str(error).split())
            print(f"msae: warning: there is no profile: {text}", file=sys.stderr)

    def on_epoch(metrics: dict[str, Any]) -> None:
        if state in ("waits", "runs"):
            turn(on=state == "waits")

    if epochs == 1:
        turn(on=True)
    try:
        yield on_epoch
    finally:
        if state == "runs":
            turn(on=False)
    if state == "done":
        written = max(folder.rglob("perfetto_trace.json.gz"), key=lambda path: path.stat().st_mtime)
        print(f"profile: {written}; open it at {VIEWER}, which reads it in your browser")
    elif state == "waits":
        print("msae: note: no profile: fewer than two epochs were trained.", file=sys.stderr)
