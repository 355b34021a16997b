from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from msae_jax import models
from msae_jax.analysis import bounds, elbo, log_likelihood
from msae_jax.config import ModelConfig, Objective
from msae_jax.data import Dataset
from msae_jax.errors import InputError
from msae_jax.models.output import Output, finish
from msae_jax.train.evaluation import per_sample


class OneLatent(nn.Module):
    """A variational autoencoder of one latent, linear but for its output."""

    features: int = 3
    output: str = "identity"

    def setup(self) -> None:
        self.mu, self.log_var, self.up = nn.Dense(1), nn.Dense(1), nn.Dense(self.features)

    def __call__(
        self, x: jax.Array, *, key: jax.Array | None = None, train: bool = False
    ) -> Output:
        z = mu = self.mu(x)
        log_var = self.log_var(x)
        if key is not None:
            z = mu + jnp.exp(0.5 * log_var) * jax.random.normal(key, mu.shape, mu.dtype)
        return finish(x, z, self.up(z), self.output, mu, log_var)


W, B = np.array([1.5, -0.5, 2.0]), np.array([0.3, 0.0, -1.0])


def variables(mu: np.ndarray, mu_bias: float, log_var: float) -> dict:
    """Decoder W z + B; posterior N(mu . x + mu_bias, exp(log_var))."""
    layers = {
        "mu": (mu[:, None], [mu_bias]),
        "log_var": (np.zeros((3, 1)), [log_var]),
        "up": (W[None], B),
    }
    return {
        "params": {
            name: {"kernel": np.array(k, np.float32), "bias": np.array(b, np.float32)}
            for name, (k, b) in layers.items()
        }
    }


