from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from msae_jax.errors import InputError
from msae_jax.models.layers import BatchNorm, Conv, ConvTranspose, Linear


@pytest.mark.parametrize(
    ("layer", "shape", "fan_in"),
    [
        (Linear(300), (2, 200), 200),
        (Conv(64, (3, 3)), (2, 8, 8, 32), 32 * 9),
        (Conv(64, (7,)), (2, 20, 16), 16 * 7),
        (ConvTranspose(32, (4, 4), stride=2, padding=1), (2, 5, 5, 64), 32 * 16),
    ],
)
def test_torch_initial_weights(layer, shape: tuple[int, ...], fan_in: int) -> None:
    """U(-b, b), b = fan_in ** -0.5: within bounds, reaching them, with its first four moments."""
    keys = jax.random.split(jax.random.key(0), 40)
    params = jax.jit(jax.vmap(lambda key: layer.init(key, jnp.zeros(shape))["params"]))(keys)
    bound = 1 / math.sqrt(fan_in)
    for name in ("kernel", "bias"):
        values = np.asarray(params[name], np.float64).ravel() / bound
        n = values.size
        assert np.abs(values).max() <= 1.0 + 1e-6, name
        assert np.abs(values).max() > 1.0 - 20 / n, name
        # five standard errors of each moment of U(-1, 1)
        assert abs(values.mean()) < 5 * math.sqrt(1 / 3 / n), name
        assert abs((values**2).mean() - 1 / 3) < 5 * math.sqrt(4 / 45 / n), name
        assert abs((values**4).mean() - 1 / 5) < 5 * math.sqrt(16 / 225 / n), name


def test_flax_initial_weights() -> None:
    params = Linear(300, "flax").init(jax.random.key(0), jnp.zeros((1, 400)))["params"]
    assert not params["bias"].any()
    assert abs(float(params["kernel"].std()) * math.sqrt(400) - 1) < 0.02  # lecun_normal


def test_batch_norm_follows_pytorchs_running_statistics() -> None:
    """Against `torch.nn.BatchNorm2d`'s documented equations, in float64."""
    x = np.random.default_rng(0).normal(3.0, 2.0, (4, 5, 6, 3))
    norm = BatchNorm()
    variables = norm.init(jax.random.key(0), jnp.asarray(x, jnp.float32), train=True)
    np.testing.assert_array_equal(variables["batch_stats"]["mean"], np.zeros(3))
    y, mutated = norm.apply(
        variables, jnp.asarray(x, jnp.float32), train=True, mutable="batch_stats"
    )
    mean, biased, unbiased = (
        x.mean((0, 1, 2)),
        x.var((0, 1, 2)),
        x.reshape(-1, 3).var(0, ddof=1),
    )
    np.testing.assert_allclose(y, (x - mean) / np.sqrt(biased + 1e-5), atol=1e-5)
    stats = mutated["batch_stats"]
    np.testing.assert_allclose(stats["mean"], 0.1 * mean, rtol=1e-5)
    np.testing.assert_allclose(stats["var"], 0.9 + 0.1 * unbiased, rtol=1e-5)
    assert abs(unbiased - biased).min() > 1e-3  # so that the two cannot be confused above
    assert int(stats["count"]) == 1

    after = {"params": variables["params"], "batch_stats": stats}
    z = norm.apply(after, jnp.asarray(x, jnp.float32), train=False)
    expected = (x - 0.1 * mean) / np.sqrt(0.9 + 0.1 * unbiased + 1e-5)
    np.testing.assert_allclose(z, expected, atol=1e-5)


def test_batch_norm_refuses_a_single_value() -> None:
    x = jnp.zeros((1, 1, 1, 3))
    with pytest.raises(InputError, match="2 values per channel"):
        BatchNorm().init(jax.random.key(0), x, train=True)
