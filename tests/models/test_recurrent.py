"""The LSTM's own gradients are those of its steps written out."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from msae_jax.models import recurrent

T, B, H = 5, 3, 4


def test_gradients_are_those_of_the_steps() -> None:
    keys = jax.random.split(jax.random.key(0), 6)
    gates = jax.random.normal(keys[0], (T, B, 4 * H))
    kernel = jax.random.normal(keys[1], (H, 4 * H))
    h, c, weight, last = (
        jax.random.normal(key, shape)
        for key, shape in zip(keys[2:], [(B, H), (B, H), (T, B, H), (2, B, H)], strict=True)
    )

    def written_out(*args: jax.Array) -> jax.Array:
        gates, kernel, h, c = args
        total = jnp.zeros(())
        for t in range(T):
            i, f, g, o = jnp.split(gates[t] + h @ kernel, 4, axis=-1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
            total += (weight[t] * h).sum()
        return total + (last[0] * h).sum() + (last[1] * c).sum()

    def ours(*args: jax.Array) -> jax.Array:
        steps, h, c = recurrent.lstm(*args)
        return (weight * steps).sum() + (last[0] * h).sum() + (last[1] * c).sum()

    args = gates, kernel, h, c
    value, grads = jax.value_and_grad(ours, argnums=(0, 1, 2, 3))(*args)
    expected, expected_grads = jax.value_and_grad(written_out, argnums=(0, 1, 2, 3))(*args)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    for found, wanted in zip(grads, expected_grads, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    many = jax.tree.map(lambda a: jnp.stack([a, 2 * a]), args)  # as seeds are
    of_each = jax.grad(ours, argnums=1)
    wanted = jnp.stack([grads[1], of_each(*jax.tree.map(lambda a: 2 * a, args))])
    np.testing.assert_allclose(jax.vmap(of_each)(*many), wanted, rtol=1e-4, atol=1e-5)
