"""Trackers of a user's own: one that writes what it is given to a file, and some that fail."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from msae_jax.trackers import About


class Own:
    def __init__(self, about: About) -> None:
        self._about = about
        self._path = about.folder / "own.jsonl"

    def _write(self, *entry: Any) -> None:
        with self._path.open("a") as file:
            file.write(json.dumps(entry) + "\n")

    def begin(self, series: str, config: dict[str, Any], sent: int) -> int:
        self._write("begin", series, config)
        return sent

    def log(self, series: str, epoch: int, metrics: dict[str, float]) -> None:
        self._write("log", series, epoch, metrics)

    def end(self, series: str, epoch: int, summary: dict[str, Any], images: Sequence[Path]) -> None:
        self._write("end", series, epoch, summary, [path.stat().st_size for path in images])

    def close(self) -> None:
        self._write("close", self._about.name)


class Full(Own):
    """The disk is full."""

    def log(self, series: str, epoch: int, metrics: dict[str, float]) -> None:
        raise OSError(28, "No space left on device")


class Offline(Own):
    """The network never answers."""

    def begin(self, series: str, config: dict[str, Any], sent: int) -> int:
        time.sleep(600)
        return 0


class Dies(Own):
    """Takes its process with it."""

    def begin(self, series: str, config: dict[str, Any], sent: int) -> int:
        os._exit(9)
