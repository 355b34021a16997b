"""Against closed forms, computed with NumPy in float64; and through seeds and sweeps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import msae_jax as mj
from msae_jax import train
from msae_jax.config import ModelConfig, Objective, OptimizerConfig, TrainConfig, override
from msae_jax.data import Dataset, Split
from msae_jax.errors import InputError
from msae_jax.fitting import sweep
from msae_jax.models.output import finish
from msae_jax.train import regularizers as r

RNG = np.random.default_rng(5)
Z = RNG.normal(size=(6, 3))
P = RNG.normal(size=(6, 3))
X = RNG.uniform(0, 1, (20, 12)).astype(np.float32)
DATA = Dataset("small", Split(X[:16]), Split(X[16:]))
VAE = ModelConfig("vae3", {"hidden": [8], "latent_dim": 3})


def single(a: np.ndarray) -> jax.Array:
    return jnp.asarray(a, jnp.float32)


@pytest.mark.parametrize("kernel", ["imq", "rbf"])
def test_mmd_is_the_mean_over_pairs(kernel: str) -> None:
    def k(a: np.ndarray, b: np.ndarray) -> float:
        s = float(np.sum((a - b) ** 2))
        return 6 / (6 + s) if kernel == "imq" else float(np.exp(-s / 6))

    pairs = [(i, j) for i in range(6) for j in range(6) if i != j]
    within = [np.mean([k(a[i], a[j]) for i, j in pairs]) for a in (Z, P)]
    between = np.mean([k(a, b) for a in Z for b in P])
    got = r.mmd(single(Z), single(P), kernel)
    np.testing.assert_allclose(got, sum(within) - 2 * between, rtol=1e-5, atol=1e-6)


def test_mmd_of_gaussians_is_the_closed_form() -> None:
    """The RBF kernel exp(-s / 2d) of N(m, I) and N(0, I): E k = (1 + 2 / d)^(-d / 2) within each
    set, and that times exp(-|m|^2 / (2 d + 4)) between them."""
    d, n, mean = 2, 2000, np.array([1.5, -1.0])
    a, b = RNG.normal(size=(n, d)) + mean, RNG.normal(size=(n, d))
    within = (1 + 2 / d) ** (-d / 2)
    expected = 2 * within * (1 - np.exp(-(mean @ mean) / (2 * d + 4)))
    np.testing.assert_allclose(r.mmd(single(a), single(b), "rbf"), expected, atol=0.02)


def test_l1() -> None:
    np.testing.assert_allclose(r.l1(single(Z)), np.abs(Z).sum(1).mean(), rtol=1e-6)


def test_contractive_of_a_linear_and_of_a_sigmoid_layer() -> None:
    """||W||_F^2; and, of a sigmoid, sum_j (h_j (1 - h_j))^2 |w_j|^2 (Rifai et al., 2011)."""
    w, x = RNG.normal(size=(4, 3)), RNG.normal(size=(5, 2, 2))

    def layer(a: jax.Array) -> jax.Array:
        return a.reshape(len(a), 4) @ single(w)

    np.testing.assert_allclose(r.contractive(layer, single(x)), (w**2).sum(), rtol=1e-5)
    h = 1 / (1 + np.exp(-x.reshape(5, 4) @ w))
    expected = ((h * (1 - h)) ** 2 @ (w**2).sum(0)).mean()
    got = r.contractive(lambda a: jax.nn.sigmoid(layer(a)), single(x))
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_free_bits() -> None:
    mu, log_var = RNG.normal(size=(2, 6, 3)) * [1.0, 0.1, 1.0]
    kl = (0.5 * (mu**2 + np.exp(log_var) - 1 - log_var)).mean(axis=0)
    assert kl[1] < 0.2 < kl[0]
    got = r.free_bits(single(mu), single(log_var), 0.2)
    np.testing.assert_allclose(got, np.maximum(kl, 0.2).sum(), rtol=1e-5)


def test_equivariance_of_a_linear_decoder() -> None:
    """Of scaling by a linear map it is 0; of a shift by c with D z = z W, |c W - c|^2."""
    w = RNG.normal(size=(3, 3))

    def decode(z: jax.Array) -> jax.Array:
        return z @ single(w)

    def doubled(a: jax.Array) -> jax.Array:
        return 2 * a

    def moved(a: jax.Array) -> jax.Array:
        return a + 0.7

    assert float(r.equivariance(decode, doubled, doubled, single(Z))) < 1e-10
    expected = np.square(0.7 * w.sum(axis=0) - 0.7).mean()
    np.testing.assert_allclose(r.equivariance(decode, moved, moved, single(Z)), expected, rtol=1e-4)


def settings(**objective: object) -> TrainConfig:
    return TrainConfig(
        VAE,
        objective=replace(Objective("bernoulli", "batchmean"), **objective),
        optimizer=OptimizerConfig("sgd", 1e-2),
        epochs=2,
        batch_size=4,
    )


def losses_of(config: TrainConfig) -> tuple[np.ndarray, train.Metrics]:
    task = train.make_task(config, DATA)
    state = train.init_state(task, 0, (12,))
    _, metrics = train.train_epoch(task, state, jnp.asarray(X[:16]), batch_size=4)
    return np.asarray(metrics.loss), metrics


class EachStep(nn.Module):
    """A decoder that multiplies the one latent of each time step by `weight`."""

    length: int = 8
    weight: float = 1.5

    @property
    def sample_shape(self) -> tuple[int, ...]:
        return (self.length,)

    @property
    def latent_grid(self) -> tuple[int, int]:
        return self.length, 1

    def encode(self, x: jax.Array) -> jax.Array:
        return x / self.weight

    def decode(self, z: jax.Array) -> jax.Array:
        return z * self.weight

    @nn.compact
    def __call__(self, x: jax.Array, *, key: jax.Array | None = None, train: bool = False) -> Any:
        bias = self.param("bias", nn.initializers.zeros_init(), (1,))  # so that there is one
        return finish(x, self.encode(x), self.decode(self.encode(x)) + bias, "identity")


def test_equivariance_asks_the_decoder_of_one_draw_of_the_transforms() -> None:
    """For T(z) = a z + b and D(z) = w z the term is the mean of b^2 (1 - w)^2: a drops out."""
    x = RNG.normal(size=(16, 8)).astype(np.float32)
    objective = Objective(equivariance=3.0, equivariance_transform="scaling:0.4,trend:0.5")
    settings = TrainConfig(model=ModelConfig(f"{__name__}:EachStep"), objective=objective)
    task = train.make_task(settings, Dataset("x", Split(x), Split(x)))
    state = train.init_state(task, 1, (8,))
    got = float(train.train_step(task, state, jnp.asarray(x))[1].loss)
    plain = task._replace(objective=Objective())
    without = float(train.train_step(plain, state, jnp.asarray(x))[1].loss)
    key = jax.random.fold_in(jax.random.fold_in(state.noise_key, 2**32 - 5), 0)
    slopes = jax.random.normal(jax.random.fold_in(key, 1), (16, 1, 1))
    b = 0.5 * np.asarray(slopes)[:, :, 0] * np.arange(1, 9) / 8
    np.testing.assert_allclose(got - without, 3.0 * np.square(b * 0.5).mean(), rtol=1e-4)


def test_equivariance_needs_a_latent_for_each_time_step() -> None:
    x = np.zeros((4, 32), np.float32)
    settings = TrainConfig(model=ModelConfig("pyramid"), objective=Objective(equivariance=1.0))
    with pytest.raises(InputError, match="latents for each time step, such as lgta; Pyramid has"):
        train.make_task(settings, Dataset("x", Split(x), Split(x)))


def test_the_first_step_counts_no_kl_and_half_way_half() -> None:
    """A learning rate of nearly nothing: only the weight of the KL term changes."""
    still = OptimizerConfig("sgd", 1e-30)
    for objective in ({"anneal_steps": 4}, {"anneal_epochs": 1}):
        loss, metrics = losses_of(replace(settings(beta=3.0, **objective), optimizer=still))
        weight = 3.0 * np.arange(4) / 4
        expected = metrics.terms.recon_nats + weight * metrics.terms.kl_nats
        np.testing.assert_allclose(loss, expected, rtol=1e-6)
    loss, metrics = losses_of(replace(settings(beta=3.0, anneal_steps=2), optimizer=still))
    expected = metrics.terms.recon_nats + np.array([0, 1.5, 3, 3]) * metrics.terms.kl_nats
    np.testing.assert_allclose(loss, expected, rtol=1e-6)


def test_what_an_objective_adds_is_in_the_loss_alone() -> None:
    """L1 and free bits; under `sum`, for each of the four samples of a batch."""
    still = OptimizerConfig("sgd", 1e-30)
    plain, metrics = losses_of(replace(settings(), optimizer=still))
    more, same = losses_of(replace(settings(l1=0.5), optimizer=still))
    jax.tree.map(np.testing.assert_array_equal, same.terms, metrics.terms)
    assert (more > plain).all()
    summed, _ = losses_of(replace(settings(reduction="sum", l1=0.5), optimizer=still))
    np.testing.assert_allclose(summed, 4 * more, rtol=1e-5)
    bits, _ = losses_of(replace(settings(free_bits=10.0), optimizer=still))
    np.testing.assert_allclose(bits, metrics.terms.recon_nats + 3 * 10.0, rtol=1e-6)


def test_every_term_trains_and_moves_the_weights() -> None:
    _, start = losses_of(settings())
    for objective in ({"mmd": 50.0}, {"mmd": 50.0, "mmd_kernel": "rbf"}, {"contractive": 50.0}):
        _, moved = losses_of(settings(**objective))
        assert np.isfinite(moved.loss).all()
        assert (np.asarray(moved.terms.mse) != np.asarray(start.terms.mse))[1:].all()


@pytest.mark.slow
def test_the_contractive_term_reaches_convolutions() -> None:
    model = ModelConfig(
        "msae", {"channels": [2, 3], "pooled": [4, 2], "hidden": 4, "latent_dim": 2}
    )
    config = TrainConfig(model, objective=Objective(contractive=1.0), batch_size=8)
    loss, metrics = losses_of(config)
    assert (loss > np.asarray(metrics.terms.mse)).all()


ANNEALED = settings(anneal_epochs=2, mmd=0.1, reduction="sum")


@pytest.mark.slow
def test_schedules_go_through_seeds() -> None:
    alone = [mj.fit(replace(ANNEALED, seed=seed), DATA).history for seed in (0, 1)]
    together = mj.fit(ANNEALED, DATA, seeds=2)
    for own, one in zip(together.histories, alone, strict=True):
        assert [h["train_loss"] for h in own] == [h["train_loss"] for h in one]


@pytest.mark.parametrize("epochs", [2, pytest.param(0, marks=pytest.mark.slow)])
def test_schedules_go_through_sweeps(epochs: int) -> None:
    axes = {"beta": [1.0, 4.0], "objective.anneal_epochs": [0, 2]}
    groups = sweep.groups(ANNEALED, axes, 1)
    assert len(groups) == 2  # betas train together
    [group] = [g for g in groups if g.settings.objective.anneal_epochs == epochs]
    swept = mj.fit(group.settings, DATA, seeds=group.members)
    for point, history in zip(group.points, swept.histories, strict=True):
        own = mj.fit(override(ANNEALED, point), DATA).history
        np.testing.assert_allclose(
            [h["train_loss"] for h in history], [h["train_loss"] for h in own], rtol=1e-6
        )


def test_bad_values_are_refused() -> None:
    with pytest.raises(InputError, match="anneal_epochs or anneal_steps"):
        Objective(anneal_epochs=1, anneal_steps=1)
    with pytest.raises(InputError, match="mmd must be at least 0"):
        Objective(mmd=-1.0)
    with pytest.raises(InputError, match="unknown mmd_kernel 'rbff'"):
        Objective(mmd_kernel="rbff")
