"""Finished runs: of one seed, or of many."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np

from msae_jax.config import METRIC_KINDS, TrainConfig
from msae_jax.fitting.members import description
from msae_jax.runs.history import History, in_words
from msae_jax.system import html
from msae_jax.train.seeds import Member


class Run(NamedTuple):
    """A finished run of one seed.

    Attributes:
      variables: Flax variables, NumPy arrays.
      history: one dict an epoch, see `msae_jax.runs.history.History`.
      messages: what a resumed run found damaged.
    """

    config: TrainConfig
    model: nn.Module
    variables: dict[str, Any]
    history: History
    messages: list[str]

    def _repr_html_(self) -> str:
        """Returns what notebooks show: the metrics of the last epoch."""
        epoch = self.history[-1]["epoch"] if self.history else 0
        said = f"{_title(self.config)}, seed {self.config.seed}, after epoch {epoch}"
        last = self.history[-1] if self.history else {}
        rows = [
            (metric.words, last[f"train_{metric.name}"], last[f"test_{metric.name}"], metric.unit)
            for metric in METRIC_KINDS
            if last
        ]
        caption = f"{said}; one seed is not a result"
        return html.table(("metric", "training", "test", "unit"), rows, caption)


class Ensemble(NamedTuple):
    """A finished run of many seeds.

    Attributes:
      config: shared by all members, but for what `members` say.
      weights: parameters and batch statistics of all members, NumPy, with a leading member axis.
      histories: of each member, one dict an epoch, as in `Run`.
      diverged: by index of the member, what happened; its history ends before that epoch.
      messages: what a resumed run found damaged.
      versions: of the packages that trained it; of those that began it, where it was resumed.
    """

    config: TrainConfig
    model: nn.Module
    members: list[Member]
    weights: dict[str, Any]
    histories: list[History]
    diverged: dict[int, str]
    messages: list[str]
    versions: dict[str, str]

    def only(self, seeds: Collection[int]) -> Ensemble:
        """Returns the members of these seeds."""
        rows = [i for i, member in enumerate(self.members) if member.seed in seeds]
        return self._replace(
            members=[self.members[i] for i in rows],
            weights=jax.tree.map(lambda a: a[rows], self.weights),
            histories=[self.histories[i] for i in rows],
            diverged={k: self.diverged[i] for k, i in enumerate(rows) if i in self.diverged},
        )

    def variables(self, index: int) -> dict[str, Any]:
        """Returns the Flax variables of one member."""
        weights = jax.tree.map(lambda a: a[index], self.weights)
        return {name: tree for name, tree in weights.items() if tree}

    def metrics(self, name: str) -> np.ndarray:
        """Returns a metric `[members, epochs]`; NaN after a member's last epoch."""
        epochs = max(map(len, self.histories), default=0)
        values = np.full((len(self.members), epochs), np.nan)
        for row, history in zip(values, self.histories, strict=True):
            row[: len(history)] = [line[name] for line in history]
        return values

    def final(self, name: str = "test_mse") -> np.ndarray:
        """Returns a metric of each member's last epoch `[members]`; NaN where it diverged."""
        return np.array(
            [
                math.nan if i in self.diverged else history[-1][name]
                for i, history in enumerate(self.histories)
            ]
        )

    def rows(self) -> list[dict[str, Any]]:
        """Returns a table, a row a member: what sets it apart, epochs, `diverged`, last metrics."""
        return [
            {"member": i, **description(member)}
            | {"epochs": len(history), "diverged": self.diverged.get(i)}
            | ({} if i in self.diverged or not history else _metrics_only(history[-1]))
            for i, (member, history) in enumerate(zip(self.members, self.histories, strict=True))
        ]

    def _repr_html_(self) -> str:
        """Returns what notebooks show: a row a member, and means without the diverged."""
        names = {f"test_{metric.name}": metric for metric in METRIC_KINDS}
        rows: list[list[Any]] = []
        for row in self.rows():
            member = self.members[row["member"]]
            state = row["diverged"] or in_words(row["epochs"])
            rows.append([who(member), state, *(row.get(name, "") for name in names)])
        done = [i for i, h in enumerate(self.histories) if h and i not in self.diverged]
        if len(done) > 1 and all(m == Member(m.seed) for m in self.members):
            finals = {name: [self.histories[i][-1][name] for i in done] for name in names}
            rows.append(["mean", f"{len(done)} seeds", *(_mean(v) for v in finals.values())])
            rows.append(["std", "n - 1", *(_std(v) for v in finals.values())])
        head = ["seed", "state", *(f"test {m.words} ({m.unit})" for m in names.values())]
        return html.table(head, rows, _title(self.config))


def who(member: Member) -> str:
    """Returns what sets a member apart, in words: `0`, or `0, varies init, beta 4.0`."""
    parts = description(member)
    vary = [f"varies {parts.pop('vary')}"] if "vary" in parts else []
    seed = str(parts.pop("seed"))
    return ", ".join([seed, *vary, *(f"{k.replace('_', ' ')} {v:g}" for k, v in parts.items())])


def _title(settings: TrainConfig) -> str:
    return f"{settings.model.name} on {settings.data}"


def _mean(values: list[float]) -> float:
    return float(np.mean(values))


def _std(values: list[float]) -> float:
    return float(np.std(values, ddof=1))


def _metrics_only(line: dict[str, float]) -> dict[str, float]:
    return {k: v for k, v in line.items() if k.startswith(("train_", "test_"))}
