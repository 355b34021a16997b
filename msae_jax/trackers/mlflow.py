"""MLflow."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param

from msae_jax.trackers import PROJECT, About, flat

_SERIES, _RUN = "msae.series", "msae.run"  # tags that find a series again


class Mlflow:
    """Logs each series as a run; the epoch is the step.

    The environment decides the rest, as MLflow has it: `MLFLOW_TRACKING_URI` (by default
    `mlflow.db` in the current folder) and `MLFLOW_EXPERIMENT_NAME`.
    """

    def __init__(self, about: About) -> None:
        self._about, self._client = about, MlflowClient()
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        known = self._client.get_experiment_by_name(name)
        self._experiment = known.experiment_id if known else self._client.create_experiment(name)
        self._runs: dict[str, str] = {}
        self._known: dict[str, dict[str, int]] = {}

    def begin(self, series: str, config: dict[str, Any], sent: int) -> int:
        tags = {_SERIES: f"{self._about.id}-{series}", _RUN: self._about.name}
        found = self._client.search_runs(
            [self._experiment], f"tags.`{_SERIES}` = '{tags[_SERIES]}'", max_results=1
        )
        name = f"{self._about.name}/{series}"
        run = found[0] if found else self._client.create_run(
            self._experiment, tags=tags, run_name=name
        )  # fmt: skip
        key = self._runs[series] = run.info.run_id
        self._client.update_run(key, status="RUNNING")
        listed = {k: json.dumps(v) if isinstance(v, list | dict) else str(v)
                  for k, v in flat(config).items()}  # fmt: skip
        new = [Param(k, v) for k, v in listed.items() if k not in run.data.params and v]
        for begin in range(0, len(new), 100):  # no more at once
            self._client.log_batch(key, params=new[begin : begin + 100])
        self._client.log_dict(key, config, "configuration.json")  # parameters cannot change
        self._known[series] = {
            metric: max(point.step for point in self._client.get_metric_history(key, metric))
            for metric in run.data.metrics
        }
        return min(self._known[series].values(), default=0)

    def log(self, series: str, epoch: int, metrics: dict[str, float]) -> None:
        known, now = self._known[series], int(time.time() * 1000)
        points = [Metric(k, v, now, epoch) for k, v in metrics.items() if known.get(k, 0) < epoch]
        self._client.log_batch(self._runs[series], metrics=points)

    def end(self, series: str, epoch: int, summary: dict[str, Any], images: Sequence[Path]) -> None:
        key = self._runs[series]
        for name, value in summary.items():
            self._client.set_tag(key, name, str(value))
        for path in images:
            self._client.log_artifact(key, str(path), "reconstructions")

    def close(self) -> None:
        for key in self._runs.values():
            self._client.set_terminated(key)
