"""A progress bar on standard error, silent where that is not a terminal."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def progress_bar(total: int, label: str) -> Iterator[Callable[[dict[str, float]], None]]:
    """Yields a function to call with each epoch's metrics; shows losses and the time left."""
    if not sys.stderr.isatty():
        yield lambda metrics: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("epochs  {task.fields[losses]}  left"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    ) as progress:
        task = progress.add_task(label, total=total, losses="compiling")

        def show(metrics: dict[str, float]) -> None:
            losses = f"loss {metrics['train_loss']:.5g}  test {metrics['test_loss']:.5g}"
            progress.update(task, completed=metrics["epoch"], losses=losses)

        yield show
