from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from msae_jax import models
from msae_jax.config import ModelConfig, Objective
from msae_jax.data import Dataset
from msae_jax.errors import InputError
from msae_jax.train.evaluation import embed, error_of_mean, evaluate, per_sample, reconstruct

BERNOULLI = Objective("bernoulli", "sum")


@pytest.fixture(scope="module")
def vae() -> tuple:
    model = models.build(ModelConfig("vae3", {"hidden": [16], "latent_dim": 3}))
    return model, models.init_variables(model, jax.random.key(0), (784,))


def test_metrics_are_means_over_samples(vae: tuple, images: Dataset) -> None:
    """The MSE against NumPy on the model's own posterior-mean output."""
    model, variables = vae
    x = images.test.x / np.float32(255)
    recon = np.asarray(model.apply(variables, jnp.asarray(x)).recon, np.float64)
    got = evaluate(model, variables, images.test.x, BERNOULLI, batch_size=7)
    assert got["mse"] == pytest.approx(np.square(recon - x).mean(), rel=1e-6)
    assert got["n"] == 20
    assert got["loss"] == pytest.approx(got["recon_nats"] + got["kl_nats"])
    doubled = evaluate(model, variables, images.test.x, replace(BERNOULLI, beta=2.0))
    assert doubled["loss"] == pytest.approx(got["recon_nats"] + 2 * got["kl_nats"], rel=1e-3)


def test_the_error_of_the_mean_sample(images: Dataset) -> None:
    """The mean of the population variance of each value, what is missing left out."""
    expected = np.var(images.test.x / 255.0, axis=0).mean()
    assert error_of_mean(images.test.x) == pytest.approx(expected, rel=1e-9)
    rows = np.random.default_rng(0).normal(3, 1, (1_201, 5)).astype(np.float32)
    assert error_of_mean(rows) == pytest.approx(np.var(rows, axis=0).mean(), rel=1e-6)


def test_the_batch_size_changes_nothing(vae: tuple, images: Dataset) -> None:
    """Per-sample terms that draw no noise; 1e-5, as another batch size is another program."""
    model, variables = vae
    whole, parts = (
        per_sample(model, variables, images.test.x, BERNOULLI, batch_size=size) for size in (20, 7)
    )
    assert whole.mse.shape == parts.mse.shape == (20,)
    np.testing.assert_allclose(whole.mse, parts.mse, rtol=1e-5)
    np.testing.assert_allclose(whole.kl_nats, parts.kl_nats, rtol=1e-4, atol=1e-6)


def test_nats_of_a_vae_are_sampled(vae: tuple, images: Dataset) -> None:
    """The mean over many keys is the ELBO; each key gives its own, the same every time."""
    model, variables = vae
    a, b, again = (
        evaluate(model, variables, images.test.x, BERNOULLI, key=jax.random.key(seed))
        for seed in (1, 2, 1)
    )
    assert a == again
    assert a["recon_nats"] != b["recon_nats"]
    assert a["mse"] == b["mse"]
    assert a["kl_nats"] == b["kl_nats"]


def test_embeddings_and_reconstructions(vae: tuple, images: Dataset) -> None:
    model, variables = vae
    x = images.test.x
    z = embed(model, variables, x, batch_size=6)
    expected = model.apply(variables, jnp.asarray(x / np.float32(255)), method="posterior")[0]
    np.testing.assert_allclose(z, expected, atol=1e-6)
    recon = reconstruct(model, variables, x, batch_size=6)
    decoded = model.apply(variables, jnp.asarray(z), method="decode")
    assert recon.shape == x.shape
    assert recon.dtype == np.float32
    np.testing.assert_allclose(recon.reshape(20, -1), decoded, atol=1e-6)


def test_arrays_of_jax_and_lists_are_samples_too(vae: tuple, images: Dataset) -> None:
    model, variables = vae
    x = images.test.x[:5] / np.float32(255)
    expected = embed(model, variables, x)
    np.testing.assert_array_equal(embed(model, variables, jnp.asarray(x)), expected)
    np.testing.assert_array_equal(embed(model, variables, x.tolist()), expected)


def test_what_is_no_set_of_samples_is_named(vae: tuple, images: Dataset) -> None:
    x = images.test.x[:5] / np.float32(255)
    x[2, 3, 4] = np.nan
    for call in (embed, reconstruct, lambda *given: evaluate(*given, BERNOULLI)):
        with pytest.raises(InputError, match="sample 2 holds NaN or infinity"):
            call(*vae, x)
        with pytest.raises(InputError, match="at least one sample"):
            call(*vae, x[:0])
