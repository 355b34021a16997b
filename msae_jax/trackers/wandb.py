"""Weights & Biases."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import wandb

from msae_jax.trackers import PROJECT, About


class Wandb:
    """Logs each series as a run, those of one training run as a group; the epoch is the step.

    The environment decides the rest, as Weights & Biases has it: `WANDB_PROJECT`, and
    `WANDB_MODE=offline` for RUN/wandb/offline-*, which `wandb sync` uploads.
    """

    def __init__(self, about: About) -> None:
        self._about = about
        self._runs: dict[str, Any] = {}

    def begin(self, series: str, config: dict[str, Any], sent: int) -> int:
        run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            group=f"{self._about.name}-{self._about.id}",
            name=f"{self._about.name}/{series}",
            id=f"{self._about.id}-{series}",
            config=config,
            dir=str(self._about.folder),
            resume="allow",
            reinit="create_new",  # the series grow together
            settings=wandb.Settings(console="off", x_disable_stats=True),  # of this process
        )
        self._runs[series] = run
        if run.offline:  # what lies on the disk cannot be asked
            return sent
        return run.starting_step - 1 if run.starting_step else 0

    def log(self, series: str, epoch: int, metrics: dict[str, float]) -> None:
        self._runs[series].log(metrics, step=epoch)

    def end(self, series: str, epoch: int, summary: dict[str, Any], images: Sequence[Path]) -> None:
        run = self._runs[series]
        if images:
            run.log({"reconstructions": [wandb.Image(str(path)) for path in images]}, step=epoch)
        run.summary.update(summary)

    def close(self) -> None:
        for run in self._runs.values():
            run.finish()
