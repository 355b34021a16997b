"""Runs one training configuration over many seeds, or from where it was killed.

The loop of `msae_jax.run`, over members instead of one state: a member that has stopped early or
diverged is frozen while the others go on, and members added to a finished run start from nothing
while the finished ones are kept. One checkpoint holds all.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np

from msae_jax import (
    checkpoint,
    data,
    distributed,
    environment,
    inference,
    run_directory,
    seeds,
    train,
)
from msae_jax.checkpoint import Items
from msae_jax.config import METRICS, TrainConfig
from msae_jax.errors import InputError
from msae_jax.run import History, OnEpoch, Run, check_data, should_stop
from msae_jax.run import fit as fit_one
from msae_jax.seeds import Member
from msae_jax.trainers import Outcome, Resident, Streaming, Trainer


class Ensemble(NamedTuple):
    """A finished run of many seeds.

    Attributes:
      config: shared by all members, but for what `members` say.
      items: the arrays of all members, NumPy, each with a leading member axis.
      histories: of each member, one dict an epoch, as in `Run`.
      diverged: by index of the member, what happened; its history ends before that epoch.
      messages: what a resumed run found damaged.
      versions: of the packages that trained it; of those that began it, where it was resumed.
    """

    config: TrainConfig
    model: nn.Module
    members: list[Member]
    items: Items
    histories: list[History]
    diverged: dict[int, str]
    messages: list[str]
    versions: dict[str, str]

    def only(self, seeds: Collection[int]) -> Ensemble:
        """Returns the members of these seeds."""
        rows = [i for i, member in enumerate(self.members) if member.seed in seeds]
        return self._replace(
            members=[self.members[i] for i in rows],
            items=jax.tree.map(lambda a: a[rows], self.items),
            histories=[self.histories[i] for i in rows],
            diverged={k: self.diverged[i] for k, i in enumerate(rows) if i in self.diverged},
        )

    def variables(self, index: int) -> dict[str, Any]:
        """Returns the Flax variables of one member."""
        weights = jax.tree.map(lambda a: a[index], self.items.weights)
        return {name: tree for name, tree in weights.items() if tree}

    def metrics(self, name: str) -> np.ndarray:
        """Returns a metric `[members, epochs]`; NaN after a member's last epoch."""
        epochs = max(map(len, self.histories), default=0)
        found = np.full((len(self.members), epochs), np.nan)
        for row, history in zip(found, self.histories, strict=True):
            row[: len(history)] = [line[name] for line in history]
        return found

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
            {"member": i, **_named(member)}
            | {"epochs": len(history), "diverged": self.diverged.get(i)}
            | ({} if i in self.diverged or not history else _metrics_only(history[-1]))
            for i, (member, history) in enumerate(zip(self.members, self.histories, strict=True))
        ]


def _metrics_only(line: dict[str, float]) -> dict[str, float]:
    return {k: v for k, v in line.items() if k.startswith(("train_", "test_"))}


def as_members(settings: TrainConfig, members: int | Sequence[int | Member]) -> list[Member]:
    """Returns the members that a number of seeds, or a list of seeds or members, stands for.

    A number counts from the configuration's seed.

    Raises:
      InputError: none, or one twice.
    """
    if isinstance(members, int):
        if members < 1:
            raise InputError(f"seeds must be at least 1, got {members}.")
        members = range(settings.seed, settings.seed + members)
    listed = [m if isinstance(m, Member) else Member(int(m)) for m in members]
    if not listed:
        raise InputError("no seeds given.")
    doubled = sorted({m.seed for m in listed if listed.count(m) > 1})
    if doubled:
        raise InputError(f"seeds given twice: {doubled}.")
    return listed


def fit(
    settings: TrainConfig,
    dataset: data.Dataset | None = None,
    *,
    seeds: int | Sequence[int | Member] | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    data_dir: str | Path | None = None,
    seeds_at_once: int | None = None,
    data_devices: int = 1,
    on_epoch: OnEpoch | None = None,
    **one_seed: Any,
) -> Ensemble | Run:
    """Trains one seed (`msae_jax.run.fit`, which takes `one_seed`), or with `seeds` many at once.

    Args:
      settings, dataset, out, data_dir: see `msae_jax.run.fit`.
      seeds: how many, from the configuration's on; or which; or members that differ otherwise too.
      resume: go on with the run in `out`; seeds that it does not have yet are added to it.
      seeds_at_once: seeds that train as one batch on a device; measured where it is None.
      data_devices: devices that share each batch.
      on_epoch: called with each epoch's metrics, their means over the seeds that trained.

    Returns:
      A `Run`, or an `Ensemble` of many seeds. A seed that diverges is frozen and reported there.
    """
    if seeds is None:
        if seeds_at_once is not None or data_devices != 1:
            raise InputError("seeds_at_once and data_devices need seeds (seeds=1 for one seed).")
        return fit_one(
            settings,
            dataset,
            out=out,
            resume=resume,
            data_dir=data_dir,
            on_epoch=on_epoch,
            **one_seed,
        )
    if one_seed:
        raise InputError(f"{', '.join(one_seed)}: for one seed only.")
    members = as_members(settings, seeds)
    return fit_many(
        settings,
        members,
        dataset,
        out=None if out is None else Path(out),
        resume=resume,
        data_dir=data_dir,
        seeds_at_once=seeds_at_once,
        data_devices=data_devices,
        on_epoch=on_epoch,
    )


