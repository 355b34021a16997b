"""Checkpoints of a run: Orbax, with configuration, metrics, versions and digests beside the state.

A checkpoint has three items: `weights` (params and batch_stats), `training` (step, optimiser
state, keys), and `meta` (JSON). Weights stand alone and as plain arrays, so that they open without
knowing the model, and on any device count. Orbax finds a half-written checkpoint by itself but
restores a flipped byte without a word, so `meta` holds a SHA-256 of each item and of itself.

The checkpoints of many members (`msae_jax.ensemble`) are the same, every array with a leading
member axis, and `meta` lists the members.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp

from msae_jax import config, distributed, environment
from msae_jax.config import TrainConfig
from msae_jax.errors import CheckpointError, InputError
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


def digest(tree: Any) -> str:
    """Returns the SHA-256 of a tree of arrays: paths, dtypes, shapes and bytes."""
    sha = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        array = np.asarray(leaf)
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        sha.update(f"{name}:{array.dtype}:{array.shape};".encode())
        sha.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return sha.hexdigest()


def _digest_json(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


class Items(NamedTuple):
    """The arrays of a training state as they are saved: NumPy, with PRNG keys as their data."""

    weights: dict[str, Any]
    training: dict[str, Any]


def _split(state: TrainState) -> Items:
    training = {
        "step": state.step,
        "opt_state": state.opt_state,
        "order_key": jax.random.key_data(state.order_key),
        "noise_key": jax.random.key_data(state.noise_key),
    }
    return Items(_split_weights(state), training)


def to_items(state: TrainState, *, delete: bool = False) -> Items:
    """Copies a state to the host, from every process: its buffers go to the next epoch.

    Args:
      delete: each array of the state as soon as it is copied, so that not all are held twice.
    """
    return distributed.to_host(_split(state), delete=delete)


def from_items(items: Items, like: TrainState) -> TrainState:
    """Returns the state of `items` on the default device; the rest of it is as in `like`."""
    training = jax.tree.map(jax.numpy.asarray, items.training)
    weights = {
        name: jax.tree.map(
            lambda a, b: jax.numpy.asarray(b, a.dtype), tree, items.weights.get(name, {})
        )
        for name, tree in _split_weights(like).items()
    }
    return like.replace(
        step=training["step"],
        opt_state=training["opt_state"],
        order_key=jax.random.wrap_key_data(training["order_key"]),
        noise_key=jax.random.wrap_key_data(training["noise_key"]),
        **weights,
    )


def _split_weights(state: TrainState) -> dict[str, Any]:
    return {"params": state.params, "batch_stats": state.batch_stats}


def _manager(folder: Path, best_metric: str) -> ocp.CheckpointManager:
    policies = ocp.checkpoint_managers

    def metric(metrics: Mapping[str, float]) -> float:
        return metrics[best_metric]

    options = ocp.CheckpointManagerOptions(
        best_fn=metric,  # makes Orbax keep the metrics beside the checkpoint
        best_mode="min",
        preservation_policy=policies.AnyPreservationPolicy(
            [
                policies.LatestN(2),  # two: one to fall back on
                policies.BestN(get_metric_fn=metric, reverse=True, n=1),
            ]
        ),
    )
    return ocp.CheckpointManager(folder.absolute(), options=options)


def _reader(folder: Path) -> ocp.CheckpointManager:
    return ocp.CheckpointManager(
        folder.absolute(), options=ocp.CheckpointManagerOptions(create=False)
    )


class Writer:
    """The checkpoints of one run directory, while it trains.

    Keeps the two latest and the best by the configuration's `best_metric` (lower is better).
    Saving is asynchronous; `close` waits for it.
    """

    def __init__(self, run: Path, settings: TrainConfig, sample_shape: tuple[int, ...]) -> None:
        self._folder = run / _FOLDER
        self._settings = settings
        self._sample_shape = list(sample_shape)
        self._manager = _manager(self._folder, settings.best_metric)

    def save(self, epoch: int, state: TrainState, history: list[dict[str, float]]) -> None:
        """Saves the state after `epoch` epochs; after none, of converted weights, it is kept."""
        score = history[-1][self._settings.best_metric] if history else None
        self.save_items(epoch, to_items(state), {"history": history}, score)

    def save_items(
        self, number: int, items: Items, record: Mapping[str, Any], score: float | None
    ) -> None:
        """Saves arrays with their record as checkpoint `number`.

        Args:
          record: `history` and, of many, `members`; JSON values.
          score: decides which is best (lower is better); without one it is always kept.
        """
        metric = self._settings.best_metric
        content = {
            "config": config.to_dict(self._settings),
            "sample_shape": self._sample_shape,
            "score": score,
            "versions": environment.versions(),
            "digests": {name: digest(tree) for name, tree in items._asdict().items()},
            **record,
        }
        saved = self._manager.save(
            number,
            args=ocp.args.Composite(
                weights=ocp.args.StandardSave(items.weights),
                training=ocp.args.StandardSave(items.training),
                meta=ocp.args.JsonSave({"content": content, "sha256": _digest_json(content)}),
            ),
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


def _restore(
    manager: ocp.CheckpointManager, folder: Path, epoch: int, **items: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Restores items and the metadata, and verifies their digests."""
    where = folder / str(epoch)
    try:
        restored = manager.restore(
            epoch, args=ocp.args.Composite(meta=ocp.args.JsonRestore(), **items)
        )
        meta = restored["meta"]
        content, expected = meta["content"], meta["sha256"]
    except Exception as error:  # Orbax and TensorStore raise bare Exceptions on damaged files
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else repr(error)
        raise CheckpointError(f"checkpoint {where} cannot be read: {reason}") from error
    found = {"metadata": (_digest_json(content), expected)}
    for name in items:
        found[name] = (digest(restored[name]), content["digests"][name])
    for name, (got, want) in found.items():
        if got != want:
            raise CheckpointError(
                f"checkpoint {where} is damaged: SHA-256 of its {name} is {got[:12]}..., "
                f"recorded was {want[:12]}...; use another checkpoint of the run."
            )
    return dict(restored.items()), content


