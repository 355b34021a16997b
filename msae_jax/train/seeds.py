"""Many seeds at once: transforms the training of one seed, which knows nothing of the others.

States are stacked along a leading member axis. Devices form a mesh with the axes `seed`, over
which members are spread, and `data`, over which the batch of each is split. The members of one
device train one after another (`lax.scan`), or several at once as one batch (`vmap`). Without
`vmap` accelerators are idle; with it CPUs are slower, up to twice for convolutions.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from msae_jax import data, train
from msae_jax.config import TrainConfig
from msae_jax.errors import InputError
from msae_jax.system import compiling
from msae_jax.train import evaluation, losses
from msae_jax.train.member import SOURCES, Member


class Spread(NamedTuple):
    """How members lie on devices: the mesh, and how many train as one batch on each device."""

    mesh: Mesh
    per_batch: int = 1

    @property
    def multiple(self) -> int:
        """The number of members must be a multiple of this."""
        return self.mesh.shape["seed"] * self.per_batch


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

    Args:
      mesh: where they lie, along its `seed` axis; on this process's first device where it is None.
    """
    mesh = mesh or make_mesh(devices=jax.local_devices()[:1])
    seeds = put(_sources(settings, members), mesh, "seed")
    states = _init_program()(task, sample_shape, mesh, seeds)
    if len(members) > 1:  # the program is needed once and takes 15 MB or more: free it
        jax.block_until_ready(states)
        _init_program().clear_cache()
    return states.replace(tuned=put(tuned(settings, members), mesh, "seed"))


@functools.cache  # made when it is first called: to ask for the backend starts it
def _init_program() -> Any:
    return jax.jit(
        _init, static_argnums=(0, 1, 2), compiler_options=compiling.fast_compile_options()
    )


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

    # XLA writes out a loop over one member, and on some processors rounds initial values otherwise
    # there than beside other members: a device that has one makes it twice.
    times = 2 if len(seeds[0]) == mesh.shape["seed"] else 1
    repeated = tuple(jnp.repeat(of_member, times) for of_member in seeds)
    return jax.tree.map(lambda a: a[::times], _on_members(one, Spread(mesh), (), *repeated))


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
        batch_size = spread.per_batch if spread.per_batch > 1 else None
        return lax.map(lambda member: fn(shared, *member), stacked, batch_size=batch_size)

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


def _replace_states(fn: Any, spread: Spread, shared: Any, states: Any, active: jax.Array) -> Any:
    """Maps `fn(shared, state, active)` over members, each new state written over the old one.

    `lax.map` would hold all states twice: those that it reads and those that it writes.

    Returns:
      The states, and what else `fn` returns, with a leading member axis.
    """
    size = spread.per_batch

    def train_some(shared: Any, states: Any, active: jax.Array, begin: jax.Array) -> Any:
        some = jax.tree.map(lambda a: lax.dynamic_slice_in_dim(a, begin, size), (states, active))
        if size == 1:  # a batch of one is slower than none
            new, more = fn(shared, *jax.tree.map(lambda a: a[0], some))
            new, more = jax.tree.map(lambda a: a[None], (new, more))
        else:
            new, more = jax.vmap(functools.partial(fn, shared))(*some)
        states = jax.tree.map(
            lambda a, b: lax.dynamic_update_slice_in_dim(a, b, begin, 0), states, new
        )
        return states, more

    def local(shared: Any, states: Any, active: jax.Array) -> Any:
        begins = jnp.arange(0, len(active), size)
        states, more = lax.scan(lambda s, i: train_some(shared, s, active, i), states, begins)
        return states, jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), more)

    return _on_devices(local, spread, shared, states, active)


@functools.partial(
    compiling.jit_training,
    static_argnames=("task", "batch_size", "spread"),
    donate_argnames="states",
)
def train_epoch(
    task: train.Task,
    states: train.TrainState,
    active: jax.Array,
    x: jax.Array,
    order: jax.Array | None = None,
    *,
    batch_size: int,
    spread: Spread,
) -> tuple[train.TrainState, train.Metrics, jax.Array]:
    """Trains every active member for one epoch, as one program.

    A member that diverges keeps the state it had before the epoch.

    Args:
      states: members' states, `[M, ...]` each, donated; M is a multiple of `spread.multiple`.
      active: bool `[M]`; the others stay as they are.
      x: the training set `[N, ...]`.
      order: indices `[n]` into the set, for all members; None shuffles all of it by each one's key.

    Returns:
      States; metrics `[M, steps]`, NaN where not active; and bool `[M]`: whether all that was
      trained is finite after the epoch. All lie where their members do.
    """
    split = spread.mesh.shape["data"] > 1

    def place(batch: jax.Array) -> jax.Array:
        return lax.with_sharding_constraint(batch, P("data")) if split else batch

    def go(shared: Any, state: train.TrainState) -> Any:
        x, order = shared
        after, metrics = train.epoch(task, state, x, order, batch_size=batch_size, place=place)
        leaves = jax.tree.leaves(after.trained)
        finite = jnp.stack([jnp.isfinite(leaf).all() for leaf in leaves]).all()
        good = finite & jnp.isfinite(metrics.loss).all()
        kept = jax.tree.map(lambda a, b: lax.select(good, a, b), after, state)
        return kept, (metrics, finite)

    def stay(shared: Any, state: train.TrainState) -> Any:
        samples = len(x) if order is None else len(order)
        nothing = jnp.full(-(-samples // batch_size), jnp.nan, jnp.float32)
        return state, (train.metrics_of(task, nothing), jnp.array(True))

    def go_if_active(shared: Any, state: train.TrainState, active: jax.Array) -> Any:
        return lax.cond(active, go, stay, shared, state)

    states, (metrics, finite) = _replace_states(go_if_active, spread, (x, order), states, active)
    return states, metrics, finite


@functools.partial(compiling.jit_inference, static_argnums=0, static_argnames="spread")
def eval_step(
    task: train.Task,
    states: train.TrainState,
    active: jax.Array,
    batch: jax.Array,
    i: jax.Array | int,
    *,
    spread: Spread,
) -> losses.Terms:
    """Returns the terms `[M, B]` of each sample of the i-th batch `[B, ...]`, with each member.

    As `evaluation.sample_terms` computes them; NaN of a member that is not active.
    """

    def one(shared: Any, state: train.TrainState, active: jax.Array) -> losses.Terms:
        batch, i = shared
        key = evaluation.noise_key(state.noise_key)

        def go() -> losses.Terms:
            return evaluation.sample_terms(
                task.model, task.objective, state.variables, batch, key, i, task.masked
            )

        def stay() -> losses.Terms:
            nothing = jnp.full(len(batch), jnp.nan, jnp.float32)
            return losses.Terms(*[nothing] * len(losses.Terms._fields))

        return lax.cond(active, go, stay)

    return _on_members(one, spread, (batch, i), states, active)