def fit_many(
    settings: TrainConfig,
    members: Sequence[Member],
    dataset: data.Dataset | None = None,
    *,
    out: Path | None = None,
    resume: bool = False,
    data_dir: str | Path | None = None,
    seeds_at_once: int | None = None,
    data_devices: int = 1,
    on_epoch: OnEpoch | None = None,
) -> Ensemble:
    """Trains many members; see `fit`."""
    if seeds_at_once is not None and seeds_at_once < 1:
        raise InputError(f"seeds_at_once must be at least 1, got {seeds_at_once}.")
    if out is not None:
        run_directory.check(out, settings, resume=resume, many=True)
        known = run_directory.read_members(out) or []
        members = [*known, *(m for m in members if m not in known)]
        distributed.wait_for_all("run directory checked")
    streaming = settings.pipeline == "streaming"
    if streaming and (jax.process_count() > 1 or data_devices > 1):
        raise InputError("pipeline 'streaming' trains on one device; use 'resident' on several.")
    seeds.make_mesh(data_devices, members=len(members))  # refuses what cannot be, in time
    if dataset is None:
        dataset = data.load(settings.data, data_dir=data_dir, streaming=streaming)
    check_data(settings, dataset.train.x)
    shape = dataset.sample_shape
    progress = _Progress(settings, members, seeds.make_task(settings, dataset, members), shape)
    messages: list[str] = []
    writer = None
    if out is not None:
        run_directory.make(out, settings, members)
        distributed.wait_for_all("run directory made")
        writer = checkpoint.Writer(out, settings, shape)
    try:
        if writer is not None:
            messages = progress.restore(writer)
        log = run_directory.Log(out, progress.lines())
        rows = progress.unfinished()
        trainer = progress.trainer(rows, dataset, seeds_at_once, data_devices) if rows else None
        rounds = 0
        while trainer is not None and (todo := progress.unfinished()):
            lines = progress.add(trainer.epoch([row in todo for row in rows]), rows, dataset)
            rounds += 1
            last = not progress.unfinished()
            if last or (writer is not None and rounds % settings.checkpoint_every == 0):
                progress.take(rows, trainer.items(last=last))
                if writer is not None:
                    progress.save(writer)
            for line in lines:
                log.append(line)
            if on_epoch is not None and lines:
                on_epoch(_mean_line(lines))
    finally:
        if writer is not None:
            writer.close()
    assert progress.items is not None
    return Ensemble(
        settings,
        progress.task.model,
        list(members),
        progress.items,
        progress.histories,
        progress.diverged,
        messages,
        progress.versions,
    )


class _Progress:
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
        self.items: Items | None = None  # where a trainer has them, or nothing has begun
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
        if len(rows) < len(self.members):
            start = seeds.init_states(self.task, self.settings, self.members, self._shape)
            self.items = checkpoint.to_items(start, delete=True)
        self.take(rows, jax.tree.map(np.array, items))  # ours to write to
        self._number, self.versions = saved.epoch, saved.versions
        self._at_once = saved.at_once
        for row, entry, history in zip(rows, entries, saved.history, strict=True):
            self.histories[row] = history
            if entry["diverged"] is not None:
                self.diverged[row] = entry["diverged"]
        return messages

    def save(self, writer: checkpoint.Writer) -> None:
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
        assert self.items is not None
        record = {
            "members": entries,
            "history": self.histories,
            "at_once": self._at_once,
            "versions": self.versions,
        }
        writer.save_items(self._number, self.items, record, float(np.mean(last)) if last else None)

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

    def take(self, rows: Sequence[int], items: Items) -> None:
        """Takes the arrays of the members at `rows`."""
        if len(rows) == len(self.members) and list(rows) == sorted(rows):
            self.items = items
            return
        assert self.items is not None
        for old, new in zip(jax.tree.leaves(self.items), jax.tree.leaves(items), strict=True):
            old[list(rows)] = new

    def lines(self) -> list[dict[str, Any]]:
        """Returns the log so far, a line an epoch of a member."""
        return [
            {**_named(member), **line}
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
            lines.append({**_named(self.members[row]), **line})
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
        line |= {f"train_{name}": value for name, value in fitted.items()}
        line |= {f"test_{name}": value for name, value in tested.items() if name != "n"}
        return line


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


def _member(entry: dict[str, Any]) -> Member:
    return Member(**{name: value for name, value in entry.items() if name != "diverged"})


def _named(member: Member) -> dict[str, Any]:
    """Returns what sets a member apart: its seed, and what is not left at its default."""
    plain = Member(member.seed)
    return {
        name: value
        for name, value in asdict(member).items()
        if name == "seed" or value != getattr(plain, name)
    }


def _mean_line(lines: Sequence[dict[str, Any]]) -> dict[str, float]:
    found = {name: float(np.mean([line[name] for line in lines])) for name in METRICS}
    return found | {"epoch": min(line["epoch"] for line in lines), "seeds": len(lines)}
