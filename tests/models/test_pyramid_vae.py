"""The variational pyramid, against NumPy in float64; `tests/interop/test_verify.py` has PyTorch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from msae_jax import models, train
from msae_jax.config import ModelConfig, OptimizerConfig
from msae_jax.data import Dataset, Split
from msae_jax.errors import InputError
from msae_jax.interop import load_torch, mapping, save_torch, write_tensors
from msae_jax.recipes import recipe
from msae_jax.train import losses
from tests.models.test_pyramid import between, blocks, mlp, weights_of
from tests.models.variables import random_variables

RNG = np.random.default_rng(0)
SHAPE, POOLS, LATENT_DIM = (30, 3), (7, 4), 5
OPTIONS = {"pools": POOLS, "latent_dim": LATENT_DIM, "hidden": 16}
Posterior = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def made() -> tuple[Any, dict[str, Any], np.ndarray]:
    model = models.build(ModelConfig("pyramid-vae", OPTIONS), SHAPE)
    return model, random_variables(model), RNG.normal(size=(5, *SHAPE)).astype(np.float32)


def by_hand(variables: dict[str, Any], x: np.ndarray, noise: np.ndarray) -> Posterior:
    """Mean, log variance, sample and reconstruction; three latents in level 1, two in level 2."""
    residual, recon = x.astype(np.float64), np.zeros(x.shape)
    found = []
    for i, (pool, own) in enumerate(zip(POOLS, np.split(noise, [3], axis=1), strict=True)):
        layers = variables["params"][f"levels_{i}"]
        pooled = blocks(residual, pool)
        mu, log_var = np.split(mlp(layers["encoder"], pooled.reshape(len(x), -1)), 2, axis=1)
        z = mu + np.exp(log_var / 2) * own
        part = between(mlp(layers["decoder"], z).reshape(pooled.shape), pool, x.shape[1])
        recon, residual = recon + part, residual - part
        found.append((mu, log_var, z))
    mu, log_var, z = (np.hstack(parts) for parts in zip(*found, strict=True))
    return mu, log_var, z, recon


def test_each_level_encodes_what_the_samples_of_the_others_left(made: tuple) -> None:
    model, variables, x = made
    key = jax.random.key(3)
    noise = np.asarray(jax.random.normal(key, (5, LATENT_DIM)), np.float64)
    for given, eps in ((key, noise), (None, np.zeros_like(noise))):
        out = model.apply(variables, x, key=given)
        expected = by_hand(variables, x, eps)
        for got, want in zip((out.mu, out.log_var, out.z, out.recon), expected, strict=True):
            np.testing.assert_allclose(got, want, atol=1e-5)
        mu, log_var, z, recon = expected
        kl = 0.5 * (mu**2 + np.exp(log_var) - 1 - log_var).sum(axis=1)
        np.testing.assert_allclose(losses.kl_nats(out.mu, out.log_var), kl, rtol=1e-5)
        decoded = model.apply(variables, z.astype(np.float32), method="decode")
        np.testing.assert_allclose(decoded, recon, atol=1e-5)


def test_a_key_decides_the_sample_and_without_one_it_is_the_mean(made: tuple) -> None:
    model, variables, x = made
    first, again, other = (
        model.apply(variables, x, key=jax.random.key(seed)) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first.z, again.z)
    assert not np.array_equal(first.z, other.z)
    np.testing.assert_array_equal(first.mu[:, :3], other.mu[:, :3])  # nothing was sampled before
    assert not np.array_equal(first.mu[:, 3:], other.mu[:, 3:])
    mean, z = model.apply(variables, x), model.apply(variables, x, method="encode")
    np.testing.assert_array_equal(mean.z, mean.mu)
    np.testing.assert_array_equal(mean.z, z)
    np.testing.assert_array_equal(mean.mu[:, :3], first.mu[:, :3])
    decoded = model.apply(variables, z, method="decode")
    np.testing.assert_allclose(decoded, mean.recon, atol=1e-6)


def test_samples_have_the_mean_and_the_variance_of_the_posterior(made: tuple) -> None:
    model, variables, x = made
    out = model.apply(variables, np.repeat(x[:1], 4000, axis=0), key=jax.random.key(5))
    noise = np.asarray((out.z - out.mu) / jnp.exp(out.log_var / 2), np.float64)
    assert abs(noise.mean()) < 5 / np.sqrt(noise.size)
    assert abs(noise.var() - 1) < 5 * np.sqrt(2 / noise.size)
    assert np.abs(np.corrcoef(noise.T) - np.eye(LATENT_DIM)).max() < 5 / np.sqrt(len(noise))


def test_its_heads_are_all_that_it_has_more_than_a_pyramid() -> None:
    own, plain = (models.build(ModelConfig(name)) for name in ("pyramid-vae", "pyramid"))
    assert own.latent_dim == plain.latent_dim == 64
    more = models.parameter_count(own) - models.parameter_count(plain)
    assert more == 64 * (128 + 1)


def test_channels_are_never_time(made: tuple) -> None:
    model, variables, _ = made
    with pytest.raises(InputError, match=r"expects series \[B, 30, 3\], got \[2, 3, 30\]"):
        model.apply(variables, jnp.zeros((2, 3, 30)))


@pytest.mark.parametrize("level", ["dense", "conv"])
@pytest.mark.parametrize("pools", [[7, 3, 1], [1, 1]])
def test_pytorch_files_come_back(level: str, pools: list[int], tmp_path) -> None:
    options = {"level": level, "pools": pools, "latent_dim": 9, "hidden": 12, "channels": [4, 5]}
    trained = weights_of(ModelConfig("pyramid-vae", options), (40, 3))
    given = ModelConfig("pyramid-vae", {"features": 120, "input_channels": 3, "pools": pools})
    for file, config in (("a.safetensors", None), ("a.pth", given)):
        save_torch(tmp_path / file, trained)
        loaded = load_torch(tmp_path / file, config)
        assert (loaded.model.level, loaded.model.latent_dim) == (level, 9)
        assert (loaded.model.pools, loaded.model.sample_shape) == (tuple(pools), (40, 3))
        assert jax.tree.all(jax.tree.map(np.array_equal, loaded.variables, trained.variables))


@pytest.mark.parametrize("name", ["pyramid", "pyramid-flat", "pyramid-vae"])
@pytest.mark.parametrize("level", ["dense", "conv"])
def test_shapes_tell_the_pyramids_apart(name: str, level: str, tmp_path) -> None:
    trained = weights_of(ModelConfig(name, {"level": level, "latent_dim": 10}), (128,))
    entries = mapping.table(models.find_layout(name), trained.model)
    tensors = mapping.to_state_dict(entries, trained.variables, "these")
    write_tensors(tmp_path / "a.pth", tensors)
    loaded = load_torch(tmp_path / "a.pth")
    assert (loaded.config.model.name, loaded.model.latent_dim) == (name, 10)


def test_the_weight_of_its_kl_term_rises_in_the_first_half() -> None:
    """At a learning rate of nearly nothing, only that weight changes from step to step."""
    x = RNG.normal(size=(8, 24)).astype(np.float32)
    settings = replace(
        recipe("pyramid-vae"),
        model=ModelConfig("pyramid-vae", {"pools": [2, 1], "hidden": 8, "latent_dim": 6}),
        optimizer=OptimizerConfig("sgd", 1e-30),
        batch_size=4,
    )
    assert (settings.objective.beta, settings.objective.anneal_epochs) == (0.01, 10)
    assert settings.epochs == 20
    task = train.make_task(settings, Dataset("x", Split(x), Split(x)))
    state = train.init_state(task, 0, (24,))
    step = jax.jit(train.train_step, static_argnums=0)
    for at, weight in ((0, 0.0), (10, 0.005), (20, 0.01), (40, 0.01)):  # 2 steps an epoch
        _, metrics = step(task, state.replace(step=jnp.asarray(at)), jnp.asarray(x[:4]))
        expected = metrics.terms.mse + weight * metrics.terms.kl_nats * 2 / 24
        np.testing.assert_allclose(metrics.loss, expected, rtol=1e-5)
