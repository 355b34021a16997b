"""Batches in blocks: the same values, in as many blocks as keep what is between layers small."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from msae_jax import Objective, models
from msae_jax.config import ModelConfig
from msae_jax.train import blocks, evaluation


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "LIMIT", 4096)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(
    ("rows", "sizes"),
    [
        (8, [8]),  # 8 x 128 float32 are 4096 bytes
        (9, [5, 5]),  # filled up with the first row
        (24, [8, 8, 8]),
    ],
)
def test_each_row_comes_once_and_in_order(rows: int, sizes: list[int]) -> None:
    seen = []

    def fn(block: jax.Array, number: jax.Array | None) -> tuple[jax.Array, jax.Array]:
        seen.append(len(block))
        wide = jnp.repeat(block, 128, axis=1)
        return wide.sum(axis=1), jnp.full(len(block), -1 if number is None else number)

    x = jnp.arange(rows, dtype=jnp.float32)[:, None]
    total, number = jax.jit(lambda x: blocks.in_blocks(fn, x))(x)
    assert np.array_equal(total, np.arange(rows) * 128.0)
    numbers = np.repeat(np.arange(len(sizes)), sizes)[:rows]
    assert np.array_equal(number, numbers if len(sizes) > 1 else numbers - 1)  # None of one block
    assert set(seen[1:]) == {sizes[0]}  # the first trace is that which measures


@pytest.mark.usefixtures("small_blocks")
def test_what_is_in_a_branch_or_a_loop_counts() -> None:
    def fn(block: jax.Array, _: jax.Array) -> jax.Array:
        def body(_: int, total: jax.Array) -> jax.Array:
            return total + jax.lax.cond(total[0] > 0, wide, wide, block)

        def wide(x: jax.Array) -> jax.Array:
            return jnp.repeat(x, 256, axis=1).sum(axis=1)

        return jax.lax.fori_loop(0, 2, body, jnp.zeros(len(block), jnp.float32))

    program = jax.make_jaxpr(lambda x: blocks.in_blocks(fn, x))(jnp.ones((16, 1)))
    scans = [e for e in program.eqns if e.primitive.name == "scan"]
    assert [e.params["length"] for e in scans] == [4]  # 16 x 256 x 4 bytes are four times the limit


def _weights(name: str) -> tuple[models.Model, dict[str, object]]:
    model = models.build(ModelConfig(name), (28, 28, 1))
    return model, models.init_variables(model, jax.random.key(0), (28, 28, 1))


def test_evaluation_in_blocks_is_that_of_the_whole_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(0).random((11, 28, 28, 1), np.float32)
    model, variables = _weights("ae5")
    found = []
    for limit in (blocks.LIMIT, 20_000):  # 784 float32 values a sample
        monkeypatch.setattr(blocks, "LIMIT", limit)
        jax.clear_caches()
        z = evaluation.embed(model, variables, x)
        recon = evaluation.reconstruct(model, variables, x)
        found.append((z, recon, evaluation.evaluate(model, variables, x, Objective("gaussian"))))
    (z, recon, metrics), (z_2, recon_2, metrics_2) = found
    np.testing.assert_allclose(z_2, z, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(recon_2, recon, rtol=1e-5, atol=1e-6)
    assert metrics_2 == pytest.approx(metrics, rel=1e-5)


def test_each_block_draws_its_own_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "LIMIT", 8 * 784 * 4)
    jax.clear_caches()
    x = np.tile(np.random.default_rng(0).random((1, 28, 28, 1), np.float32), (16, 1, 1, 1))
    model, variables = _weights("vae3")
    terms = evaluation.per_sample(model, variables, x, Objective("bernoulli"))
    assert len(set(terms.recon_nats.tolist())) == 16
    assert len(set(np.round(terms.kl_nats, 4).tolist())) == 1
