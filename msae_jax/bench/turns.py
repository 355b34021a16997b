"""Calls timed in turn."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TypeVar

SETTLE = 0.05

T = TypeVar("T")


def in_turn(
    calls: Mapping[str, Callable[[], T]], repeats: int
) -> tuple[dict[str, list[float]], dict[str, T]]:
    """Times calls in turn, so that other work on the machine slows all alike.

    A call that takes less than `SETTLE` seconds is first repeated for so long, not timed: threads
    of the side before it still wait busily for more work, and take a core.

    Returns:
      By name, the seconds of each repeat; and by name, what the last repeat returned.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    last: dict[str, T] = {}
    for _ in range(repeats):
        for name, call in calls.items():
            taken = seconds[name][-1] if seconds[name] else 0.0
            begin = start = time.perf_counter()
            while taken < SETTLE and start - begin < SETTLE:
                call()
                start = time.perf_counter()
            last[name] = call()
            seconds[name].append(time.perf_counter() - start)
    return seconds, last
