"""Checkpoints of a run: Orbax, with configuration, metrics, versions and digests beside the state.

A checkpoint has three items: `weights` (params and batch_stats), `training` (step, optimiser
state, keys), and `meta` (JSON). Weights stand alone and as plain arrays, so that they open without
knowing the model, and on any device count. Orbax finds a half-written checkpoint by itself but
restores a flipped byte without a word, so `meta` holds a SHA-256 of each item and of itself.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp

from msae_jax import config, environment
from msae_jax.config import TrainConfig
from msae_jax.errors import CheckpointError, InputError
from msae_jax.train import TrainState

_FOLDER = "checkpoints"


class Checkpoint(NamedTuple):
    """One checkpoint, with its weights verified.

    Attributes:
      epoch: epochs done. variables: nested dicts of NumPy arrays, as Flax wants them.
      config: the run's configuration as nested dicts. sample_shape: of what the model reads.
      history: the metrics of each epoch so far.
      versions: of the packages that wrote it.
    """

    epoch: int
    variables: dict[str, Any]
    config: dict[str, Any]
    sample_shape: list[int]
    history: list[dict[str, float]]
    versions: dict[str, str]


def digest(tree: Any) -> str:
    """Returns the SHA-256 of a tree of arrays: paths, dtypes, shapes and bytes."""
    sha = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        array = np.asarray(leaf)
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        sha.update(f"{name}:{array.dtype}:{array.shape};".encode())
        sha.update(np.ascontiguousarray(array).tobytes())
    return sha.hexdigest()


def _digest_json(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _to_host(tree: Any) -> Any:
    """Copies to NumPy: the buffers behind a state are donated to the next epoch."""
    return jax.tree.map(lambda a: np.array(a, copy=True), tree)


def _split(state: TrainState) -> tuple[dict[str, Any], dict[str, Any]]:
    weights = {"params": state.params, "batch_stats": state.batch_stats}
    training = {
        "step": state.step,
        "opt_state": state.opt_state,
        "order_key": jax.random.key_data(state.order_key),
        "noise_key": jax.random.key_data(state.noise_key),
    }
    return weights, training


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
        metric = self._settings.best_metric
        weights, training = _to_host(_split(state))
        content = {
            "config": config.to_dict(self._settings),
            "sample_shape": self._sample_shape,
            "history": history,
            "versions": environment.versions(),
            "digests": {"weights": digest(weights), "training": digest(training)},
        }
        saved = self._manager.save(
            epoch,
            args=ocp.args.Composite(
                weights=ocp.args.StandardSave(weights),
                training=ocp.args.StandardSave(training),
                meta=ocp.args.JsonSave({"content": content, "sha256": _digest_json(content)}),
            ),
            metrics={metric: history[-1][metric]} if history else None,
        )
        if not saved:
            raise CheckpointError(f"{self._folder}: a checkpoint {epoch} or later exists already.")

    def restore(self, like: TrainState) -> tuple[TrainState, Checkpoint, list[str]] | None:
        """Restores the newest good checkpoint, or returns None where there is none.

        Bad ones are moved to `checkpoints-damaged`, so that training can write their epochs again.

        Returns:
          The state on the default device, the checkpoint, and a message for each bad one.
        """
        bad: dict[int, str] = {}
        for epoch in sorted(self._manager.all_steps(), reverse=True):
            try:
                state, checkpoint = _restore_state(self._manager, self._folder, epoch, like)
            except CheckpointError as error:
                bad[epoch] = str(error)
                continue
            for damaged in bad:
                self._set_aside(damaged)
            return state, checkpoint, list(bad.values())
        if bad:
            listed = "; ".join(bad.values())
            raise CheckpointError(f"no checkpoint of this run is usable, start another: {listed}")
        return None

    def _set_aside(self, epoch: int) -> None:
        target = self._folder.parent / f"{_FOLDER}-damaged" / str(epoch)
        shutil.rmtree(target, ignore_errors=True)
        target.parent.mkdir(exist_ok=True)
        shutil.move(self._folder / str(epoch), target)
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


def _restore_state(
    manager: ocp.CheckpointManager, folder: Path, epoch: int, like: TrainState
) -> tuple[TrainState, Checkpoint]:
    weights, training = _split(like)
    abstract = jax.tree.map(lambda a: np.zeros(a.shape, a.dtype), training)
    restored, content = _restore(
        manager,
        folder,
        epoch,
        weights=ocp.args.StandardRestore(),  # in the precision they were saved in
        training=ocp.args.StandardRestore(abstract),
    )
    training = jax.tree.map(jax.numpy.asarray, restored["training"])
    weights = {
        name: jax.tree.map(
            lambda a, b: jax.numpy.asarray(b, a.dtype), tree, restored["weights"].get(name, {})
        )
        for name, tree in weights.items()
    }
    state = like.replace(
        step=training["step"],
        opt_state=training["opt_state"],
        order_key=jax.random.wrap_key_data(training["order_key"]),
        noise_key=jax.random.wrap_key_data(training["noise_key"]),
        **weights,
    )
    return state, _checkpoint(epoch, restored["weights"], content)


def _checkpoint(epoch: int, weights: Mapping[str, Any], content: Mapping[str, Any]) -> Checkpoint:
    variables = {name: tree for name, tree in weights.items() if tree}
    fields = {name: content[name] for name in ("config", "sample_shape", "history", "versions")}
    return Checkpoint(epoch, variables, **fields)


def is_run(path: Path) -> bool:
    """Whether `path` is a run directory with at least a place for checkpoints."""
    return (path / _FOLDER).is_dir()


def load(path: str | Path, *, best: bool = False) -> Checkpoint:
    """Opens the weights of a run directory or of one of its checkpoints, whatever the model.

    Args:
      path: a run directory, or a checkpoint `RUN/checkpoints/EPOCH`.
      best: the best checkpoint of a run directory instead of the latest.

    Raises:
      CheckpointError: there is no checkpoint, or it is damaged.
    """
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
        restored, content = _restore(manager, folder, epoch, weights=ocp.args.StandardRestore())
        checkpoint = _checkpoint(epoch, restored["weights"], content)
        if not best:
            return checkpoint
        metric = checkpoint.config["best_metric"]
        kept = {e: checkpoint.history[e - 1][metric] for e in manager.all_steps() if e}
        return load(folder / str(min(kept, key=lambda e: kept[e], default=0)))
    finally:
        manager.close()
