"""Opens the checkpoints of run directories.

A checkpoint has four items: `weights` (params and batch_stats), `training` (step, optimiser state,
keys), `history` (the metrics of each epoch, as one array), and `meta` (JSON: configuration,
members, versions, digests). Every array has a leading member axis. Weights stand alone and as plain
arrays, so that they open without knowing the model, and on any number of devices.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax

from msae_jax import config
from msae_jax.config import TrainConfig
from msae_jax.data.facts import Facts
from msae_jax.errors import CheckpointError, InputError
from msae_jax.runs import directory, programs, store
from msae_jax.runs.history import History, from_array
from msae_jax.runs.picking import pick
from msae_jax.train.seeds import Member

FOLDER = "checkpoints"


class OneModel(NamedTuple):
    """One model of a checkpoint, with its weights verified.

    Attributes:
      epoch: epochs that it has finished.
      variables: nested dicts of NumPy arrays, as Flax wants them.
      config: the configuration that trained it, as nested dicts.
      sample_shape: of what the model reads.
      history: the metrics of each epoch so far.
      versions: of the packages that trained it.
      facts: of the data that it was trained on; None in checkpoints of format 1.
    """

    epoch: int
    variables: dict[str, Any]
    config: dict[str, Any]
    sample_shape: list[int]
    history: History
    versions: dict[str, str]
    facts: Facts | None


class Checkpoint(NamedTuple):
    """One checkpoint of all members of a run, with the weights verified.

    Attributes:
      number: as in its path.
      variables: nested dicts of NumPy arrays with a leading member axis.
      config: the configuration that the members share, as nested dicts.
      members: what sets each apart, and `diverged`: why it stopped, or None.
      histories: of each member, the metrics of each epoch so far.
      seeds_per_batch: how many trained as one batch on a device.
      facts: of the data that they were trained on; None in checkpoints of format 1.
      initial: digests of the weights that they were told to begin with, by seed.
    """

    number: int
    variables: dict[str, Any]
    config: dict[str, Any]
    sample_shape: list[int]
    members: list[dict[str, Any]]
    histories: list[History]
    versions: dict[str, str]
    seeds_per_batch: int | None
    facts: Facts | None
    initial: dict[str, str]

    def one(self, index: int) -> OneModel:
        """Returns one member, with the configuration that trains it alone."""
        entry = self.members[index]
        settings = self.config | {"seed": entry["seed"]}
        for part, name in (("optimizer", "learning_rate"), ("objective", "beta")):
            if entry[name] is not None:
                settings[part] = settings[part] | {name: entry[name]}
        history = self.histories[index]
        if entry["diverged"] is not None and not history:
            raise CheckpointError(
                f"there are no weights of seed {entry['seed']}: {entry['diverged']}."
            )
        return OneModel(
            len(history),
            jax.tree.map(lambda a: a[index], self.variables),
            settings,
            self.sample_shape,
            history,
            self.versions,
            self.facts,
        )


def from_store(number: int, items: Mapping[str, Any], content: Mapping[str, Any]) -> Checkpoint:
    """Returns the checkpoint of what `store.restore` gives.

    Raises:
      CheckpointError: the history is not one of these columns.
    """
    columns, lines = content["columns"], items["history"]["lines"]
    if lines.ndim != 3 or lines.shape[2] != len(columns):
        raise CheckpointError(f"checkpoint {number} has a history of other columns than it says.")
    return Checkpoint(
        number,
        {name: tree for name, tree in items["weights"].items() if tree},
        content["config"],
        content["sample_shape"],
        content["members"],
        from_array(columns, lines),
        content["versions"],
        content.get("seeds_per_batch", content.get("at_once")),  # its name in format 1
        Facts.from_dict(content["facts"]) if content.get("facts") else None,
        content.get("initial", {}),
    )


def as_member(entry: Mapping[str, Any]) -> Member:
    """Returns the member of an entry of `Checkpoint.members`."""
    return Member(**{name: value for name, value in entry.items() if name != "diverged"})


def holds_run(out: Path) -> bool:
    """Whether there is a run in `out` that can go on, even one that lacks its `config.json`."""
    return (out / directory.CONFIG).exists() or _newest_record(out) is not None


def read_config(run: Path, named: Collection[str | None] = ()) -> TrainConfig:
    """Returns the configuration of a run directory; see `directory.opened_config`.

    It is that of `config.json`, which may be ahead of all checkpoints where more epochs were asked
    for. Where that file is not as it was written, it is the one of the newest readable checkpoint.

    Warns:
      UserWarning: they are two, and that of the checkpoint counts.

    Raises:
      InputError: there is none.
    """
    written = directory.is_as_written(run)
    record = None if written else _newest_record(run)
    if record is None:
        return directory.read_config(run, named)
    saved = directory.opened_config(programs.of_record(run, record["config"]), named)
    with contextlib.suppress(InputError):
        if directory.read_config(run, named) == saved:
            return saved
    warnings.warn(
        f"{run / directory.CONFIG} is not as it was written, and the configuration that the newest "
        "checkpoint holds counts; options such as --epochs change it.",
        stacklevel=2,
    )
    return saved


def check_may_write(out: Path, settings: TrainConfig, *, resume: bool) -> None:
    """Checks that a run may be written to `out`, or that the one in it may go on.

    Raises:
      InputError: it may not.
    """
    directory.check_empty(out, resume=resume)
    if holds_run(out):
        directory.check_same(out, config.to_dict(read_config(out)), settings)


def read_members(run: Path) -> list[Member]:
    """Returns the members of a run directory; none where there is no run.

    Those of its newest readable checkpoint, or of `seeds.json` where it has none.

    Raises:
      InputError: there is no checkpoint, and `seeds.json` is damaged.
    """
    record = _newest_record(run)
    if record is not None:
        return [as_member(entry) for entry in record["members"]]
    return directory.read_members(run) if (run / directory.CONFIG).exists() else []


def _newest_record(run: Path) -> dict[str, Any] | None:
    """Returns the JSON values of the newest checkpoint in which they can be read."""
    for number in reversed(store.numbers(run / FOLDER) if is_run(run) else []):
        with contextlib.suppress(CheckpointError):
            return store.read_record(run / FOLDER, number)
    return None


def is_run(path: Path) -> bool:
    """Whether `path` is a run directory with at least a place for checkpoints."""
    return (path / FOLDER).is_dir()


def load(
    path: str | Path,
    *,
    best: bool = False,
    seed: int | None = None,
    member: int | None = None,
) -> OneModel:
    """Opens the weights of one model from a run directory or one of its checkpoints.

    Args:
      path: a run directory, or a checkpoint `RUN/checkpoints/NUMBER`. No model need be known.
      best: the best checkpoint of a run directory instead of the latest; of many seeds, the best
        by their mean, not each seed's own.
      seed: which one of a run of many.
      member: the same by its position, where several have the seed.

    Raises:
      CheckpointError: there is no checkpoint, or it is damaged.
      InputError: the path is neither, or `seed` or `member` does not pick one model.
    """
    opened = load_all(path, best=best)
    return opened.one(pick(path, opened.members, seed, member))


def load_all(path: str | Path, *, best: bool = False) -> Checkpoint:
    """Opens all members of a checkpoint at once; see `load`."""
    path = Path(path)
    if not path.exists():
        raise InputError(f"no such file or directory: {path}.")
    if path.name.isdigit() and path.parent.name == FOLDER and not is_run(path):
        folder, number = path.parent, int(path.name)
    elif is_run(path):
        folder, number = path / FOLDER, None
    else:
        raise InputError(
            f"{path} is neither a run directory (it has no {FOLDER}/) nor one of its checkpoints."
        )
    if number is None:
        known = store.numbers(folder)
        if not known:
            raise CheckpointError(f"{folder} holds no finished checkpoint.")
        number = _best(folder, known) if best else known[-1]
    restored, content = store.restore(folder, number, weights=None, history=None)
    if folder.parent == path and (wrong := directory.differs(path, content)):
        raise CheckpointError(f"checkpoint {folder / str(number)} is of another run: {wrong}.")
    content["config"] = programs.of_record(folder.parent, content["config"])
    return from_store(number, restored, content)


def _best(folder: Path, numbers: Sequence[int]) -> int:
    """Returns the number of the checkpoint with the lowest score; the latest where none has any.

    Warns:
      UserWarning: one cannot be read, and is not compared.
    """
    latest = numbers[-1]
    members = len(store.read_record(folder, latest)["members"])
    scores = {}
    for number in numbers:
        try:
            content = store.read_record(folder, number)
            if wrong := directory.differs(folder.parent, content):
                raise CheckpointError(
                    f"checkpoint {folder / str(number)} is of another run: {wrong}"
                )
        except CheckpointError as error:
            warnings.warn(f"the best is sought among the others: {error}", stacklevel=2)
            continue
        # the mean of fewer members is another number
        if content["score"] is not None and len(content["members"]) == members:
            scores[number] = content["score"]
    return min(scores, key=lambda number: scores[number], default=latest)
