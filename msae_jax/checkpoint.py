"""Checkpoints of a run: Orbax, with configuration, metrics, versions and digests beside the state.

A checkpoint has four items: `weights` (params and batch_stats), `training` (step, optimiser state,
keys), `history` (the metrics of each epoch, as one array), and `meta` (JSON). Weights stand alone
and as plain arrays, so that they open without knowing the model, and on any device count. Orbax
finds a half-written checkpoint by itself but restores a flipped byte without a word, so `meta`
holds a SHA-256 of each item and of itself.

The checkpoints of many members (`msae_jax.ensemble`) are the same, every array with a leading
member axis, and `meta` lists the members.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import orbax.checkpoint as ocp

from msae_jax import allocator, config, distributed, environment, storage
from msae_jax.config import TrainConfig
from msae_jax.errors import CheckpointError, InputError
from msae_jax.history import History, from_array, to_array
from msae_jax.items import Items, from_items, split, to_items
from msae_jax.train import TrainState

_FOLDER = "checkpoints"


class Checkpoint(NamedTuple):
    """One checkpoint, with its weights verified.

    Attributes:
      epoch: epochs done; of many members, the number of the checkpoint.
      variables: nested dicts of NumPy arrays, as Flax wants them.
      config: the run's configuration as nested dicts. sample_shape: of what the model reads.
      history: the metrics of each epoch so far; of many members, a list of those.
      versions: of the packages that wrote it.
      members: of a checkpoint of many, what sets each apart; None for one model.
      at_once: of many, how many trained as one batch on a device.
    """

    epoch: int
    variables: dict[str, Any]
    config: dict[str, Any]
    sample_shape: list[int]
    history: list[Any]
    versions: dict[str, str]
    members: list[dict[str, Any]] | None = None
    at_once: int | None = None


class Writer:
    """The checkpoints of one run directory, while it trains.

    Keeps the two latest and the best by the configuration's `best_metric` (lower is better).
    `save` is asynchronous, of a copy; `close` waits for it.
    """

    def __init__(self, run: Path, settings: TrainConfig, sample_shape: tuple[int, ...]) -> None:
        self._folder = run / _FOLDER
        self._settings = settings
        self._sample_shape = list(sample_shape)
        self._manager = storage.manager(self._folder, settings.best_metric)

    def save(self, epoch: int, state: TrainState, history: History) -> None:
        """Saves the state after `epoch` epochs; after none, of converted weights, it is kept."""
        score = history[-1][self._settings.best_metric] if history else None
        self._save(epoch, to_items(state), [history], {}, score)

    def save_items(
        self,
        number: int,
        items: Items,
        histories: Sequence[History],
        record: Mapping[str, Any],
        score: float | None,
    ) -> None:
        """Saves arrays with their record as checkpoint `number`, and waits for that.

        Args:
          items: NumPy or JAX arrays, of one process or of all; they are not copied.
          histories: of each member, as many as it has epochs.
          record: `members` and what else to keep of them; JSON values.
          score: decides which is best (lower is better); without one it is always kept.
        """
        self._save(number, items, histories, record, score)
        self._manager.wait_until_finished()  # the arrays may be donated or written to next

    def _save(
        self,
        number: int,
        items: Items,
        histories: Sequence[History],
        record: Mapping[str, Any],
        score: float | None,
    ) -> None:
        metric = self._settings.best_metric
        columns, lines = to_array(histories)
        content = {
            "config": config.to_dict(self._settings),
            "sample_shape": self._sample_shape,
            "score": score,
            "versions": environment.versions(),
            **record,
            "columns": columns,
        }
        allocator.give_back()  # before the buffers of writing come on top
        saved = self._manager.save(
            number,
            args=storage.save_args(items, lines, content),
            metrics=None if score is None else {metric: score},
        )
        if not saved:
            raise CheckpointError(f"{self._folder}: a checkpoint {number} or later exists already.")

    def restore(self, like: TrainState) -> tuple[TrainState, Checkpoint, list[str]] | None:
        """Restores the newest good checkpoint, or returns None where there is none.

        Returns:
          The state on the default device, the checkpoint, and a message for each bad one.
        """
        found = self.restore_items(lambda content: like)
        if found is None:
            return None
        items, checkpoint, messages = found
        return from_items(items, like), checkpoint, messages

    def restore_items(
        self, like: Callable[[Mapping[str, Any]], TrainState]
    ) -> tuple[Items, Checkpoint, list[str]] | None:
        """`restore` of the arrays alone; `like` makes a state of their shapes from the record.

        Bad checkpoints are moved to `checkpoints-damaged`, so that training can write them again.
        """
        bad: dict[int, str] = {}
        for number in sorted(self._manager.all_steps(), reverse=True):
            try:
                items, checkpoint = _restore_items(self._manager, self._folder, number, like)
            except CheckpointError as error:
                bad[number] = str(error)
                continue
            for damaged in bad:
                self._set_aside(damaged)
            return items, checkpoint, list(bad.values())
        if bad:
            listed = "; ".join(bad.values())
            raise CheckpointError(f"no checkpoint of this run is usable, start another: {listed}")
        return None

    def _set_aside(self, epoch: int) -> None:
        if distributed.is_main():
            target = self._folder.parent / f"{_FOLDER}-damaged" / str(epoch)
            shutil.rmtree(target, ignore_errors=True)
            target.parent.mkdir(exist_ok=True)
            shutil.move(self._folder / str(epoch), target)
        distributed.wait_for_all("damaged checkpoint")
        self._manager.reload()

    def latest(self) -> int | None:
        """Returns the epoch of the newest checkpoint."""
        return self._manager.latest_step()

    def close(self) -> None:
        self._manager.wait_until_finished()
        self._manager.close()


def _restore_items(
    manager: ocp.CheckpointManager,
    folder: Path,
    number: int,
    like: Callable[[Mapping[str, Any]], TrainState],
) -> tuple[Items, Checkpoint]:
    _, content = storage.restore(manager, folder, number)
    structure = jax.eval_shape(split, like(content)).training
    wanted = {"weights": None, "history": None, "training": structure}
    restored, content = storage.restore(manager, folder, number, **wanted)
    items = Items(restored["weights"], restored["training"])
    return items, _checkpoint(number, restored, content)


def _checkpoint(epoch: int, items: Mapping[str, Any], content: Mapping[str, Any]) -> Checkpoint:
    variables = {name: tree for name, tree in items["weights"].items() if tree}
    fields = {name: content[name] for name in ("config", "sample_shape", "versions")}
    fields |= {name: content.get(name) for name in ("members", "at_once")}
    histories = from_array(content["columns"], items["history"]["lines"])
    own = histories[0] if fields["members"] is None else histories
    return Checkpoint(epoch, variables, history=own, **fields)


def is_run(path: Path) -> bool:
    """Whether `path` is a run directory with at least a place for checkpoints."""
    return (path / _FOLDER).is_dir()


def load(
    path: str | Path,
    *,
    best: bool = False,
    seed: int | None = None,
    member: int | None = None,
) -> Checkpoint:
    """Opens the weights of one model from a run directory or one of its checkpoints.

    Args:
      path: a run directory, or a checkpoint `RUN/checkpoints/EPOCH`. No model need be known.
      best: the best checkpoint of a run directory instead of the latest; of many seeds, the best
        by their mean, not each seed's own.
      seed: which one of a run of many.
      member: the same by its position, where several have the seed.

    Raises:
      CheckpointError: there is no checkpoint, or it is damaged.
      InputError: the path is neither, or `seed` or `member` does not pick one model.
    """
    opened = load_all(path, best=best)
    if opened.members is None:
        own = opened.config["seed"]
        if member is not None or (seed is not None and seed != own):
            raise InputError(f"{path} holds one model, of seed {own}.")
        return opened
    at = _pick(path, opened.members, seed, member)
    entry = opened.members[at]
    settings = opened.config | {"seed": entry["seed"]}
    for part, name in (("optimizer", "learning_rate"), ("objective", "beta")):
        if entry[name] is not None:
            settings[part] = settings[part] | {name: entry[name]}
    variables = jax.tree.map(lambda a: a[at], opened.variables)
    return opened._replace(
        variables=variables, config=settings, history=opened.history[at], members=None
    )


def _pick(
    path: str | Path, members: list[dict[str, Any]], seed: int | None, member: int | None
) -> int:
    if member is not None:
        if not 0 <= member < len(members):
            raise InputError(f"{path} has members 0 to {len(members) - 1}, got {member}.")
        return member
    found = [i for i, entry in enumerate(members) if seed is None or entry["seed"] == seed]
    if len(found) == 1:
        return found[0]
    seeds = [entry["seed"] for entry in members]
    if not found:
        raise InputError(f"{path} has no seed {seed}, but {_listed(seeds)}.")
    if seed is None:
        raise InputError(f"{path} holds {len(members)} seeds: pick one of {_listed(seeds)}.")
    raise InputError(f"{path} has seed {seed} as members {found}: pick one of them as member.")


def _listed(seeds: list[int]) -> str:
    shown = ", ".join(map(str, seeds[:10]))
    return shown if len(seeds) <= 10 else f"{shown}, ... {seeds[-1]}"


def load_all(path: str | Path, *, best: bool = False) -> Checkpoint:
    """`load` of all members at once: arrays with a leading member axis, where `members` is set."""
    path = Path(path)
    if not path.exists():
        raise InputError(f"no such file or directory: {path}.")
    if path.name.isdigit() and path.parent.name == _FOLDER:
        folder, epoch = path.parent, int(path.name)
        manager = storage.reader(folder)
    elif is_run(path):
        folder, epoch = path / _FOLDER, None
        manager = storage.reader(folder)
    else:
        raise InputError(
            f"{path} is neither a run directory (it has no {_FOLDER}/) nor one of its checkpoints."
        )
    try:
        if epoch is None:
            steps = manager.all_steps()
            if not steps:
                raise CheckpointError(f"{folder} holds no finished checkpoint.")
            epoch = max(steps)
        if best:
            found = {e: storage.restore(manager, folder, e)[1] for e in manager.all_steps()}
            newest = len(found[epoch].get("members", ()))  # fewer members are another mean
            scored = {
                e: content["score"]
                for e, content in found.items()
                if content["score"] is not None and len(content.get("members", ())) == newest
            }
            epoch = min(scored, key=lambda e: scored[e], default=epoch)
        restored, content = storage.restore(manager, folder, epoch, weights=None, history=None)
        return _checkpoint(epoch, restored, content)
    finally:
        manager.close()