PRECISION = 1 + W @ W  # of the exact posterior of the Gaussian model
EXACT = variables(W / PRECISION, float(-W @ B / PRECISION), float(-np.log(PRECISION)))
PRIOR = variables(np.zeros(3), 0.0, 0.0)  # a posterior that is the prior: poor, but legal


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return np.random.default_rng(0).normal(B, 1.5, (7, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def exact(x: np.ndarray) -> np.ndarray:
    """log N(x; B, W W' + I), the marginal of x = W z + B + noise."""
    return stats.multivariate_normal(B, np.outer(W, W) + np.eye(3)).logpdf(x)


def test_with_the_exact_posterior_one_sample_is_exact(x: np.ndarray, exact: np.ndarray) -> None:
    """Then p(x | z) p(z) / q(z | x) is p(x) for every z, and the ELBO is tight."""
    one = log_likelihood(OneLatent(), EXACT, x, 1, likelihood="gaussian")
    np.testing.assert_allclose(one, exact, atol=2e-5)
    many = bounds(OneLatent(), EXACT, x, 20_000, likelihood="gaussian", batch_size=3)
    np.testing.assert_allclose(many.log_likelihood, exact, atol=2e-5)
    np.testing.assert_allclose(many.elbo, exact, atol=0.03)  # 0.7 nats of noise / sqrt(20000), x5


def test_with_a_poor_posterior_it_converges_from_below(x: np.ndarray, exact: np.ndarray) -> None:
    """Over 1,000 draws of each: rises with k by more than five standard errors, below log p(x)."""
    tiled = np.tile(x, (1000, 1))
    draws = np.stack(
        [
            log_likelihood(OneLatent(), PRIOR, tiled, k, likelihood="gaussian").reshape(1000, 7)
            for k in (1, 4, 16, 64)
        ]
    )
    means = draws.mean(axis=(1, 2))
    errors = np.sqrt(draws.var(axis=1).mean(axis=1) / (1000 * 7))
    assert np.all(np.diff(means) > 5 * np.hypot(errors[1:], errors[:-1]))
    assert means[-1] < exact.mean()
    many = bounds(OneLatent(), PRIOR, x, 50_000, likelihood="gaussian")
    np.testing.assert_allclose(many.log_likelihood, exact, atol=0.05)
    assert np.all(many.elbo < many.log_likelihood)


def test_the_elbo_of_a_poor_posterior(x: np.ndarray) -> None:
    """q = p, so it is E log p(x | z) = -1/2 (|x - B|^2 + |W|^2) - 3/2 log 2 pi."""
    got = elbo(OneLatent(), PRIOR, x, 50_000, likelihood="gaussian")
    expected = -0.5 * (np.square(x - B).sum(axis=1) + W @ W) - 1.5 * np.log(2 * np.pi)
    np.testing.assert_allclose(got, expected, atol=0.15)  # 7 nats of noise / sqrt(50000), x5


def test_bernoulli_against_integration_on_a_grid() -> None:
    """All eight binary vectors: each by the trapezium rule, and together they sum to one."""
    x = np.array(np.meshgrid(*[[0, 1]] * 3)).reshape(3, -1).T.astype(np.float32)
    z = np.linspace(-12, 12, 20_001)
    logits = z[:, None] * W + B
    log_p = x @ special.log_expit(logits).T + (1 - x) @ special.log_expit(-logits).T
    expected = np.log(np.trapezoid(np.exp(log_p) * stats.norm.pdf(z), z, axis=1))
    posterior = variables(0.5 * W, -0.5, -0.5)
    got = log_likelihood(OneLatent(output="sigmoid"), posterior, x, 50_000)
    np.testing.assert_allclose(got, expected, atol=0.02)
    assert np.exp(got).sum() == pytest.approx(1, abs=0.01)


def test_k_is_exactly_k(x: np.ndarray) -> None:
    """Samples 0 .. k - 1 and no others, whatever their number in a chunk; against NumPy on the
    model's own outputs."""
    key = jax.random.key(5)
    got = bounds(OneLatent(), PRIOR, x, 23, key=key, likelihood="gaussian")
    keys = [jax.random.fold_in(jax.random.fold_in(key, 0), i) for i in range(23)]
    z = np.stack([OneLatent().apply(PRIOR, x, key=k).z for k in keys]).astype(np.float64)
    log_p = stats.norm.logpdf(x, z * W + B).sum(axis=2)
    np.testing.assert_allclose(
        got.log_likelihood, special.logsumexp(log_p, axis=0) - np.log(23), atol=1e-5
    )
    np.testing.assert_allclose(got.elbo, log_p.mean(axis=0), rtol=1e-5)


def test_images_through_a_registered_model(images: Dataset) -> None:
    """The ELBO is the mean of what `per_sample` draws one at a time; far logits stay finite."""
    model = models.build(ModelConfig("vae3", {"hidden": [16], "latent_dim": 3}))
    weights = models.init_variables(model, jax.random.key(0), (784,))
    got = bounds(model, weights, images.test.x, 400, batch_size=8)
    draws = []
    for seed in range(60):
        terms = per_sample(
            model, weights, images.test.x, Objective("bernoulli"), key=jax.random.key(seed)
        )
        draws.append(terms.recon_nats + terms.kl_nats)
    error = np.std(draws, axis=0, ddof=1) * np.sqrt(1 / 60 + 1 / 400)
    assert np.all(np.abs(-np.mean(draws, axis=0) - got.elbo) < 5 * error)
    assert np.all(got.log_likelihood >= got.elbo)
    params = dict(weights["params"])
    params["decoder"] = jax.tree.map(lambda a: 1000 * a, params["decoder"])  # logits of thousands
    assert np.isfinite(bounds(model, {"params": params}, images.test.x, 3).log_likelihood).all()


def test_what_has_no_likelihood(images: Dataset) -> None:
    plain = models.build(ModelConfig("ae5", {"hidden": [4]}))
    weights = models.init_variables(plain, jax.random.key(0), (784,))
    with pytest.raises(InputError, match="has no posterior"):
        bounds(plain, weights, images.test.x)
    with pytest.raises(InputError, match="likelihood 'gaussian'"):
        bounds(OneLatent(), PRIOR, np.ones((1, 3), np.float32))
    with pytest.raises(InputError, match="at least 1, got 0"):
        bounds(OneLatent(), PRIOR, np.ones((1, 3), np.float32), 0)
