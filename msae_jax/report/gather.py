"""Opens the run directories that a report is about, and says in words how far each of them is."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from msae_jax import config
from msae_jax.config import METRICS, TrainConfig
from msae_jax.errors import CheckpointError, InputError, unknown_name
from msae_jax.fitting.ensemble import Ensemble, who
from msae_jax.fitting.members import description, should_stop
from msae_jax.interop import cards
from msae_jax.runs import checkpoint, directory, store
from msae_jax.runs.checkpoint import Checkpoint
from msae_jax.runs.history import COLUMNS, DUEL_COLUMNS, History, in_words
from msae_jax.train.seeds import Member

MAX_LOG = 256 << 20  # bytes of metrics.jsonl that are read


class Run(NamedTuple):
    """One run directory, or one of its checkpoints.

    Attributes:
      checkpoint: None where the run has not finished one yet.
      diverged: by position of the member, what happened.
      histories: of each member; where there is no checkpoint, those of `metrics.jsonl`.
      remarks: what is odd about the directory, a sentence each.
    """

    name: str
    path: Path
    settings: TrainConfig
    members: list[Member]
    diverged: dict[int, str]
    histories: list[History]
    checkpoint: Checkpoint | None
    remarks: list[str]

    def state(self, index: int) -> str:
        """Returns how far a member is, in words."""
        if index in self.diverged:
            return f"diverged: {self.diverged[index]}"
        history = self.histories[index]
        if should_stop(self.settings, history):
            return f"stopped early after {in_words(len(history))}"
        if len(history) < self.settings.epochs:
            return f"unfinished: {len(history)} of {in_words(self.settings.epochs)}"
        return f"finished, {in_words(len(history))}"

    def finals(self, metric: str) -> dict[int, float]:
        """Returns a metric of the last epoch, by position of the member; none of the diverged."""
        return {
            i: history[-1][metric]
            for i, history in enumerate(self.histories)
            if history and i not in self.diverged
        }

    def curves(self, metric: str, rows: Collection[int] | None = None) -> np.ndarray:
        """Returns a metric `[members, epochs]` of members with an epoch; NaN after their last."""
        chosen = [h for i, h in enumerate(self.histories) if h and (rows is None or i in rows)]
        values = np.full((len(chosen), max(map(len, chosen), default=0)), np.nan)
        for row, history in zip(values, chosen, strict=True):
            row[: len(history)] = [line[metric] for line in history]
        return values

    def ensemble(self) -> Ensemble:
        """Returns the members that have an epoch or diverged, without their weights."""
        rows = [i for i, h in enumerate(self.histories) if h or i in self.diverged]
        diverged = {k: self.diverged[i] for k, i in enumerate(rows) if i in self.diverged}
        members, histories = [self.members[i] for i in rows], [self.histories[i] for i in rows]
        nothing: Any = None
        return Ensemble(self.settings, nothing, members, {}, histories, diverged, [], {})


class Subject(NamedTuple):
    """What the user names: a run, or a sweep, which is the runs of its groups.

    Attributes:
      axes: dotted fields that differ between the members of a sweep; none of a run of seeds alone.
    """

    name: str
    path: Path
    runs: list[Run]
    axes: list[str]

    @property
    def is_sweep(self) -> bool:
        return len(self.runs) > 1 or bool(self.axes)

    def rows(self, metric: str) -> list[dict[str, Any]]:
        """Returns a row a member: axes, `diverged`, and a metric, None where it has none."""
        found = []
        for run in self.runs:
            for i, member in enumerate(run.members):
                values = fields(member.config(run.settings))
                point = {axis: values.get(axis, "its default") for axis in self.axes}
                final = run.finals(metric).get(i)
                lost = run.diverged.get(i)
                found.append(point | {"run": run, "index": i, "diverged": lost, metric: final})
        return found


def fields(settings: TrainConfig) -> dict[str, Any]:
    """Returns a configuration by dotted field; each option of the model is a field."""
    return _leaves(config.to_dict(settings))


def _leaves(values: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(values, dict) or not values:  # an empty dict is a leaf
        return {prefix[:-1]: values}
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= _leaves(value, f"{prefix}{name}.")
    return found


def subjects(paths: Sequence[Path], named: Collection[str | None] = ()) -> list[Subject]:
    """Opens what the user names, in that order, under names that differ.

    Raises:
      InputError: nothing is named, or something is no run directory or damaged, or is named twice.
    """
    if not paths:
        raise InputError("no run directory given: expected at least one.")
    places = [path.resolve() for path in paths]
    twice = sorted({str(place) for place in places if places.count(place) > 1})
    if twice:
        raise InputError(f"given twice: {', '.join(twice)}. Give each run once.")
    short = [_name(path) for path in paths]
    names = [str(p) if short.count(n) > 1 else n for p, n in zip(paths, short, strict=True)]
    return [_subject(path, name, named) for path, name in zip(paths, names, strict=True)]


def _name(path: Path) -> str:
    if _is_checkpoint(path):
        return f"{path.resolve().parents[1].name}, checkpoint {path.name}"
    return path.resolve().name


def _is_checkpoint(path: Path) -> bool:
    return path.name.isdigit() and path.parent.name == checkpoint.FOLDER


def _subject(path: Path, title: str, named: Collection[str | None]) -> Subject:
    if not path.is_dir():
        found = "is a file" if path.exists() else "does not exist"
        raise InputError(f"{path} {found}: expected a run directory, or that of a sweep.")
    if cards.is_card(path):
        raise InputError(f"{path} is the folder of a card: give the run that it was made of.")
    if _is_run(path) or _is_checkpoint(path):
        runs = [_run(path, title, named)]
    else:
        groups = sorted(filter(_is_run, path.iterdir()), key=_natural)
        if not groups:
            raise InputError(
                f"{path} is neither a run directory (it has no {directory.CONFIG} and no "
                f"{checkpoint.FOLDER}/) nor a sweep of such."
            )
        runs = [_run(group, group.name, named) for group in groups]
    listed = [fields(member.config(run.settings)) for run in runs for member in run.members]
    names = list(dict.fromkeys(field for values in listed for field in values))
    axes = [
        field
        for field in names
        if field not in ("seed", "checkpoint_every")
        and len({repr(values.get(field, ...)) for values in listed}) > 1
    ]
    return Subject(title, path, runs, axes)


def _is_run(path: Path) -> bool:
    return path.is_dir() and (checkpoint.is_run(path) or (path / directory.CONFIG).is_file())


def _natural(path: Path) -> list[tuple[bool, float, str]]:
    """Returns a key that puts `latent_dim=5` before `latent_dim=10`."""
    parts = re.split(r"(\d+(?:\.\d+)?)", path.name)
    return [(False, float(p), "") if i % 2 else (True, 0.0, p) for i, p in enumerate(parts)]


def _run(path: Path, name: str, named: Collection[str | None]) -> Run:
    if not _is_checkpoint(path) and not _has_checkpoint(path):
        return _without_checkpoint(path, name, named)
    opened = checkpoint.load_all(path)
    members = [checkpoint.as_member(entry) for entry in opened.members]
    lost = {i: m["diverged"] for i, m in enumerate(opened.members) if m["diverged"] is not None}
    remarks = []
    if _is_checkpoint(path):
        settings = directory.opened_config(opened.config, named)
    else:
        settings = checkpoint.read_config(path, named)
        logged = max(map(len, _logged(path, members)), default=0)
        epochs = max(map(len, opened.histories), default=0)
        if logged > epochs:
            remarks.append(
                f"{directory.METRICS} goes on to epoch {logged}, of which there is no checkpoint: "
                f"what is shown ends with epoch {epochs}."
            )
    return Run(name, path, settings, members, lost, opened.histories, opened, remarks)


def _has_checkpoint(path: Path) -> bool:
    return checkpoint.is_run(path) and bool(store.numbers(path / checkpoint.FOLDER))


def _without_checkpoint(path: Path, name: str, named: Collection[str | None]) -> Run:
    settings = checkpoint.read_config(path, named)
    members = checkpoint.read_members(path)
    if not members:
        raise CheckpointError(f"{path} holds no run.")
    histories = _logged(path, members)
    remarks = [
        "There is no finished checkpoint yet, and therefore no weights: what is shown is that of "
        f"{directory.CONFIG} and {directory.METRICS}."
    ]
    return Run(name, path, settings, members, {}, histories, None, remarks)


def _logged(path: Path, members: Sequence[Member]) -> list[History]:
    """Returns the histories in `metrics.jsonl`, as far as its lines are what a run logs.

    The file has no digest: where a line is not what it should be, the rest is left out.
    """
    log = path / directory.METRICS
    found: list[History] = [[] for _ in members]
    if not log.is_file() or log.stat().st_size > MAX_LOG:
        return found
    by_member = {_key(description(m)): i for i, m in enumerate(members)}
    for text in log.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            line = json.loads(text)
            columns = [*COLUMNS, *(column for column in DUEL_COLUMNS if column in line)]
            key = _key({k: v for k, v in line.items() if k not in columns})
            numbers = {column: line[column] for column in columns}
            finite = all(type(x) in (int, float) and math.isfinite(x) for x in numbers.values())
        except (ValueError, RecursionError, LookupError, TypeError, OverflowError, AttributeError):
            return found
        if key not in by_member or not finite:
            return found
        history = found[by_member[key]]
        if numbers["epoch"] != len(history) + 1:
            return found
        history.append(numbers)
    return found


def _key(values: Any) -> str:
    return json.dumps(values, sort_keys=True)


def state_sentences(subject: Subject) -> list[str]:
    """Returns what there is to say of members that are not plainly finished, a sentence each."""
    found = []
    for run in subject.runs:
        where = f"{subject.name}, {run.name}" if len(subject.runs) > 1 else subject.name
        states = [run.state(i) for i in range(len(run.members))]
        for kind in ("unfinished", "stopped early"):
            here = [i for i, state in enumerate(states) if state.startswith(kind)]
            if len(here) == len(states) > 1 and len(set(states)) == 1:
                found.append(f"{where}: all {len(here)} seeds are {_as_predicate(states[0])}.")
            else:
                found += [f"{where}, seed {who(run.members[i])}: {states[i]}." for i in here]
        if any(state.startswith("unfinished") for state in states):
            found.append(
                f"{where} was interrupted or still trains: msae train --resume goes on with it."
            )
        lost = [i for i, state in enumerate(states) if state.startswith("diverged")]
        found += [f"{where}, seed {who(run.members[i])} {states[i]}." for i in lost]
        found += [f"{where}: {remark}" for remark in run.remarks]
    return found


def _as_predicate(state: str) -> str:
    return state if state.startswith("unfinished") else f"finished: {state}"


def check_metric(metric: str) -> None:
    """Raises InputError where there is no such metric."""
    if metric not in METRICS:
        raise unknown_name("metric", metric, METRICS)
