"""Many seeds at once: the training of one seed, transformed. Nothing below knows about seeds.

States are stacked along a leading member axis. Devices form a mesh with the axes `seed`, over
which members are spread, and `data`, over which the batch of each is split. On its device a member
trains after another (`lax.scan`), or in chunks of `at_once` as one batch (`vmap`): accelerators are
idle without the second, CPUs slower with it, up to twice for convolutions.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from msae_jax import compiling, data, losses, train
from msae_jax.config import TrainConfig
from msae_jax.errors import InputError, unknown_name
from msae_jax.inference import BATCH_SIZE, EVALUATION, even_size, sample_terms

SOURCES = ("init", "order", "noise")
"""What a seed decides: the initial weights, the data order, the latent noise."""


@dataclass(frozen=True)
class Member:
    """One of many: a seed, what it decides, and the numbers that may differ between members.

    Attributes:
      vary: `all`, or the one of `SOURCES` that `seed` decides while the others follow the seed of
        the shared configuration.
      learning_rate, beta: instead of the shared configuration's.
    """

    seed: int
    vary: str = "all"
    learning_rate: float | None = None
    beta: float | None = None

    def __post_init__(self) -> None:
        if self.vary not in ("all", *SOURCES):
            raise unknown_name("source of variance", self.vary, ("all", *SOURCES))

    def config(self, settings: TrainConfig) -> TrainConfig:
        """Returns the configuration that trains this member alone, where `vary` is `all`."""
        optimizer, objective = settings.optimizer, settings.objective
        if self.learning_rate is not None:
            optimizer = replace(optimizer, learning_rate=self.learning_rate)
        if self.beta is not None:
            objective = replace(objective, beta=self.beta)
        return replace(settings, seed=self.seed, optimizer=optimizer, objective=objective)


class Spread(NamedTuple):
    """How members lie on devices: the mesh, and how many train as one batch on each device."""

    mesh: Mesh
    at_once: int = 1

    @property
    def rows(self) -> int:
        """Members must come in multiples of this."""
        return self.mesh.shape["seed"]


def make_mesh(
    data_devices: int = 1, devices: Sequence[jax.Device] | None = None, members: int | None = None
) -> Mesh:
    """Returns the mesh ('seed', 'data') of all devices, of every process.

    Args:
      data_devices: devices that share one batch; members are spread over the rest.
      members: how many there are: devices beyond them would be idle and are left out.

    Raises:
      InputError: the devices cannot be divided so.
    """
    devices = jax.devices() if devices is None else list(devices)
    if data_devices < 1 or len(devices) % data_devices:
        raise InputError(
            f"{len(devices)} devices cannot be divided into groups of {data_devices}: choose a "
            "divisor as the number of data devices."
        )
    groups = len(devices) // data_devices
    if members is not None and jax.process_count() == 1:
        groups = min(groups, members)
    grid = np.asarray(devices[: groups * data_devices]).reshape(groups, data_devices)
    return Mesh(grid, ("seed", "data"), axis_types=(jax.sharding.AxisType.Auto,) * 2)


def make_task(
    settings: TrainConfig, dataset: data.Dataset, members: Sequence[Member]
) -> train.Task:
    """Returns the task that all members share."""
    if not _tuned(members):
        return train.make_task(settings, dataset)
    optimizer = replace(settings.optimizer, learning_rate=1.0)
    objective = replace(settings.objective, beta=1.0)
    return train.make_task(replace(settings, optimizer=optimizer, objective=objective), dataset)


def _tuned(members: Sequence[Member]) -> bool:
    return any(m.learning_rate is not None or m.beta is not None for m in members)


def init_states(
    task: train.Task,
    settings: TrainConfig,
    members: Sequence[Member],
    sample_shape: tuple[int, ...],
    mesh: Mesh | None = None,
) -> train.TrainState:
    """Returns the members' states before the first step; every leaf has a leading member axis.

    The program that makes them is freed: a run needs it once, and it takes 15 to 35 MB.

    Args:
      mesh: where they lie, along its `seed` axis; on this process's first device where it is None.
    """
    mesh = mesh or make_mesh(devices=jax.local_devices()[:1])
    init = functools.partial(_init, task, sample_shape, mesh)
    program = jax.jit(init, compiler_options=compiling.quickly())
    states = program(put(_sources(settings, members), mesh, "seed"))
    jax.block_until_ready(states)  # a program that still runs outlives this function
    return states.replace(tuned=put(tuned(settings, members), mesh, "seed"))


def shapes(
    task: train.Task,
    settings: TrainConfig,
    members: Sequence[Member],
    sample_shape: tuple[int, ...],
) -> train.TrainState:
    """Returns the shapes and dtypes of `init_states`."""
    mesh = make_mesh(devices=jax.local_devices()[:1])
    init = functools.partial(_init, task, sample_shape, mesh)
    states = jax.eval_shape(init, _sources(settings, members))
    return states.replace(tuned=jax.eval_shape(lambda: tuned(settings, members)))


def _sources(settings: TrainConfig, members: Sequence[Member]) -> tuple[np.ndarray, ...]:
    """Returns the seeds `[M]` of each of `SOURCES`."""
    base = settings.seed

    def of(source: str) -> np.ndarray:
        return np.array([m.seed if m.vary in ("all", source) else base for m in members], np.uint32)

    return tuple(map(of, SOURCES))


def _init(
    task: train.Task, sample_shape: tuple[int, ...], mesh: Mesh, seeds: tuple[jax.Array, ...]
) -> train.TrainState:
    def one(_: Any, *seeds: jax.Array) -> train.TrainState:
        keys = train.Keys(*(train.seed_keys(seed)[i] for i, seed in enumerate(seeds)))
        return train.state_of_keys(task, keys, sample_shape)

    return _on_members(one, Spread(mesh), (), *seeds)


def tuned(settings: TrainConfig, members: Sequence[Member]) -> train.Tuned | None:
    """Returns the members' learning rates and betas, `[M]`; None where all are the shared ones."""
    if not _tuned(members):
        return None
    configs = [m.config(settings) for m in members]
    rates = np.array([c.optimizer.learning_rate for c in configs], np.float32)
    betas = np.array([c.objective.beta for c in configs], np.float32)
    return train.Tuned(jnp.asarray(rates), jnp.asarray(betas))


