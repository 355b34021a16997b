"""What code of the user's hears of a run while it trains, and the contract that it can rely on."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from msae_jax.config import TrainConfig
from msae_jax.errors import InputError
from msae_jax.fitting.ensemble import Ensemble
from msae_jax.train.member import Member


class Started(NamedTuple):
    """A run that is about to train.

    Attributes:
      epochs: that each of `members` has finished; more than 0 where a run goes on.
      out: the run directory; None without one.
    """

    settings: TrainConfig
    members: tuple[Member, ...]
    epochs: tuple[int, ...]
    out: Path | None


@dataclass
class Epoch:
    """An epoch that has ended.

    Attributes:
      lines: of each member that trained in it and has not diverged, the line of `metrics.jsonl`.
    """

    lines: list[dict[str, Any]]
    _variables: Callable[[int], dict[str, Any]] | None

    def variables(self, index: int = 0) -> dict[str, Any]:
        """Returns a copy of the Flax variables, NumPy, of the member of `lines[index]`.

        They are those that are tested and kept: with `ema`, the moving average.

        Raises:
          InputError: `on_epoch` has ended, and the variables have changed since.
        """
        if self._variables is None:
            raise InputError("the variables of an epoch can be asked for only inside on_epoch.")
        return self._variables(index)


class Callback:
    """Code of yours that `fit(callbacks=[...])` calls; give the methods that you need.

    - `on_start` is called once, when everything has been checked and before anything is trained.
    - `on_epoch` is called after each epoch in which a member trained: it has been tested, its lines
      are in `metrics.jsonl`, and its checkpoint, if one was due, is on disk. All members are called
      for at once; of a run that goes on, only for the epochs that are trained now.
    - `on_end` is called once, after the last epoch, with what `fit` returns for many seeds, even
      for one: `diverged` says which members did not get there.

    A callback cannot change the run: what it is given are copies, or arrays that cannot be written
    to, and what it returns is not read. The time that it takes is in no `seconds`. Several are
    called in the order of their list. In runs of several processes each process calls its own, and
    all have to ask for `variables` or none.

    If one raises, training ends there and the exception leaves `fit` as it is; no other callback is
    called. The run directory is whole, and `resume=True` goes on from its last checkpoint to the
    same bits.
    """

    def on_start(self, started: Started) -> None:
        """Hears that a run begins, or goes on."""

    def on_epoch(self, epoch: Epoch) -> None:
        """Hears of an epoch."""

    def on_end(self, ended: Ensemble) -> None:
        """Hears that the run is finished."""


class Lines(Callback):
    """Calls a function with the lines of each epoch."""

    def __init__(self, on_lines: Callable[[list[dict[str, Any]]], None]) -> None:
        self._on_lines = on_lines

    def on_epoch(self, epoch: Epoch) -> None:
        self._on_lines(epoch.lines)


def tell_started(callbacks: Sequence[Callback], started: Started) -> None:
    """Calls `on_start`, each with a configuration of its own."""
    for callback in callbacks:
        callback.on_start(started._replace(settings=copy.deepcopy(started.settings)))


def tell_epoch(
    callbacks: Sequence[Callback],
    lines: Sequence[dict[str, Any]],
    positions: Sequence[int],
    variables: Callable[[int], dict[str, Any]],
) -> None:
    """Calls `on_epoch`, each with lines of its own.

    Args:
      positions: of the members of the lines.
      variables: of such a position, returns a copy of the member's variables.
    """
    for callback in callbacks:
        epoch = Epoch([dict(line) for line in lines], lambda i: variables(positions[i]))
        try:
            callback.on_epoch(epoch)
        finally:
            epoch._variables = None


def tell_ended(callbacks: Sequence[Callback], ended: Ensemble) -> None:
    """Calls `on_end`, each with an ensemble that shares only arrays, which it cannot write to."""

    def read_only(array: np.ndarray) -> np.ndarray:
        view = array.view()
        view.flags.writeable = False
        return view

    shared = ("model", "weights")
    for callback in callbacks:
        own = {k: copy.deepcopy(v) for k, v in ended._asdict().items() if k not in shared}
        callback.on_end(ended._replace(weights=jax.tree.map(read_only, ended.weights), **own))
