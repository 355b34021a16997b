"""Where the members of an ensemble train: spread over all devices, or streaming on one."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from msae_jax import checkpoint, data, distributed, inference, losses, seeds, train
from msae_jax.checkpoint import Items
from msae_jax.config import TrainConfig
from msae_jax.seeds import Member


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
        """Returns the arrays of all its members."""


class Resident:
    """Members spread over all devices of all processes, the data on each device."""

    def __init__(
        self,
        task: train.Task,
        settings: TrainConfig,
        members: Sequence[Member],
        items: Items,
        dataset: data.Dataset,
        at_once: int | None,
        data_devices: int,
    ) -> None:
        self._task, self._size, self._count = task, settings.batch_size, len(members)
        self._mesh = mesh = seeds.make_mesh(data_devices, members=len(members))
        groups = mesh.shape["seed"]
        rows = [*range(len(members)), *([0] * (-len(members) % groups))]  # in whole groups
        self._padding = len(rows) - len(members)
        listed = [members[i] for i in rows]
        first = seeds.init_states(task, settings, listed[:1], dataset.sample_shape)
        one = checkpoint.from_items(jax.tree.map(lambda a: a[:1], items), first)
        if self._padding:
            items = jax.tree.map(lambda a: a[rows], items)
        tuned = distributed.to_host(seeds.tuned(settings, listed))
        items, tuned = seeds.put((items, tuned), mesh, "seed")
        like = seeds.shapes(task, settings, listed, dataset.sample_shape)
        self._states = checkpoint.from_items(items, like.replace(tuned=tuned))
        self._x = seeds.put(np.asarray(dataset.train.x), mesh)
        x_test = np.asarray(dataset.test.x)
        self._n_test = len(x_test)
        self._batches = seeds.put(seeds.padded_batches(x_test), mesh)
        local = len(rows) // groups
        self.at_once = at_once or seeds.choose_at_once(
            task, one, np.asarray(dataset.train.x), batch_size=self._size, members=local
        )
        self._spread = seeds.Spread(mesh, min(self.at_once, local))

    def epoch(self, active: Sequence[bool]) -> list[Outcome | None]:
        mask = seeds.put(np.array([*active, *([False] * self._padding)]), self._mesh, "seed")
        start = time.perf_counter()
        self._states, metrics, finite = seeds.train_epoch(
            self._task, self._states, mask, self._x, batch_size=self._size, spread=self._spread
        )
        metrics, finite = jax.tree.map(np.asarray, (metrics, finite))  # waits for the epoch
        seconds = (time.perf_counter() - start) / sum(active)
        terms = seeds.evaluate(self._task, self._states, mask, self._batches, spread=self._spread)
        terms = jax.tree.map(lambda a: np.asarray(a)[:, : self._n_test], terms)

        def of(i: int) -> Outcome:
            own_metrics, own_terms = jax.tree.map(lambda a: a[i], (metrics, terms))
            return Outcome(own_metrics, bool(finite[i]), own_terms, seconds)

        return [of(i) if is_active else None for i, is_active in enumerate(active)]

    def items(self) -> Items:
        items = checkpoint.to_items(self._states)
        return jax.tree.map(lambda a: a[: self._count], items) if self._padding else items


class Streaming:
    """Members one after another on one device, each reading its own batches."""

    def __init__(
        self,
        task: train.Task,
        settings: TrainConfig,
        members: Sequence[Member],
        items: Items,
        dataset: data.Dataset,
    ) -> None:
        self._task, self._size, self._dataset = task, settings.batch_size, dataset
        self.at_once = 1
        like = seeds.shapes(task, settings, members, dataset.sample_shape)
        like = like.replace(tuned=seeds.tuned(settings, members))
        states = checkpoint.from_items(items, like)
        self._states = [jax.tree.map(lambda a, i=i: a[i], states) for i in range(len(members))]

    def epoch(self, active: Sequence[bool]) -> list[Outcome | None]:
        return [self._one(i) if is_active else None for i, is_active in enumerate(active)]

    def _one(self, i: int) -> Outcome:
        before = jax.tree.map(jnp.copy, self._states[i])  # the epoch takes its buffers
        start = time.perf_counter()
        after, metrics = train.train_epoch_streaming(
            self._task, self._states[i], self._dataset.train.x, batch_size=self._size
        )
        leaves = jax.tree.leaves((after.params, after.batch_stats))
        finite = all(bool(jnp.isfinite(leaf).all()) for leaf in leaves)
        seconds = time.perf_counter() - start
        good = finite and train.first_bad_step(metrics) is None
        self._states[i] = state = after if good else before
        key = jax.random.fold_in(state.noise_key, inference.EVALUATION)
        terms = inference.per_sample(
            self._task.model, state.variables, self._dataset.test.x, self._task.objective, key=key
        )
        return Outcome(metrics, finite, terms, seconds)

    def items(self) -> Items:
        return checkpoint.to_items(jax.tree.map(lambda *leaves: jnp.stack(leaves), *self._states))