def put(tree: Any, mesh: Mesh, *axes: str) -> Any:
    """Puts arrays on the mesh: the leading axis along `axes`, or whole on every device."""
    return jax.device_put(tree, NamedSharding(mesh, P(*axes)))


def _on_members(fn: Any, spread: Spread, shared: Any, *stacked: Any) -> Any:
    """Maps `fn(shared, *member)` over members that are spread over the mesh's `seed` axis."""

    def local(shared: Any, *stacked: Any) -> Any:
        def one(member: Any) -> Any:
            return fn(shared, *member)

        return lax.map(one, stacked, batch_size=spread.at_once if spread.at_once > 1 else None)

    return _on_devices(local, spread, shared, *stacked)


def _on_devices(local: Any, spread: Spread, shared: Any, *stacked: Any) -> Any:
    """Calls `local(shared, *stacked)` on each device of the `seed` axis with its own members."""
    return jax.shard_map(
        local,
        mesh=spread.mesh,
        in_specs=(P(), *(P("seed") for _ in stacked)),
        out_specs=P("seed"),
        axis_names={"seed"},
        check_vma=False,
    )(shared, *stacked)


def _in_place(
    fn: Any, spread: Spread, count: int, shared: Any, states: Any, active: jax.Array, begin: Any
) -> Any:
    """Maps `fn(shared, state, active)` to a state and more over members, replacing their states.

    `lax.map` would hold all states twice: those it reads and those it writes.
    """

    def chunk(shared: Any, states: Any, active: jax.Array, first: Any, size: int) -> Any:
        def rows(a: jax.Array) -> jax.Array:
            return lax.dynamic_slice_in_dim(a, first, size)

        def replaced(a: jax.Array, new: jax.Array) -> jax.Array:
            return lax.dynamic_update_slice_in_dim(a, new, first, 0)

        some = jax.tree.map(rows, (states, active))
        if size == 1:  # a batch of one is slower than none
            after = fn(shared, *jax.tree.map(lambda a: a[0], some))
            after, more = jax.tree.map(lambda a: a[None], after)
        else:
            after, more = jax.vmap(lambda *one: fn(shared, *one))(*some)
        return jax.tree.map(replaced, states, after), more

    def local(shared: Any, states: Any, active: jax.Array) -> Any:
        x, begin = shared
        active &= jnp.arange(len(active)) >= begin
        first = jnp.minimum(begin, len(active) - count)
        size = min(spread.at_once, count)
        rest = count % size
        firsts = first + jnp.arange(0, count - rest, size)
        states, more = lax.scan(lambda s, i: chunk(x, s, active, i, size), states, firsts)
        more = jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), more)
        if rest:
            states, last = chunk(x, states, active, first + count - rest, rest)
            more = jax.tree.map(lambda *parts: jnp.concatenate(parts), more, last)
        return states, more

    return _on_devices(local, spread, (shared, begin), states, active)


