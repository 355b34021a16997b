"""A progress bar on standard error, silent where that is not a terminal."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

Show = Callable[[dict[str, float]], None]

_reports: Any = None
"""In a process whose progress another one shows: the queue to it."""


@contextlib.contextmanager
def progress_bar(total: int, label: str) -> Iterator[Show]:
    """Yields a function to call with each epoch's metrics; shows losses and the time left."""
    if _reports is not None:
        _reports.put((os.getpid(), label, total, {}))
        yield lambda metrics: _reports.put((os.getpid(), label, total, metrics))
    elif not sys.stderr.isatty():
        yield lambda metrics: None
    else:
        with _bars() as bars:
            task = bars.add_task(label, total=total, losses="compiling")
            yield lambda metrics: _update(bars, task, metrics)


@contextlib.contextmanager
def of_processes(context: Any) -> Iterator[Any]:
    """Yields what other processes `report_to`: a bar each, of what each does at present.

    Args:
      context: of `multiprocessing`, by which they are started.
    """
    if not sys.stderr.isatty():
        yield None
        return
    reports = context.SimpleQueue()
    with _bars() as bars:
        thread = threading.Thread(target=_show_all, args=(bars, reports))
        thread.start()
        try:
            yield reports
        finally:
            reports.put(None)
            thread.join()


def report_to(reports: Any) -> None:
    """Lets every `progress_bar` of this process be shown by the one that gave `reports`."""
    global _reports
    _reports = reports


def _show_all(bars: Any, reports: Any) -> None:
    shown: dict[int, Any] = {}
    while (report := reports.get()) is not None:
        process, label, total, metrics = report
        if not metrics:  # something new begins
            if process in shown:
                bars.remove_task(shown[process])
            shown[process] = bars.add_task(label, total=total, losses="compiling")
        else:
            _update(bars, shown[process], metrics)


def _bars() -> Any:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("epochs  {task.fields[losses]}  left"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )


def _update(bars: Any, task: Any, metrics: dict[str, float]) -> None:
    losses = f"loss {metrics['train_loss']:.5g}  test {metrics['test_loss']:.5g}"
    bars.update(task, completed=metrics["epoch"], losses=losses)
