"""Where the members of an ensemble train: spread over all devices, or streaming on one."""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from msae_jax import allocator, data, distributed, inference, losses, seeds, train
from msae_jax.at_once import choose_at_once
from msae_jax.config import TrainConfig
from msae_jax.items import Items, from_items, split
from msae_jax.seeds import Member

STEPS_AT_ONCE = 100
"""Steps of one program on a CPU, about: XLA frees what each step leaves, tens of KB, at its end.
Three members of `msae` a program took 13 MB more than one."""

TESTED_AT_ONCE = 100
"""Samples of a member that each of several CPU devices tests at once, so that testing takes no more
memory than training in batches of 64 or 128."""


class Outcome(NamedTuple):
    """What one epoch gave one member; a member that diverged keeps the state it had before.

    Attributes:
      metrics: of each step. finite: whether parameters and batch statistics are, after the epoch.
      terms: of each test sample. seconds: of training, per member that trained.
    """

    metrics: train.Metrics
    finite: bool
    terms: losses.Terms
    seconds: float


class Trainer(Protocol):
    """Holds the states of the members that train.

    Attributes:
      at_once: how many train as one batch on a device.
    """

    at_once: int

    def epoch(self, active: Sequence[bool]) -> list[Outcome | None]:
        """Trains the active members for an epoch and tests them; gives nothing for the others."""

    def items(self) -> Items:
        """Returns the arrays of its members where they are, for use before the next epoch.

        Rows beyond its members are without meaning.
        """


class Resident:
    """Members spread over all devices of all processes, the data on each device."""

    def __init__(
        self,
        task: train.Task,
        settings: TrainConfig,
        members: Sequence[Member],
        items: Items | None,
        dataset: data.Dataset,
        at_once: int | None,
        data_devices: int,
        total: int | None = None,
    ) -> None:
        self._task, self._size = task, settings.batch_size
        # by all members of a run, finished ones too: another number of devices has other bits
        self._mesh = mesh = seeds.make_mesh(data_devices, members=total or len(members))
        groups = mesh.shape["seed"]
        rows = [*range(len(members)), *([0] * (-len(members) % groups))]  # in whole groups
        self._padding = len(rows) - len(members)
        listed = [members[i] for i in rows]
        like = task, settings, listed, dataset.sample_shape
        if items is None:
            self._states = seeds.init_states(*like, mesh)
        else:
            if self._padding:
                items = jax.tree.map(lambda a: a[rows], items)
            tuned = seeds.put(seeds.tuned(settings, listed), mesh, "seed")
            placed = seeds.put(items, mesh, "seed")
            self._states = from_items(placed, seeds.shapes(*like).replace(tuned=tuned))
        self._x = seeds.put(np.asarray(dataset.train.x), mesh)
        x_test = np.asarray(dataset.test.x)
        self._n_test = len(x_test)
        self._batches = seeds.put(seeds.padded_batches(x_test), mesh)
        local = len(rows) // groups
        self.at_once = at_once or choose_at_once(
            task,
            lambda: seeds.init_states(task, settings, listed[:1], dataset.sample_shape),
            np.asarray(dataset.train.x),
            batch_size=self._size,
            members=local,
        )
        self._spread = seeds.Spread(mesh, min(self.at_once, local))
        self._count, self._rows = local, None
        if jax.devices()[0].platform == "cpu":
            steps = -(-len(dataset.train.x) // self._size)
            self._count = min(local, max(self.at_once, STEPS_AT_ONCE // steps))
            self._rows = TESTED_AT_ONCE if mesh.size > 1 else None
        allocator.give_back()  # what compiling and the program of initial values left

    def epoch(self, active: Sequence[bool]) -> list[Outcome | None]:
        mask = np.array([*active, *([False] * self._padding)])
        start = time.perf_counter()
        metrics, finite = self._train(mask)
        seconds = (time.perf_counter() - start) / sum(active)
        placed = seeds.put(mask, self._mesh, "seed")
        terms = seeds.evaluate(
            self._task, self._states, placed, self._batches, spread=self._spread, rows=self._rows
        )
        terms = jax.tree.map(
            lambda a: a[:, : self._n_test], distributed.to_host(terms, delete=True)
        )

        def of(i: int) -> Outcome:
            own_metrics, own_terms = jax.tree.map(lambda a: a[i], (metrics, terms))
            return Outcome(own_metrics, bool(finite[i]), own_terms, seconds)

        return [of(i) if is_active else None for i, is_active in enumerate(active)]

    def _train(self, active: np.ndarray) -> Any:
        """Trains an epoch, `_count` members of each device at a time, and waits for it."""
        groups = self._spread.rows
        local, count = len(active) // groups, self._count
        parts: list[Any] = []
        placed = seeds.put(active, self._mesh, "seed")
        for begin in range(0, local, count):
            self._states, *found = seeds.train_epoch(
                self._task,
                self._states,
                placed,
                self._x,
                begin,
                batch_size=self._size,
                spread=self._spread,
                count=count,
            )
            # waits: each call in flight would hold memory of its own
            parts.append(distributed.to_host(found, delete=True))

        def own(part: Any, begin: int) -> Any:
            skip = max(0, begin - (local - count))  # of the last ones, had in the part before
            return jax.tree.map(lambda a: a.reshape(groups, count, *a.shape[1:])[:, skip:], part)

        parts = [own(part, i * count) for i, part in enumerate(parts)]
        return jax.tree.map(
            lambda *a: np.concatenate(a, axis=1).reshape(len(active), *a[0].shape[2:]), *parts
        )

    def items(self) -> Items:
        return split(self._states)


class Streaming:
    """Members one after another on one device, each reading its own batches."""

    def __init__(
        self,
        task: train.Task,
        settings: TrainConfig,
        members: Sequence[Member],
        items: Items | None,
        dataset: data.Dataset,
    ) -> None:
        self._task, self._size, self._dataset = task, settings.batch_size, dataset
        self.at_once = 1
        like = task, settings, members, dataset.sample_shape
        if items is None:
            self._states = seeds.init_states(*like)
        else:
            tuned = seeds.tuned(settings, members)
            self._states = from_items(items, seeds.shapes(*like).replace(tuned=tuned))

    def epoch(self, active: Sequence[bool]) -> list[Outcome | None]:
        return [self._one(i) if is_active else None for i, is_active in enumerate(active)]

    def _one(self, i: int) -> Outcome:
        start = time.perf_counter()
        state, metrics = train.train_epoch_streaming(
            self._task, self._state(i), self._dataset.train.x, batch_size=self._size
        )
        leaves = jax.tree.leaves((state.params, state.batch_stats))
        finite = all(bool(jnp.isfinite(leaf).all()) for leaf in leaves)
        seconds = time.perf_counter() - start
        if finite and train.first_bad_step(metrics) is None:
            self._states = _replaced(self._states, i, state)
        else:
            state = self._state(i)
        key = jax.random.fold_in(state.noise_key, inference.EVALUATION)
        terms = inference.per_sample(
            self._task.model, state.variables, self._dataset.test.x, self._task.objective, key=key
        )
        return Outcome(metrics, finite, terms, seconds)

    def _state(self, i: int) -> train.TrainState:
        return jax.tree.map(lambda a: a[i], self._states)

    def items(self) -> Items:
        return split(self._states)


@functools.partial(jax.jit, donate_argnums=0)
def _replaced(states: train.TrainState, i: int, state: train.TrainState) -> train.TrainState:
    return jax.tree.map(lambda all_, one: all_.at[i].set(one), states, state)