@functools.partial(
    jax.jit,
    static_argnums=0,
    static_argnames=("batch_size", "spread", "count"),
    donate_argnames="states",
)
def train_epoch(
    task: train.Task,
    states: train.TrainState,
    active: jax.Array,
    x: jax.Array,
    begin: int = 0,
    *,
    batch_size: int,
    spread: Spread,
    count: int | None = None,
) -> tuple[train.TrainState, train.Metrics, jax.Array]:
    """One epoch of every active member, or of some on each device, as one program.

    A member that diverges keeps the state it had before the epoch.

    Args:
      states: members' states, `[M, ...]` each, donated; M is a multiple of `spread.rows`.
      active: bool `[M]`; the others stay as they are.
      x: the training set `[N, ...]`.
      begin, count: train, of the members on each device, so many from this one on, or where fewer
        are left the last so many, of which those before it stay; all by default.

    Returns:
      States; metrics `[C, steps]` of those C members, NaN where not active; and bool `[C]`: whether
      the parameters and batch statistics are finite after the epoch. All lie where their members
      do.
    """
    split = spread.mesh.shape["data"] > 1

    def place(batch: jax.Array) -> jax.Array:
        return lax.with_sharding_constraint(batch, P("data")) if split else batch

    def go(x: jax.Array, state: train.TrainState) -> Any:
        after, metrics = train.epoch(task, state, x, batch_size=batch_size, place=place)
        leaves = jax.tree.leaves((after.params, after.batch_stats))
        finite = jnp.stack([jnp.isfinite(leaf).all() for leaf in leaves]).all()
        good = finite & jnp.isfinite(metrics.loss).all()
        kept = jax.tree.map(lambda a, b: lax.select(good, a, b), after, state)
        return kept, (metrics, finite)

    def one(x: jax.Array, state: train.TrainState, active: jax.Array) -> Any:
        like, _ = jax.eval_shape(go, x, state)[1]

        def stay(x: jax.Array, state: train.TrainState) -> Any:
            nothing = jax.tree.map(lambda a: jnp.full(a.shape, jnp.nan, a.dtype), like)
            return state, (nothing, jnp.array(True))

        return lax.cond(active, go, stay, x, state)

    count = count or len(active) // spread.rows
    states, (metrics, finite) = _in_place(one, spread, count, x, states, active, begin)
    return states, metrics, finite


@functools.partial(jax.jit, static_argnums=0, static_argnames=("spread", "rows"))
def evaluate(
    task: train.Task,
    states: train.TrainState,
    active: jax.Array,
    batches: jax.Array,
    *,
    spread: Spread,
    rows: int | None = None,
) -> losses.Terms:
    """Returns the terms `[M, K * B]` of each sample of `batches` `[K, B, ...]`, with its member.

    As `inference.sample_terms` computes them, which says what `rows` does; NaN of a member that is
    not active.
    """

    def one(batches: jax.Array, state: train.TrainState, active: jax.Array) -> losses.Terms:
        key = jax.random.fold_in(state.noise_key, EVALUATION)

        def step(numbered: tuple[jax.Array, jax.Array]) -> losses.Terms:
            i, batch = numbered
            noise = jax.random.fold_in(key, i)
            return sample_terms(task.model, task.objective, state.variables, batch, noise, rows)

        def go() -> losses.Terms:
            return jax.tree.map(jnp.ravel, lax.map(step, (jnp.arange(len(batches)), batches)))

        def stay() -> losses.Terms:
            return losses.Terms(*[jnp.full(batches.shape[0] * batches.shape[1], jnp.nan)] * 3)

        return lax.cond(active, go, stay)

    return _on_members(one, spread, batches, states, active)


def padded_batches(x: np.ndarray, batch_size: int = BATCH_SIZE) -> np.ndarray:
    """Returns a set `[N, ...]` as batches `[K, B, ...]`; the last is filled up from the start."""
    size = even_size(len(x), batch_size)
    count = -(-len(x) // size)
    filled = x if count * size == len(x) else x[np.arange(count * size) % len(x)]
    return filled.reshape(count, size, *x.shape[1:])