def _restore_items(
    manager: ocp.CheckpointManager,
    folder: Path,
    number: int,
    like: Callable[[Mapping[str, Any]], TrainState],
) -> tuple[Items, Checkpoint]:
    _, content = _restore(manager, folder, number)
    abstract = jax.tree.map(
        lambda a: np.zeros(a.shape, a.dtype), jax.eval_shape(_split, like(content)).training
    )
    restored, content = _restore(
        manager,
        folder,
        number,
        weights=ocp.args.StandardRestore(),  # in the precision they were saved in
        training=ocp.args.StandardRestore(abstract),
    )
    items = Items(restored["weights"], restored["training"])
    return items, _checkpoint(number, restored["weights"], content)


def _checkpoint(epoch: int, weights: Mapping[str, Any], content: Mapping[str, Any]) -> Checkpoint:
    variables = {name: tree for name, tree in weights.items() if tree}
    fields = {name: content[name] for name in ("config", "sample_shape", "history", "versions")}
    fields |= {name: content.get(name) for name in ("members", "at_once")}
    return Checkpoint(epoch, variables, **fields)


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
        manager = _reader(folder)
    elif is_run(path):
        folder, epoch = path / _FOLDER, None
        manager = _reader(folder)
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
            found = {e: _restore(manager, folder, e)[1] for e in manager.all_steps()}
            newest = len(found[epoch].get("members", ()))  # fewer members are another mean
            scored = {
                e: content["score"]
                for e, content in found.items()
                if content["score"] is not None and len(content.get("members", ())) == newest
            }
            epoch = min(scored, key=lambda e: scored[e], default=epoch)
        restored, content = _restore(manager, folder, epoch, weights=ocp.args.StandardRestore())
        return _checkpoint(epoch, restored["weights"], content)
    finally:
        manager.close()
