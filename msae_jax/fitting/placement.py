"""Where members train: spread over all devices with the data, or on one that streams it."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from msae_jax import data, train
from msae_jax.config import TrainConfig
from msae_jax.data.series import Windows
from msae_jax.errors import InputError
from msae_jax.runs.arrays import StateArrays, from_states, to_states
from msae_jax.system import distributed
from msae_jax.train import evaluation, losses, seeds
from msae_jax.train.seeds import Member


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


def initial_states(
    task: train.Task,
    settings: TrainConfig,
    members: Sequence[Member],
    sample_shape: tuple[int, ...],
    mesh: jax.sharding.Mesh | None = None,
    variables: Sequence[Mapping[str, Any]] | None = None,
) -> train.TrainState:
    """Returns `seeds.init_states`, with the weights replaced where some are given.

    Args:
      variables: of each member, the Flax variables that it begins with.
    """
    states = seeds.init_states(task, settings, members, sample_shape, mesh)
    if variables is None:
        return states
    alike = all(each is variables[0] for each in variables)

    def stacked(name: str, old: Any) -> Any:
        def put(old: jax.Array, *new: Any) -> jax.Array:
            rows = [np.asarray(each, old.dtype) for each in new]
            whole = np.broadcast_to(rows[0], old.shape) if alike else np.stack(rows)
            return jax.device_put(whole, old.sharding)

        given = variables[:1] if alike else variables
        return jax.tree.map(put, old, *(dict(each.get(name, {})) for each in given))

    states = states.replace(batch_stats=stacked("batch_stats", states.batch_stats))
    if task.ema:
        states = states.replace(averaged=stacked("params", states.averaged))
    return states.replace(params=stacked("params", states.params))


class Trainer:
    """Holds the states of members; trains and tests them an epoch at a time.

    Attributes:
      dataset: that they train on.
      seeds_per_batch: how many members train as one batch on a device. On CPUs it is 1. On
        accelerators it is all of them, halved as long as they do not fit the device's memory.
    """

    def __init__(
        self,
        task: train.Task,
        settings: TrainConfig,
        members: Sequence[Member],
        dataset: data.Dataset,
        *,
        arrays: StateArrays | None = None,
        variables: Sequence[Mapping[str, Any]] | None = None,
        seeds_per_batch: int | None = None,
        data_devices: int = 1,
        members_of_run: int | None = None,
    ) -> None:
        """Places the states and the data.

        Args:
          arrays: of the members, to go on from; None begins with initial states.
          variables: of each member, what its initial state begins with instead of its seed's own
            weights.
          data_devices: devices that share each batch.
          members_of_run: how many there are with the finished ones. They decide how many devices
            are used: on another number of devices sums are ordered otherwise.
        """
        self._task, self._settings, self._members = task, settings, list(members)
        self._streaming = settings.pipeline == "streaming"
        count = 1 if self._streaming else members_of_run or len(members)
        devices = jax.local_devices()[:1] if self._streaming else None
        self._mesh = seeds.make_mesh(data_devices, devices, count)
        self.dataset = dataset
        if not self._streaming:
            self._x = seeds.put(in_memory(dataset.train.x), self._mesh)
            if not isinstance(dataset.test.x, Windows):
                test = evaluation.padded_batches(np.asarray(dataset.test.x))
                self._test = [seeds.put(batch, self._mesh) for batch in test]
        local = -(-len(members) // self._mesh.shape["seed"])
        on_cpu = self._streaming or jax.devices()[0].platform == "cpu"
        self.seeds_per_batch = min(seeds_per_batch or (1 if on_cpu else local), local)
        self._make_states: Callable[[], train.TrainState] | None = functools.partial(
            self._first_states, arrays, variables
        )
        self._states = self._make_states()
        if self.seeds_per_batch == 1:
            self._make_states = None  # it holds the arrays once more

    @property
    def _spread(self) -> seeds.Spread:
        return seeds.Spread(self._mesh, self.seeds_per_batch)

    def _first_states(
        self, arrays: StateArrays | None, variables: Sequence[Mapping[str, Any]] | None
    ) -> train.TrainState:
        """Returns the states before the first epoch, filled up to whole groups by the first one."""
        count = len(self._members)
        rows = [*range(count), *([0] * (-count % self._spread.multiple))]
        listed = [self._members[row] for row in rows]
        what = self._task, self._settings, listed, self.dataset.sample_shape
        if arrays is None:
            given = None if variables is None else [variables[row] for row in rows]
            return initial_states(*what, self._mesh, given)
        if len(rows) > count:
            arrays = jax.tree.map(lambda a: a[rows], arrays)
        tuned = seeds.put(seeds.tuned(self._settings, listed), self._mesh, "seed")
        placed = seeds.put(arrays, self._mesh, "seed")
        return to_states(placed, seeds.shapes(*what).replace(tuned=tuned))

    def epoch(
        self, active: Sequence[bool], order: np.ndarray | None = None
    ) -> list[Outcome | None]:
        """Trains the active members for an epoch and tests them; gives nothing for the others.

        Args:
          order: of the samples, for all members; None shuffles by each member's own key.
        """
        start = time.perf_counter()
        train_all = self._stream if self._streaming else self._train_in_memory
        metrics, finite = train_all(active, order)
        seconds = (time.perf_counter() - start) / sum(active)
        mask = self._mask(active)
        cut = self._streaming or isinstance(self.dataset.test.x, Windows)
        batches = evaluation.padded_batches(self.dataset.test.x) if cut else self._test

        def test(batch: Any, i: int) -> losses.Terms:
            return seeds.eval_step(self._task, self._states, mask, batch, i, spread=self._spread)

        terms = evaluation.map_batches(test, batches, len(self.dataset.test.x), axis=1)

        def outcome(row: int) -> Outcome:
            own_metrics, own_terms = jax.tree.map(lambda a: a[row], (metrics, terms))
            return Outcome(own_metrics, bool(finite[row]), own_terms, seconds)

        return [outcome(row) if is_active else None for row, is_active in enumerate(active)]

    def _mask(self, active: Sequence[bool]) -> jax.Array:
        padding = -len(active) % self._spread.multiple
        return seeds.put(np.array([*active, *([False] * padding)]), self._mesh, "seed")

    def _train_in_memory(self, active: Sequence[bool], order: np.ndarray | None) -> Any:
        """Returns the metrics of all members and whether they are finite, NumPy arrays."""
        while True:
            try:
                self._states, *results = seeds.train_epoch(
                    self._task,
                    self._states,
                    self._mask(active),
                    self._x,
                    None if order is None else seeds.put(order, self._mesh),
                    batch_size=self._settings.batch_size,
                    spread=self._spread,
                )
                results = distributed.to_host(results, delete=True)  # waits for the epoch
            except jax.errors.JaxRuntimeError as error:
                if "RESOURCE_EXHAUSTED" not in str(error) or self._make_states is None:
                    raise
                self._halve()
                continue
            self._make_states = None
            return results

    def _halve(self) -> None:
        """Lets half as many members train as one batch, from their first states."""
        if jax.process_count() > 1:
            raise InputError(
                f"{self.seeds_per_batch} seeds as one batch do not fit a device's memory: give "
                "--seeds-at-once with a smaller number."
            )
        assert self._make_states is not None
        self.seeds_per_batch = -(-self.seeds_per_batch // 2)
        del self._states
        self._states = self._make_states()
        if self.seeds_per_batch == 1:
            self._make_states = None

    def _stream(self, active: Sequence[bool], order: np.ndarray | None) -> Any:
        """`_train_in_memory`, one member after another, each reading its own batches."""
        results: list[Any] = [None] * len(active)
        for row in np.flatnonzero(active):
            state, metrics = train.train_epoch_streaming(
                self._task,
                jax.tree.map(lambda a, row=row: a[row], self._states),
                self.dataset.train.x,
                order,
                batch_size=self._settings.batch_size,
            )
            leaves = jax.tree.leaves(state.trained)
            finite = all(bool(jnp.isfinite(leaf).all()) for leaf in leaves)
            if finite and train.first_bad_step(metrics) is None:
                self._states = _with_state(self._states, row, state)
            results[row] = jax.device_get(metrics), finite
        unused = next(result for result in results if result is not None)
        return jax.tree.map(lambda *a: np.stack(a), *[result or unused for result in results])

    def arrays(self) -> StateArrays:
        """Returns the members' arrays where they are, for use before the next epoch.

        Rows beyond the members have no meaning.
        """
        return from_states(self._states)


def in_memory(x: data.Samples) -> np.ndarray | Windows:
    """Returns samples as arrays; windows stay an index, and are cut on the device."""
    return x if isinstance(x, Windows) else np.asarray(x)


@functools.partial(jax.jit, donate_argnums=0)
def _with_state(states: train.TrainState, row: int, state: train.TrainState) -> train.TrainState:
    return jax.tree.map(lambda many, one: many.at[row].set(one), states, state)
