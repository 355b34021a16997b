"""How far each member of a run is, in memory and in checkpoints."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import jax
import numpy as np

from msae_jax import data, train
from msae_jax.config import TrainConfig
from msae_jax.data.facts import Facts
from msae_jax.errors import InputError
from msae_jax.fitting.initial import InitialWeights
from msae_jax.fitting.placement import Outcome, Trainer, initial_states
from msae_jax.runs.arrays import StateArrays, from_states
from msae_jax.runs.checkpoint import Checkpoint, as_member
from msae_jax.runs.history import History
from msae_jax.runs.writer import Writer
from msae_jax.system import distributed, environment
from msae_jax.train import evaluation, seeds
from msae_jax.train.seeds import Member


class Progress:
    """The history of each member, why it diverged, and its arrays while no trainer has them.

    Attributes:
      arrays: NumPy arrays of all members, only weights after `finish`; None where a trainer holds
        all of them, or before the first epoch.
      diverged: by position of the member, what happened.
      versions: of the packages that trained; of those that began a resumed run.
    """

    def __init__(
        self,
        settings: TrainConfig,
        members: Sequence[Member],
        task: train.Task,
        sample_shape: tuple[int, ...],
        initial: InitialWeights | None = None,
        facts: Facts | None = None,
    ) -> None:
        """Begins with nothing trained.

        Args:
          initial: what members begin with instead of their seeds' weights.
          facts: of the data, kept in every checkpoint.
        """
        self.settings, self.members, self.task = settings, members, task
        self._shape, self._initial, self.facts = sample_shape, initial, facts
        self._digests: dict[str, str] = {}
        self._seeds_per_batch: int | None = None
        self.arrays: StateArrays | None = None
        self.histories: list[History] = [[] for _ in members]
        self.diverged: dict[int, str] = {}
        self.versions = environment.versions()

    def unfinished(self) -> list[int]:
        """Returns the positions of the members that have epochs to train."""
        return [
            i
            for i, history in enumerate(self.histories)
            if i not in self.diverged
            and len(history) < self.settings.epochs
            and not should_stop(self.settings, history)
        ]

    def shapes(self, members: Sequence[Member]) -> train.TrainState:
        """Returns the shapes and dtypes of the states of some members."""
        return seeds.shapes(self.task, self.settings, members, self._shape)

    def restore(self, arrays: StateArrays, saved: Checkpoint) -> None:
        """Takes over the members of a checkpoint; the others are at their beginning."""
        rows = [self.members.index(member) for member in map(as_member, saved.members)]
        if rows == list(range(len(self.members))):
            self.arrays = arrays
        else:
            given = None if self._initial is None else self._initial.of(self.members)
            states = initial_states(
                self.task, self.settings, self.members, self._shape, None, given
            )
            begun = distributed.to_host(from_states(states), delete=True)
            self.arrays = _overwritten(begun, rows, arrays)
        self.versions, self._seeds_per_batch = saved.versions, saved.seeds_per_batch
        self._digests = dict(saved.initial)
        if self._initial is not None:
            self._initial.check_unchanged(saved.initial)
        for row, entry, history in zip(rows, saved.members, saved.histories, strict=True):
            self.histories[row] = history
            if entry["diverged"] is not None:
                self.diverged[row] = entry["diverged"]

    def save(self, writer: Writer, rows: Sequence[int], arrays: StateArrays) -> None:
        """Saves a checkpoint, where `arrays` are those of the members at `rows`."""
        if self.arrays is not None:  # the others are here
            arrays = self.arrays = _overwritten(self.arrays, rows, arrays)
        entries = [
            {**asdict(member), "diverged": self.diverged.get(i)}
            for i, member in enumerate(self.members)
        ]
        writer.save(
            arrays,
            self.histories,
            entries,
            seeds_per_batch=self._seeds_per_batch,
            versions=self.versions,
            facts=None if self.facts is None else self.facts.to_dict(),
            initial=self._digests | ({} if self._initial is None else self._initial.digests),
        )

    def trainer(
        self,
        rows: Sequence[int],
        dataset: data.Dataset,
        seeds_per_batch: int | None,
        data_devices: int,
    ) -> Trainer:
        """Returns what trains the members at `rows`; it holds their arrays from now on."""
        arrays, members = self.arrays, [self.members[row] for row in rows]
        begin = self._initial if arrays is None else None
        if len(rows) < len(self.members):
            arrays = jax.tree.map(lambda a: a[list(rows)], arrays)
        else:
            self.arrays = None  # there may be many: they are not held twice
        return Trainer(
            self.task,
            self.settings,
            members,
            dataset,
            arrays=arrays,
            variables=None if begin is None else begin.of(members),
            # a resumed run batches as it did: other batches have other bits
            seeds_per_batch=seeds_per_batch or self._seeds_per_batch,
            data_devices=data_devices,
            members_of_run=len(self.members),
        )

    def finish(self, rows: Sequence[int], arrays: StateArrays) -> None:
        """Takes the weights of the members at `rows` after their last epoch, and frees `arrays`.

        Adam's moments and the keys go first, so that no more is held than in training. Nothing can
        be saved after it.
        """
        for array in jax.tree.leaves(arrays.training):
            array.delete()
        own = None
        if self.arrays is not None:
            own, self.arrays = self.arrays.weights, None  # the moments here go too
        weights = distributed.to_host(arrays.weights, delete=True)
        if own is None:
            weights = jax.tree.map(lambda a: a[: len(self.members)], weights)
        else:
            weights = _overwritten(own, rows, weights)
        self.arrays = StateArrays(weights, {})

    def variables(
        self, position: int, rows: Sequence[int], arrays: StateArrays | None
    ) -> dict[str, Any]:
        """Returns a copy of the Flax variables of the member at a position.

        Args:
          arrays: of the members at `rows`, where a trainer has them; None after `finish`.
        """
        if arrays is None:
            assert self.arrays is not None
            arrays, rows = self.arrays, range(len(self.members))
        weights, row = arrays.weights, rows.index(position)
        if jax.process_count() > 1:
            weights = distributed.to_host(weights)
        copied = jax.tree.map(lambda a: np.array(a[row]), weights)
        return {name: tree for name, tree in copied.items() if tree}

    def lines(self) -> list[dict[str, Any]]:
        """Returns the log of the run, a line an epoch of a member, epoch by epoch."""
        epochs = max(map(len, self.histories), default=0)
        return [
            {**description(member), **history[i]}
            for i in range(epochs)
            for member, history in zip(self.members, self.histories, strict=True)
            if i < len(history)
        ]

    def add(
        self,
        outcomes: Sequence[Outcome | None],
        rows: Sequence[int],
        trainer: Trainer,
        order: np.ndarray | None,
    ) -> list[dict[str, Any]]:
        """Adds an epoch to the histories; returns its lines to log."""
        self._seeds_per_batch = trainer.seeds_per_batch
        samples = len(trainer.dataset.train.x) if order is None else len(order)
        lines = []
        for row, outcome in zip(rows, outcomes, strict=True):
            if outcome is None:
                continue
            epoch = len(self.histories[row]) + 1
            trouble = divergence(outcome, epoch)
            if trouble is not None:
                self.diverged[row] = trouble
                continue
            line = self._line(row, outcome, epoch, samples)
            self.histories[row].append(line)
            lines.append({**description(self.members[row]), **line})
        return lines

    def _line(self, row: int, outcome: Outcome, epoch: int, samples: int) -> dict[str, float]:
        objective = self.members[row].config(self.settings).objective
        fitted = train.summary(objective, outcome.metrics, samples, self.settings.batch_size)
        tested = evaluation.summary(objective, outcome.terms, self._shape)
        steps = len(outcome.metrics.loss)
        line = {"epoch": epoch, "step": epoch * steps, "seconds": round(outcome.seconds, 4)}
        named = {f"train_{name}": value for name, value in fitted.items()}
        named |= {f"test_{name}": value for name, value in tested.items() if name != "n"}
        # one string for each name, however many lines of many seeds have it
        return line | {sys.intern(name): value for name, value in named.items()}


def should_stop(settings: TrainConfig, history: History) -> bool:
    """Whether early stopping ends training after `history`."""
    rule = settings.early_stopping
    if rule is None or not history:
        return False
    values = [line[rule.metric] for line in history]
    return len(values) - 1 - int(np.argmin(values)) >= rule.patience


def divergence(outcome: Outcome, epoch: int) -> str | None:
    """Says how a member diverged in this epoch, or returns None."""
    bad = train.first_bad_step(outcome.metrics)
    tested = all(np.isfinite(term).all() for term in outcome.terms)
    if bad is None and outcome.finite and tested:
        return None
    if bad is not None:
        what = "the loss became non-finite"
    else:
        what = f"the {'test loss' if outcome.finite else 'parameters'} became non-finite"
    steps = len(outcome.metrics.loss)
    step = steps if bad is None else bad + 1
    where = f"epoch {epoch}, step {step} of {steps}"
    return f"{what} at step {(epoch - 1) * steps + step} ({where})"


def _overwritten(own: Any, rows: Sequence[int], new: Any) -> Any:
    """Writes the arrays of the members at `rows` over those in `own`, and returns that."""
    for old, array in zip(jax.tree.leaves(own), jax.tree.leaves(new), strict=True):
        new_rows = array if isinstance(array, np.ndarray) else distributed.to_host(array)
        old[list(rows)] = new_rows[: len(rows)]
    return own


def description(member: Member) -> dict[str, Any]:
    """Returns what sets a member apart: its seed, and what is not left at its default."""
    plain = Member(member.seed)
    return {
        name: value
        for name, value in asdict(member).items()
        if name == "seed" or value != getattr(plain, name)
    }


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
