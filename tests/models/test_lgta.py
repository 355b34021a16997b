"""L-GTA and its layers against NumPy; `tests/interop/test_verify.py` has PyTorch."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from msae_jax import models, train
from msae_jax.config import ModelConfig, Objective, OptimizerConfig, TrainConfig
from msae_jax.data import Dataset, Split
from msae_jax.errors import InputError
from msae_jax.models.lgta import Lgta
from msae_jax.models.recurrent import BidirectionalLstm, SelfAttention, tanh
from tests.models.variables import random_variables

RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 7, 5)).astype(np.float32)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def lstm(params: dict[str, Any], x: np.ndarray, suffix: str) -> np.ndarray:
    """One direction, step by step in float64."""
    own = {name: np.asarray(a, np.float64) for name, a in params.items()}
    h = c = np.zeros((len(x), own[f"hidden_kernel{suffix}"].shape[0]))
    steps = []
    for t in range(x.shape[1]):
        gates = x[:, t] @ own[f"input_kernel{suffix}"] + own[f"input_bias{suffix}"]
        gates = gates + h @ own[f"hidden_kernel{suffix}"] + own[f"hidden_bias{suffix}"]
        i, f, g, o = np.split(gates, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        steps.append(h)
    return np.stack(steps, axis=1)


def test_an_lstm_reads_both_ways() -> None:
    layer = BidirectionalLstm(4)
    variables = layer.init(jax.random.key(1), X)
    params = variables["params"]
    assert max(float(jnp.abs(a).max()) for a in params.values()) <= 0.5  # 1 / sqrt(4)
    backward = lstm(params, X[:, ::-1], "_reverse")[:, ::-1]
    expected = np.concatenate([lstm(params, X, ""), backward], axis=2)
    np.testing.assert_allclose(layer.apply(variables, X), expected, atol=1e-6)


def test_the_error_of_tanh_has_no_sign() -> None:
    """Where `jax.numpy.tanh` is too small by 8e-8 of its value on average."""
    x = RNG.uniform(0.1, 0.3, 100_000).astype(np.float32)
    exact = np.tanh(x.astype(np.float64))
    assert abs((np.asarray(tanh(jnp.asarray(x))) / exact - 1).mean()) < 1e-8


def test_attention_is_a_weighted_mean_over_time() -> None:
    x = RNG.normal(size=(2, 6, 4)).astype(np.float32)
    layer = SelfAttention(2)
    variables = layer.init(jax.random.key(1), x)
    p = {name: np.asarray(a, np.float64) for name, a in variables["params"].items()}
    assert 0.4 < np.abs(p["in_kernel"]).max() <= np.sqrt(6 / 16)
    q, k, v = np.split(x @ p["in_kernel"] + p["in_bias"], 3, axis=2)
    heads = []
    for half in (slice(0, 2), slice(2, 4)):
        scores = np.exp(q[:, :, half] @ k[:, :, half].transpose(0, 2, 1) / np.sqrt(2))
        heads.append(scores / scores.sum(axis=2, keepdims=True) @ v[:, :, half])
    expected = np.concatenate(heads, axis=2) @ p["out_kernel"] + p["out_bias"]
    np.testing.assert_allclose(layer.apply(variables, x), expected, atol=1e-6)
    with pytest.raises(InputError, match="4 values of a time step are not a number of 3 heads"):
        SelfAttention(3).init(jax.random.key(1), x)


def test_latents_follow_the_time() -> None:
    model = models.build(ModelConfig("lgta", {"hidden": 4, "heads": 1}), (6, 2), series=True)
    assert isinstance(model, Lgta)
    assert (model.latent_grid, model.latent_dim, model.sample_shape) == ((6, 4), 24, (6, 2))
    x = jnp.asarray(RNG.normal(size=(3, 6, 2)), jnp.float32)
    variables = random_variables(model)
    apply = jax.jit(model.apply, static_argnames="method")
    mean, out = apply(variables, x), apply(variables, x, key=jax.random.key(2))
    assert mean.z.shape == out.mu.shape == out.log_var.shape == (3, 24)
    np.testing.assert_array_equal(mean.z, mean.mu)
    noise = jax.random.normal(jax.random.key(2), (3, 24))
    np.testing.assert_allclose(out.z, out.mu + jnp.exp(0.5 * out.log_var) * noise, atol=1e-6)
    again = apply(variables, apply(variables, x, method="encode"), method="decode")
    np.testing.assert_allclose(again, mean.recon, atol=1e-6)


@pytest.mark.slow
def test_it_trains_with_equivariance_under_every_transform() -> None:
    x = np.sin(np.arange(8) / 2 + RNG.uniform(0, 6, (16, 1))).astype(np.float32)
    objective = Objective(beta=0.05, equivariance=1.0, anneal_steps=4)
    settings = TrainConfig(
        ModelConfig("lgta", {"hidden": 4, "step_dim": 2}),
        objective=objective,
        optimizer=OptimizerConfig(learning_rate=1e-2),
        batch_size=8,
    )
    dataset = Dataset("x", Split(x), Split(x))
    task = train.make_task(settings, dataset)
    state = train.init_state(task, 0, (8,))
    step = jax.jit(train.train_step, static_argnums=0)
    losses = []
    for _ in range(60):
        state, metrics = step(task, state, jnp.asarray(x))
        losses.append(float(metrics.loss))
    assert np.isfinite(losses).all()
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10])
