"""Trackio."""

from __future__ import annotations

import contextvars
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import trackio
from trackio.sqlite_storage import SQLiteStorage

from msae_jax.trackers import PROJECT, About


class Trackio:
    """Logs each series as a run, those of one training run as a group; the epoch is the step.

    The environment decides the rest, as Trackio has it: `TRACKIO_DIR` for the folder, or
    `TRACKIO_SPACE_ID` or `TRACKIO_SERVER_URL`; `TRACKIO_PROJECT` names the project. Trackio keeps
    the name `step` for itself: the number of batches is `batches` there.
    """

    def __init__(self, about: About) -> None:
        self._about = about
        self._project = os.environ.get("TRACKIO_PROJECT", PROJECT)
        self._is_remote = bool({"TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL"} & {*os.environ})
        self._runs: dict[str, Any] = {}

    def begin(self, series: str, config: dict[str, Any], sent: int) -> int:
        name = f"{self._about.name}-{self._about.id}/{series}"

        def init() -> Any:
            return trackio.init(
                self._project,
                name=name,
                group=f"{self._about.name}-{self._about.id}",
                config=config,
                resume="allow",
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )

        # in a context of its own: Trackio would end the run before, and the series grow together
        self._runs[series] = contextvars.Context().run(init)
        if self._is_remote:
            return sent
        return SQLiteStorage.get_max_step_for_run(self._project, name) or 0

    def log(self, series: str, epoch: int, metrics: dict[str, float]) -> None:
        named = {"batches" if name == "step" else name: value for name, value in metrics.items()}
        self._runs[series].log(named, step=epoch)

    def end(self, series: str, epoch: int, summary: dict[str, Any], images: Sequence[Path]) -> None:
        shown = {
            f"reconstructions_{i}": trackio.Image(str(path))
            for i, path in enumerate(images, start=1)
        }
        self._runs[series].log({**summary, **shown}, step=epoch)

    def close(self) -> None:
        for run in self._runs.values():
            run.finish()
