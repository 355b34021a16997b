"""A batch in parts is the batch: losses, terms and steps to 1e-6, noise and gaps included."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from msae_jax import train
from msae_jax.config import ModelConfig, Objective, OptimizerConfig, TrainConfig
from msae_jax.data import Dataset, Split
from msae_jax.errors import InputError
from msae_jax.train import seeds
from msae_jax.train.accumulation import of_rows
from msae_jax.train.member import Member

pytestmark = pytest.mark.usefixtures("all_quick_to_compile")

RATE = 0.5
X = np.random.default_rng(0).normal(size=(32, 6)).astype(np.float32)
DATA = Dataset("x", Split(X), Split(X[:4]))
DENSE = TrainConfig(
    ModelConfig("baseline", {"hidden": [8], "latent_dim": 4}),
    optimizer=OptimizerConfig("sgd", RATE),  # a step is the gradient times the rate
    batch_size=32,
)
TIMED = replace(
    DENSE,
    model=ModelConfig("tests.train.small:Timed"),
    objective=Objective(
        "gaussian", "sum", 0.1, noise_std=0.1, augment="jitter:0.1", l1=0.1, equivariance=0.5,
        equivariance_transform="drift:0.2",
    ),
    optimizer=OptimizerConfig("sgd", 1e-3),
)  # fmt: skip
NORMED = replace(DENSE, model=ModelConfig("tests.train.small:Normed"))


def step(settings: TrainConfig, x: Any, masked: bool = False) -> Any:
    task = train.make_task(settings, DATA)._replace(masked=masked)
    state = train.init_state(task, 0, DATA.sample_shape)
    return task, state, *jax.jit(train.train_step, static_argnums=0)(task, state, jnp.asarray(x))


def leaves(tree: Any) -> list[np.ndarray]:
    return [np.asarray(a) for a in jax.tree.leaves(tree)]


@pytest.mark.parametrize(
    ("settings", "count", "parts"),
    [  # 22: parts of 6, 6, 6 and 4
        pytest.param(DENSE, 32, 4, marks=pytest.mark.slow),
        (DENSE, 22, 4),
        (TIMED, 22, 5),
    ],
)
def test_parts_add_up_to_the_batch(settings: TrainConfig, count: int, parts: int) -> None:
    """Parameters after a step of SGD, where a wrong factor of the gradient shows; and metrics."""
    _, before, whole, expected = step(settings, X[:count])
    _, _, after, metrics = step(replace(settings, accumulate=parts), X[:count])
    for start, a, b in zip(*map(leaves, (before.params, after.params, whole.params)), strict=True):
        assert (a != start).any()
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)
    for a, b in zip(leaves(metrics), leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_missing_values_weigh_samples_and_not_parts() -> None:
    """A decoder's bias in closed form: each sample's error is the mean over its own known values.

    d/db_d of 1/B sum_i 1/k_i sum_{d known} (r - x)^2 is 2/B sum_i known_id (r - x)_id / k_i. Some
    parts have few known values: a mean over the values of a part would weigh it otherwise.
    """
    x = X[:10].copy()
    x[::3, 2:] = np.nan
    x[7, ::2] = np.nan
    task, state, after, metrics = step(replace(DENSE, accumulate=3), x, masked=True)
    known = ~np.isnan(x)
    seen = np.where(known, x, 0)
    recon = np.asarray(task.model.apply(state.variables, seen).recon, np.float64)
    error = np.where(known, recon - seen, 0)
    share = known.sum(axis=1, keepdims=True)
    gradient = 2 * (error / share).mean(axis=0)
    bias = [np.asarray(s.params["decoder"]["linear_1"]["bias"]) for s in (state, after)]
    np.testing.assert_allclose(bias[1], bias[0] - RATE * gradient, atol=1e-6)
    np.testing.assert_allclose(metrics.loss, ((error**2).sum(1) / share[:, 0]).mean(), rtol=1e-6)


def test_batch_norm_is_of_each_part() -> None:
    """The exception: running statistics move with each part, by its own mean (momentum 0.1)."""
    _, state, after, _ = step(replace(NORMED, accumulate=2), X[:8])
    own = after.batch_stats["norm_0"]
    assert int(own["count"]) == 2
    h = X[:8] @ np.asarray(state.params["down"]["kernel"]) + np.asarray(
        state.params["down"]["bias"]
    )
    first, second = h[::2].mean(axis=0), h[1::2].mean(axis=0)  # every second sample is a part
    np.testing.assert_allclose(own["mean"], 0.9 * 0.1 * first + 0.1 * second, rtol=1e-4, atol=1e-6)


def test_a_key_of_rows_draws_their_rows() -> None:
    key = jax.random.key(7)
    own = of_rows(key, begin=jnp.uint32(1), stride=3, size=2, count=8)
    rows = [1, 4]

    def draw(key: jax.Array, n: int) -> jax.Array:
        other = jax.random.split(jax.random.fold_in(key, 2))[1]
        return jax.random.normal(key, (n, 5)) + jax.random.exponential(other, (n, 5))

    np.testing.assert_array_equal(draw(own, 2), np.asarray(draw(key, 8))[rows])
    np.testing.assert_array_equal(draw(own, 3), draw(key, 3))


NOISY = replace(TIMED, objective=Objective("gaussian", "sum", 0.1, noise_std=0.1))


@pytest.mark.parametrize(
    ("plain", "count"), [(NOISY, 30), pytest.param(TIMED, 32, marks=pytest.mark.slow)]
)
def test_seeds_in_a_batch_and_devices_that_share_a_batch_accumulate_too(
    plain: TrainConfig, count: int
) -> None:
    """Losses of an epoch, 32 samples' short batch included: one by one, both in a batch on two."""
    settings = replace(plain, batch_size=10, accumulate=2)
    members = [Member(0), Member(1)]
    task = seeds.make_task(settings, DATA, members)
    found = []
    for mesh, per_batch in (
        (seeds.make_mesh(devices=jax.devices()[:1]), 1),
        (seeds.make_mesh(2, jax.devices()[:2]), 2),
    ):
        states = seeds.init_states(task, settings, members, DATA.sample_shape, mesh)
        mask = seeds.put(np.ones(2, bool), mesh, "seed")
        x = seeds.put(X[:count], mesh)
        spread = seeds.Spread(mesh, per_batch)
        _, metrics, _ = seeds.train_epoch(task, states, mask, x, batch_size=10, spread=spread)
        found.append(np.asarray(metrics.loss))
    np.testing.assert_allclose(found[1], found[0], rtol=1e-5)
    assert found[0].shape == (2, -(-count // 10))
    assert (found[0][0] != found[0][1]).all()


@pytest.mark.parametrize("objective", [Objective(mmd=1.0), Objective(free_bits=0.1)])
def test_terms_of_a_whole_batch_are_refused(objective: Objective) -> None:
    with pytest.raises(InputError, match="of a whole batch, not a sum over its samples"):
        replace(DENSE, objective=objective, accumulate=2)


def test_more_parts_than_samples_are_refused() -> None:
    with pytest.raises(InputError, match="divides a batch of 32 samples: it cannot have 33 parts"):
        replace(DENSE, accumulate=33)
