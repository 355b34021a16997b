"""Writes the checkpoints of one run while it trains, and restores the newest good one."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from msae_jax import config
from msae_jax.config import TrainConfig
from msae_jax.errors import CheckpointError
from msae_jax.runs import store
from msae_jax.runs.arrays import StateArrays, from_states
from msae_jax.runs.checkpoint import FOLDER, Checkpoint, from_store
from msae_jax.runs.history import COLUMNS, DUEL_COLUMNS, History, to_array
from msae_jax.system import distributed
from msae_jax.train import TrainState


class Writer:
    """The checkpoints of a run directory; keeps the two latest and the best."""

    def __init__(self, run: Path, settings: TrainConfig, sample_shape: tuple[int, ...]) -> None:
        self._folder, self._settings = run / FOLDER, settings
        self._sample_shape = list(sample_shape)
        self._policy = store.KeepLatestAndBest()
        self._failed = False
        if distributed.is_main():
            # Orbax's own record of format 1, which fails all checkpoints where one is damaged
            for path in self._folder.glob("*/metrics"):
                shutil.rmtree(path, ignore_errors=True)
        distributed.wait_for_all("records of metrics removed")
        self._manager = self._opened()
        for number in store.numbers(self._folder):
            with contextlib.suppress(CheckpointError):  # found out when it is restored
                score = store.read_record(self._folder, number)["score"]
                if score is not None:
                    self._policy.scores[number] = score

    def _opened(self) -> ocp.CheckpointManager:
        """Returns Orbax's manager, which reads a file of its own in every checkpoint, and fails at
        one that is damaged. Nothing in it is needed: it goes, and what has a digest stays."""
        try:
            return store.manager(self._folder, self._policy)
        except Exception:  # Orbax raises what its parsing meets
            if distributed.is_main():
                for path in self._folder.glob("*/_CHECKPOINT_METADATA"):
                    path.unlink()
            distributed.wait_for_all("metadata of Orbax removed")
            return store.manager(self._folder, self._policy)

    def save(
        self,
        arrays: StateArrays,
        histories: Sequence[History],
        members: Sequence[Mapping[str, Any]],
        **record: Any,
    ) -> None:
        """Saves a checkpoint; its number is the most epochs of a member, or the next free one.

        Args:
          arrays: of all members; see `store.save`.
          histories: of each member, as many lines as it has finished epochs.
          members: what sets each apart, and `diverged`: why it stopped, or None.
          record: what else to keep, JSON values.

        Raises:
          CheckpointError: it cannot be written.
        """
        metric = self._settings.best_metric
        last = [
            history[-1][metric]
            for history, member in zip(histories, members, strict=True)
            if history and member["diverged"] is None
        ]
        score = sum(last) / len(last) if last else None
        columns, lines = to_array(histories)
        content = {
            "config": config.to_dict(self._settings),
            "sample_shape": self._sample_shape,
            "score": score,
            "members": list(members),
            "columns": columns,
            **record,
        }
        latest = self._manager.latest_step()
        number = max(map(len, histories), default=0)
        number = number if latest is None else max(number, latest + 1)
        if score is not None:
            self._policy.scores[number] = score
        try:
            store.save(self._manager, number, arrays, lines, content)
        except CheckpointError:
            self._failed = True
            raise

    def restore(
        self, template: Callable[[Mapping[str, Any]], TrainState]
    ) -> tuple[StateArrays, Checkpoint, list[str]] | None:
        """Restores the newest good checkpoint, or returns None where there is none.

        Bad checkpoints are moved to `checkpoints-damaged`, so that training can write them again.

        Args:
          template: makes states of the checkpoint's structure from its record.

        Returns:
          NumPy arrays, the checkpoint, and a message for each bad one.

        Raises:
          CheckpointError: there are checkpoints, and none can be used.
        """
        damaged: dict[int, str] = {}
        for number in sorted(self._manager.all_steps(), reverse=True):
            try:
                arrays, checkpoint = self._read(number, template)
            except CheckpointError as error:
                damaged[number] = str(error)
                continue
            for other in damaged:
                self._set_aside(other)
            return arrays, checkpoint, list(damaged.values())
        if damaged:
            listed = "; ".join(damaged.values())
            raise CheckpointError(f"no checkpoint of this run is usable, start another: {listed}")
        return None

    def _read(
        self, number: int, template: Callable[[Mapping[str, Any]], TrainState]
    ) -> tuple[StateArrays, Checkpoint]:
        content = store.read_record(self._folder, number)
        columns = [column for column in content["columns"] if column not in DUEL_COLUMNS]
        if columns not in (list(COLUMNS), ["epoch"]):
            raise CheckpointError(
                f"checkpoint {self._folder / str(number)} has other metrics than this version "
                f"logs: it has {', '.join(content['columns'])}."
            )
        training = jax.eval_shape(from_states, template(content)).training
        items = {"weights": None, "history": None, "training": training}
        restored, content = store.restore(self._folder, number, **items)
        arrays = StateArrays(restored["weights"], restored["training"])
        return arrays, from_store(number, restored, content)

    def _set_aside(self, number: int) -> None:
        if distributed.is_main():
            target = self._folder.parent / f"{FOLDER}-damaged" / str(number)
            shutil.rmtree(target, ignore_errors=True)
            target.parent.mkdir(exist_ok=True)
            shutil.move(self._folder / str(number), target)
        self._policy.scores.pop(number, None)
        distributed.wait_for_all("damaged checkpoint")
        self._manager.reload()

    def close(self) -> None:
        """Ends Orbax's threads; what failed while saving, which it raises again, has been said.

        Raises:
          CheckpointError: something else fails.
        """
        try:
            self._manager.close()
        except Exception as error:  # as in `store.save`
            if not self._failed:
                raise CheckpointError(f"{self._folder} cannot be closed: {error}") from error
