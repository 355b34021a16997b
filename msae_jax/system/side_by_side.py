"""Independent tasks side by side, each in a process with its share of the processor's cores.

Small programs keep one core busy and a second one hardly: two of them at once do.
"""

from __future__ import annotations

import contextlib
import io
import logging
import multiprocessing
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from multiprocessing.queues import SimpleQueue
from typing import Any

from msae_jax.system import progress

Task = Callable[[], object]
"""Can be pickled, as `functools.partial` of a module's function can."""


def run(tasks: Sequence[Task]) -> None:
    """Runs the tasks, as many at a time as there are cores; what they return or print is dropped.

    Their progress is shown by this process. Where one raises, the others are stopped, and so they
    are when this process is killed. Where there is one core, the tasks run in this process.
    """
    cores = _cores()
    count = min(len(tasks), len(cores))
    if count < 2:
        for task in tasks:
            task()
        return
    context = multiprocessing.get_context("spawn")
    shares = context.SimpleQueue()
    for first in range(count):
        shares.put(cores[first::count])
    with progress.of_processes(context) as reports:
        pool = ProcessPoolExecutor(count, context, _begin, (shares, reports))
        futures = [pool.submit(_unheard, task) for task in tasks]
        try:
            ended, _ = wait(futures, return_when=FIRST_EXCEPTION)
            for future in ended:
                future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for child in multiprocessing.active_children():
                child.terminate()
            raise
        pool.shutdown()


def _cores() -> list[int]:
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _begin(shares: SimpleQueue[list[int]], reports: Any) -> None:
    """Prepares a process, before it imports what computes and counts cores."""
    share = shares.get()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, share)
    progress.report_to(reports)
    logging.disable()  # this process's messages would be said again by the one that asked
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_end_after, args=(parent,), daemon=True).start()


def _end_after(parent: Any) -> None:
    parent.join()
    os._exit(1)


def _unheard(task: Task) -> None:
    streams = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(streams[0]), contextlib.redirect_stderr(streams[1]):
        task()
