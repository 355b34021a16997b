from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from msae_jax.config import OptimizerConfig
from msae_jax.train.optimizer import make_optimizer


def updates(config: OptimizerConfig, steps: int, gradient: float = 1.0) -> np.ndarray:
    """The change of one scalar parameter at each step under a constant gradient."""
    rule = make_optimizer(config, steps)
    params = {"w": jnp.array(1.0)}
    state, found = rule.init(params), []
    for _ in range(steps):
        change, state = rule.update({"w": jnp.array(gradient)}, state, params)
        found.append(float(change["w"]))
    return np.array(found)


def test_adam_is_pytorchs() -> None:
    """From the update rule in `torch.optim.Adam`'s documentation, with gradients 1, 2, 3."""
    rule = make_optimizer(OptimizerConfig(), 3)
    params = {"w": jnp.array(0.5)}
    state, w, m, v = rule.init(params), 0.5, 0.0, 0.0
    for t, g in enumerate([1.0, 2.0, 3.0], start=1):
        change, state = rule.update({"w": jnp.array(g)}, state, params)
        params = {"w": params["w"] + change["w"]}
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        w -= 1e-3 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    np.testing.assert_allclose(params["w"], w, rtol=1e-6)


def test_schedules_start_and_end_where_they_say() -> None:
    sgd = OptimizerConfig("sgd", 1.0, schedule="linear", final_fraction=0.2)
    np.testing.assert_allclose(-updates(sgd, 4), [1.0, 0.8, 0.6, 0.4], rtol=1e-6)
    cosine = OptimizerConfig("sgd", 1.0, schedule="cosine", warmup_steps=2)
    rates = -updates(cosine, 6)
    expected = [0.0, 0.5] + [(1 + np.cos(np.pi * k / 4)) / 2 for k in range(4)]
    np.testing.assert_allclose(rates, expected, atol=1e-6)


def test_clipping_bounds_the_gradient() -> None:
    clipped = OptimizerConfig("sgd", 1.0, clip_norm=0.5)
    np.testing.assert_allclose(updates(clipped, 1, gradient=10.0), [-0.5], rtol=1e-6)


def test_weight_decay_pulls_to_zero() -> None:
    rate, decay = 0.1, 0.5
    config = OptimizerConfig("adamw", rate, weight_decay=decay)
    np.testing.assert_allclose(updates(config, 1, gradient=0.0), [-rate * decay], rtol=1e-6)


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd", "rmsprop", "lion"])
def test_every_optimizer_descends(name: str) -> None:
    assert (updates(OptimizerConfig(name, 0.1), 3) < 0).all()


def test_equal_configurations_share_one_optimizer() -> None:
    assert make_optimizer(OptimizerConfig(), 7) is make_optimizer(OptimizerConfig(), 7)
