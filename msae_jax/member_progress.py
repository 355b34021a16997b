"""How far each of many members is, in memory and in checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import jax
import numpy as np

from msae_jax import checkpoint, data, distributed, environment, inference, seeds, train
from msae_jax.config import TrainConfig
from msae_jax.history import History
from msae_jax.items import Items, split
from msae_jax.run import named_metrics, should_stop
from msae_jax.seeds import Member
from msae_jax.trainers import Outcome, Resident, Streaming, Trainer


class Progress:
    """How far each member is: its arrays, its history, and whether it diverged."""

    def __init__(
        self,
        settings: TrainConfig,
        members: Sequence[Member],
        task: train.Task,
        sample_shape: tuple[int, ...],
    ) -> None:
        self.settings, self.members, self.task = settings, members, task
        self._shape = sample_shape
        self._number = 0  # of the latest checkpoint
        # NumPy, only weights after `finish`; None where a trainer has all, or none has begun
        self.items: Items | None = None
        self.histories: list[History] = [[] for _ in members]
        self.diverged: dict[int, str] = {}
        self.versions = environment.versions()
        self._at_once: int | None = None

    def unfinished(self) -> list[int]:
        return [
            i
            for i, history in enumerate(self.histories)
            if i not in self.diverged
            and len(history) < self.settings.epochs
            and not should_stop(self.settings, history)
        ]

    def restore(self, writer: checkpoint.Writer) -> list[str]:
        """Takes the members of the newest good checkpoint; returns what was damaged."""

        def like(content: Any) -> train.TrainState:
            saved = [_member(entry) for entry in content["members"]]
            return seeds.shapes(self.task, self.settings, saved, self._shape)

        found = writer.restore_items(like)
        if found is None:
            return []
        items, saved, messages = found
        entries = saved.members or []
        rows = [self.members.index(_member(entry)) for entry in entries]
        if rows == list(range(len(self.members))):
            self.items = items
        else:
            start = seeds.init_states(self.task, self.settings, self.members, self._shape)
            self.items = distributed.to_host(split(start), delete=True)
            self.items = _replaced(self.items, rows, items)
        self._number, self.versions = saved.epoch, saved.versions
        self._at_once = saved.at_once
        for row, entry, history in zip(rows, entries, saved.history, strict=True):
            self.histories[row] = history
            if entry["diverged"] is not None:
                self.diverged[row] = entry["diverged"]
        return messages

    def save(self, writer: checkpoint.Writer, rows: Sequence[int], items: Items) -> None:
        """Saves a checkpoint, where `items` are those of the members at `rows`."""
        if self.items is not None:  # the others are here
            items = self.items = _replaced(self.items, rows, items)
        entries = [
            {**asdict(member), "diverged": self.diverged.get(i)}
            for i, member in enumerate(self.members)
        ]
        metric = self.settings.best_metric
        last = [
            history[-1][metric]
            for i, history in enumerate(self.histories)
            if history and i not in self.diverged
        ]
        self._number += 1
        record = {
            "members": entries,
            "at_once": self._at_once,
            "versions": self.versions,
        }
        score = float(np.mean(last)) if last else None
        writer.save_items(self._number, items, self.histories, record, score)

    def trainer(
        self,
        rows: Sequence[int],
        dataset: data.Dataset,
        at_once: int | None,
        data_devices: int,
    ) -> Trainer:
        """Returns what trains the members at `rows`; it holds their arrays from now on."""
        chosen = [self.members[row] for row in rows]
        items = self.items
        if len(rows) < len(self.members):
            items = jax.tree.map(lambda a: a[list(rows)], items)
        else:
            self.items = None  # not kept twice: there may be many
        how = self.task, self.settings, chosen, items, dataset
        if self.settings.pipeline == "streaming":
            return Streaming(*how)
        trainer = Resident(*how, at_once or self._at_once, data_devices, len(self.members))
        self._at_once = trainer.at_once  # the same when resumed: other batches have other bits
        return trainer

    def finish(self, rows: Sequence[int], items: Items) -> None:
        """Takes the weights of the members at `rows` after their last epoch, and frees `items`.

        Adam's moments and the keys go first, so that no more is held than in training. There is
        nothing to save after it.
        """
        for array in jax.tree.leaves(items.training):
            array.delete()
        own = None
        if self.items is not None:
            own, self.items = self.items.weights, None  # the moments here go too
        weights = distributed.to_host(items.weights, delete=True)
        if own is None:
            weights = jax.tree.map(lambda a: a[: len(self.members)], weights)
        else:
            weights = _replaced(own, rows, weights)
        self.items = Items(weights, {})

    def lines(self) -> list[dict[str, Any]]:
        """Returns the log so far, a line an epoch of a member."""
        return [
            {**named(member), **line}
            for member, history in zip(self.members, self.histories, strict=True)
            for line in history
        ]

    def add(
        self, outcomes: Sequence[Outcome | None], rows: Sequence[int], dataset: data.Dataset
    ) -> list[dict[str, Any]]:
        """Adds an epoch to the histories; returns its lines to log."""
        lines = []
        for row, outcome in zip(rows, outcomes, strict=True):
            if outcome is None:
                continue
            epoch = len(self.histories[row]) + 1
            trouble = _trouble(outcome, epoch)
            if trouble is not None:
                self.diverged[row] = trouble
                continue
            line = self._line(row, outcome, epoch, dataset)
            self.histories[row].append(line)
            lines.append({**named(self.members[row]), **line})
        return lines

    def _line(
        self, row: int, outcome: Outcome, epoch: int, dataset: data.Dataset
    ) -> dict[str, float]:
        objective = self.members[row].config(self.settings).objective
        n, size = len(dataset.train.x), self.settings.batch_size
        fitted = train.summary(objective, outcome.metrics, n, size)
        tested = inference.summary(objective, outcome.terms, dataset.sample_shape)
        steps = len(outcome.metrics.loss)
        line = {"epoch": epoch, "step": epoch * steps, "seconds": round(outcome.seconds, 4)}
        return line | named_metrics(fitted, tested)


def _trouble(outcome: Outcome, epoch: int) -> str | None:
    """Says how the member diverged in this epoch, or returns None."""
    bad = train.first_bad_step(outcome.metrics)
    steps = len(outcome.metrics.loss)
    tested = all(np.isfinite(term).all() for term in outcome.terms)
    if bad is None and outcome.finite and tested:
        return None
    if bad is not None:
        what = "the loss became non-finite"
    else:
        what = f"the {'test loss' if outcome.finite else 'parameters'} became non-finite"
    at = steps if bad is None else bad + 1
    return f"{what} at step {(epoch - 1) * steps + at} (epoch {epoch})"


def _replaced(own: Any, rows: Sequence[int], new: Any) -> Any:
    """Writes the arrays of the members at `rows` over those in `own`, which it returns."""
    for old, array in zip(jax.tree.leaves(own), jax.tree.leaves(new), strict=True):
        new_rows = array if isinstance(array, np.ndarray) else distributed.to_host(array)
        old[list(rows)] = new_rows[: len(rows)]
    return own


def _member(entry: dict[str, Any]) -> Member:
    return Member(**{name: value for name, value in entry.items() if name != "diverged"})


def named(member: Member) -> dict[str, Any]:
    """Returns what sets a member apart: its seed, and what is not left at its default."""
    plain = Member(member.seed)
    return {
        name: value
        for name, value in asdict(member).items()
        if name == "seed" or value != getattr(plain, name)
    }
