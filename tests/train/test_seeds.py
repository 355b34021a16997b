"""Seed k of many is seed k alone.

Bit for bit where members train one after another (`per_batch=1`, as on CPUs) on one device.
In a program for several devices XLA may order sums differently: the small models here but batch
norm's keep their bits, others need not. There, where members train as one batch, and where devices
share each batch, it is 1e-6 relative in the losses of an epoch.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from msae_jax import train
from msae_jax.config import ModelConfig, Objective, OptimizerConfig, TrainConfig
from msae_jax.data import Dataset
from msae_jax.errors import InputError
from msae_jax.fitting.placement import Trainer
from msae_jax.runs.arrays import from_states, to_states
from msae_jax.system import distributed
from msae_jax.train import evaluation, seeds
from msae_jax.train.evaluation import per_sample
from msae_jax.train.seeds import Member, Spread

# SGD where bits may differ, because Adam turns the rounding noise of a zero gradient into steps.
SGD = OptimizerConfig("sgd", 0.1)
BASELINE = TrainConfig(model=ModelConfig("baseline", {"hidden": [16]}), batch_size=32)
CONV = TrainConfig(model=ModelConfig("conv", {"channels": [4, 4, 8]}), batch_size=32)
VAE = TrainConfig(
    model=ModelConfig("vae3", {"hidden": [16]}),
    objective=Objective("bernoulli", "sum"),
    batch_size=32,
)
MSAE = TrainConfig(model=ModelConfig("msae", {"channels": [2, 4]}), batch_size=32)
CASES = [(BASELINE, "signals"), (MSAE, "signals"), (CONV, "images"), (VAE, "images")]


def quick_or_slow(*cases: tuple) -> list:
    """Marks all but the first as slow: every model, and every way to lie on devices."""
    first, *others = cases
    return [first, *(pytest.param(*case, marks=pytest.mark.slow) for case in others)]


def two_devices() -> jax.sharding.Mesh:
    return seeds.make_mesh(devices=jax.devices()[:2])


def train_many(
    settings: TrainConfig,
    dataset: Dataset,
    members: list[Member],
    spread: Spread,
    active: list[bool] | None = None,
    epochs: int = 2,
) -> tuple[train.TrainState, train.Metrics, Any]:
    task = seeds.make_task(settings, dataset, members)
    states = seeds.init_states(task, settings, members, dataset.sample_shape)
    arrays = seeds.put(distributed.to_host(from_states(states)), spread.mesh, "seed")
    tuned = seeds.put(jax.tree.map(np.asarray, states.tuned), spread.mesh, "seed")
    states = to_states(arrays, states.replace(tuned=tuned))
    mask = seeds.put(np.array(active or [True] * len(members)), spread.mesh, "seed")
    x = seeds.put(dataset.train.x, spread.mesh)
    for _ in range(epochs):
        states, metrics, finite = seeds.train_epoch(
            task, states, mask, x, batch_size=settings.batch_size, spread=spread
        )
    return states, metrics, finite


def train_one(
    settings: TrainConfig, dataset: Dataset, epochs: int = 2
) -> tuple[train.TrainState, train.Metrics]:
    """Trains as no member of anything, from the initial values that `fit` gives a seed alone."""
    task = train.make_task(settings, dataset)
    states = seeds.init_states(task, settings, [Member(settings.seed)], dataset.sample_shape)
    state = jax.tree.map(lambda a: a[0], states)
    x = jnp.asarray(dataset.train.x)
    for _ in range(epochs):
        state, metrics = train.train_epoch(task, state, x, batch_size=settings.batch_size)
    return state, metrics


def assert_same_bits(many: train.TrainState, k: int, one: train.TrainState) -> None:
    pairs = zip(
        jax.tree.leaves((many.params, many.batch_stats, many.opt_state)),
        jax.tree.leaves((one.params, one.batch_stats, one.opt_state)),
        strict=True,
    )
    for a, b in pairs:
        np.testing.assert_array_equal(np.asarray(a)[k], b)


@pytest.mark.parametrize(
    ("settings", "name", "devices"),
    quick_or_slow(*((*case, 1) for case in CASES), (BASELINE, "signals", 8), (VAE, "images", 8)),
)
def test_seed_k_of_many_is_seed_k_alone(settings: TrainConfig, name: str, devices, request) -> None:
    dataset = request.getfixturevalue(name)
    mesh = seeds.make_mesh(devices=jax.devices()[:devices])
    members = [Member(seed) for seed in range(8)]
    states, metrics, _ = train_many(settings, dataset, members, Spread(mesh))
    for k in (0, 7):
        one, own = train_one(replace(settings, seed=k), dataset)
        assert_same_bits(states, k, one)
        np.testing.assert_array_equal(np.asarray(metrics.loss)[k], own.loss)


@pytest.mark.parametrize(
    ("settings", "name", "data_devices", "per_batch"),
    quick_or_slow(
        *((*case, 4, 2) for case in CASES),
        *((BASELINE, "signals", *how) for how in ((1, 1), (2, 2), (2, 1), (8, 4))),
    ),
)
def test_batched_and_split_members_agree(
    settings: TrainConfig, name: str, data_devices: int, per_batch: int, request
) -> None:
    """One epoch from equal weights, the short last batch (150 = 4 x 32 + 22) included."""
    dataset = request.getfixturevalue(name)
    settings = replace(settings, optimizer=replace(SGD, learning_rate=1e-3))
    members = [Member(seed) for seed in range(8)]
    spread = Spread(seeds.make_mesh(data_devices), per_batch)
    _, metrics, _ = train_many(settings, dataset, members, spread, epochs=1)
    for k in (0, 5):
        _, own = train_one(replace(settings, seed=k), dataset, epochs=1)
        np.testing.assert_allclose(np.asarray(metrics.loss)[k], own.loss, rtol=1e-6)


def test_each_device_holds_its_own_members(signals: Dataset) -> None:
    members = [Member(seed) for seed in range(4)]
    states, _, _ = train_many(BASELINE, signals, members, Spread(two_devices()), epochs=1)
    kernel = states.params["encoder"]["linear_0"]["kernel"]
    assert {shard.data.shape[0] for shard in kernel.addressable_shards} == {2}
    assert len({shard.device for shard in kernel.addressable_shards}) == 2


def test_evaluation_is_that_of_one(images: Dataset) -> None:
    """Per-sample terms to 1e-6 relative: the two programs may order sums differently."""
    members = [Member(seed) for seed in range(2)]
    spread = Spread(two_devices())
    task = seeds.make_task(VAE, images, members)
    states = seeds.init_states(task, VAE, members, images.sample_shape, spread.mesh)
    mask = seeds.put(np.array([False, True]), spread.mesh, "seed")
    batches = list(evaluation.padded_batches(images.test.x, 8))
    assert [batch.shape for batch in batches] == [(7, 28, 28, 1)] * 3

    def test(batch: Any, i: int) -> Any:
        return seeds.eval_step(task, states, mask, batch, i, spread=spread)

    terms = evaluation.map_batches(test, batches, 20, axis=1)
    one = train.init_state(task, 1, images.sample_shape)
    key = evaluation.noise_key(one.noise_key)
    own = per_sample(task.model, one.variables, images.test.x, VAE.objective, key=key, batch_size=8)
    for many, alone in zip(terms, own, strict=True):
        assert np.isnan(many[0]).all()
        np.testing.assert_allclose(many[1], alone, rtol=1e-6)


def test_an_idle_member_stays_and_a_diverging_one_is_kept_as_it_was(signals: Dataset) -> None:
    members = [Member(0), Member(1), Member(2, learning_rate=1e38), Member(3)]
    members = [replace(m, learning_rate=m.learning_rate or 1e-3) for m in members]
    spread = Spread(two_devices())
    task = seeds.make_task(BASELINE, signals, members)
    before = seeds.init_states(task, BASELINE, members, signals.sample_shape)
    before = jax.tree.map(np.asarray, before.params)
    states, metrics, finite = train_many(
        BASELINE, signals, members, spread, [True, False, True, True], epochs=1
    )
    loss = np.asarray(metrics.loss)
    assert np.isnan(loss[1]).all()
    assert not np.isfinite(loss[2]).all()
    assert np.isfinite(loss[[0, 3]]).all()
    assert not finite[2]
    for a, b in zip(jax.tree.leaves(states.params), jax.tree.leaves(before), strict=True):
        for k in (1, 2):
            np.testing.assert_array_equal(np.asarray(a)[k], b[k])
        assert (np.asarray(a)[0] != b[0]).any()


@pytest.mark.parametrize("learning_rate", [None, 1e-3])
def test_shapes_are_those_of_initial_states(signals: Dataset, learning_rate: float | None) -> None:
    members = [Member(seed, learning_rate=learning_rate) for seed in range(3)]
    like = seeds.make_task(BASELINE, signals, members), BASELINE, members, signals.sample_shape

    def described(states: train.TrainState) -> train.TrainState:
        return jax.tree.map(lambda a: (a.shape, a.dtype), states)

    assert described(seeds.shapes(*like)) == described(seeds.init_states(*like))


def test_members_vary_what_they_say(images: Dataset) -> None:
    """`init` moves the weights alone, `order` the order alone, `noise` the noise alone."""
    members = [Member(0), *(Member(5, vary) for vary in ("init", "order", "noise", "all"))]
    task = seeds.make_task(VAE, images, members)
    states = seeds.init_states(task, VAE, members, images.sample_shape)
    kernel = np.asarray(states.params["encoder"]["linear_0"]["kernel"])
    order, noise = (
        np.asarray(jax.random.key_data(key)) for key in (states.order_key, states.noise_key)
    )
    for k, moved in {1: "i", 2: "o", 3: "n", 4: "ion"}.items():
        assert (kernel[k] != kernel[0]).any() == ("i" in moved)
        assert (order[k] != order[0]).any() == ("o" in moved)
        assert (noise[k] != noise[0]).any() == ("n" in moved)


@pytest.mark.parametrize("beta", [pytest.param(0.0, marks=pytest.mark.slow), 4.0])
def test_tuned_members_train_as_their_own_configuration(images: Dataset, beta: float) -> None:
    """Learning rate and beta as arrays of one program, against a program made for each."""
    members = [Member(0, learning_rate=1e-3, beta=1.0), Member(1, learning_rate=3e-3, beta=beta)]
    states, _, _ = train_many(VAE, images, members, Spread(seeds.make_mesh(members=2)))
    one, _ = train_one(members[1].config(VAE), images)
    for a, b in zip(jax.tree.leaves(states.params), jax.tree.leaves(one.params), strict=True):
        np.testing.assert_allclose(np.asarray(a)[1], b, atol=2e-5)


def test_bad_meshes_and_members_are_refused() -> None:
    with pytest.raises(InputError, match="8 devices cannot be divided into groups of 3"):
        seeds.make_mesh(3)
    with pytest.raises(InputError, match="source of variance"):
        Member(0, "inti")


def test_a_mesh_leaves_out_devices_that_would_be_idle() -> None:
    assert dict(seeds.make_mesh(2, members=3).shape) == {"seed": 3, "data": 2}
    assert dict(seeds.make_mesh(members=100).shape) == {"seed": 8, "data": 1}


def test_an_epoch_holds_each_state_once(signals: Dataset) -> None:
    """What a program needs beside its arguments does not grow with the members."""
    spread = Spread(seeds.make_mesh(devices=jax.devices()[:1]))
    task = seeds.make_task(BASELINE, signals, [Member(0)])

    def memory(count: int) -> tuple[Any, int]:
        members = [Member(seed) for seed in range(count)]
        states = seeds.shapes(task, BASELINE, members, signals.sample_shape)
        mask, x = np.ones(count, bool), jnp.asarray(signals.train.x)
        options = {"batch_size": 32, "spread": spread}
        compiled = seeds.train_epoch.lower(task, states, mask, x, **options).compile()
        trees = states.params, states.opt_state
        size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(trees))
        return compiled.memory_analysis(), size

    (few, size_few), (many, size_many) = memory(4), memory(64)
    assert many.alias_size_in_bytes >= size_many
    grown = many.temp_size_in_bytes - few.temp_size_in_bytes
    assert grown < 0.05 * (size_many - size_few)


def test_members_that_do_not_fill_their_groups_train_as_alone(signals: Dataset) -> None:
    """Five members, of which one has finished, in batches of two on two devices."""
    members = [Member(seed) for seed in range(5)]
    settings = replace(BASELINE, optimizer=replace(SGD, learning_rate=1e-3))
    task = seeds.make_task(settings, signals, members)
    data_devices = len(jax.devices()) // 2
    trainer = Trainer(
        task, settings, members, signals, seeds_per_batch=2, data_devices=data_devices
    )
    outcomes = trainer.epoch([True, True, False, True, True])
    assert [outcome is None for outcome in outcomes] == [False, False, True, False, False]
    for seed, outcome in enumerate(outcomes):
        if outcome is not None:
            _, own = train_one(replace(settings, seed=seed), signals, epochs=1)
            np.testing.assert_allclose(outcome.metrics.loss, own.loss, rtol=1e-6)


def test_a_batch_of_seeds_is_halved_until_it_fits_the_memory(
    signals: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device that holds two members; what does not fit takes the states with it."""
    alone = jax.devices()[:1]
    monkeypatch.setattr(jax, "devices", lambda: alone)
    tried = []

    def train_epoch(*args: Any, spread: Spread, **kwargs: Any) -> Any:
        tried.append(spread.per_batch)
        if spread.per_batch > 2:
            jax.tree.map(lambda a: a.delete(), args[1].params)
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")
        return actual(*args, spread=spread, **kwargs)

    actual = seeds.train_epoch
    monkeypatch.setattr(seeds, "train_epoch", train_epoch)
    members = [Member(seed) for seed in range(7)]
    task = seeds.make_task(BASELINE, signals, members)
    settings = replace(BASELINE, optimizer=replace(SGD, learning_rate=1e-3))
    trainer = Trainer(task, settings, members, signals, seeds_per_batch=7)
    first = trainer.epoch([True] * 7)
    trainer.epoch([True] * 7)
    assert tried == [7, 4, 2, 2]
    assert trainer.seeds_per_batch == 2
    assert all(outcome is not None and outcome.finite for outcome in first)


def test_other_seeds_and_epochs_train_without_compiling(signals: Dataset) -> None:
    settings = replace(BASELINE, epochs=7)
    spread = Spread(two_devices())
    train_many(settings, signals, [Member(seed) for seed in range(4)], spread, epochs=1)
    compiled: list[object] = []

    def listen(event: str, seconds: float, **more: object) -> None:
        if "backend_compile" in event:
            compiled.append(more["fun_name"])

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        train_many(settings, signals, [Member(seed) for seed in range(4, 8)], spread, epochs=3)
        assert compiled == ["jit(_init)"]  # not kept
        train_many(settings, signals, [Member(2)] * 2, spread, epochs=1)  # another shape does
        assert "jit(train_epoch)" in compiled
    finally:
        if hasattr(jax.monitoring, "unregister_event_duration_listener"):  # JAX 0.8 has none
            jax.monitoring.unregister_event_duration_listener(listen)
