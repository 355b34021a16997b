"""Against closed forms computed with NumPy in float64."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from msae_jax import config
from msae_jax.config import Objective, tree
from msae_jax.errors import InputError
from msae_jax.models.output import Output
from msae_jax.train import losses

RNG = np.random.default_rng(3)
X = RNG.uniform(size=(5, 4, 3)).astype(np.float32)
LOGITS = RNG.normal(size=(5, 4, 3)).astype(np.float32)
MU = RNG.normal(size=(5, 2)).astype(np.float32)
LOG_VAR = RNG.normal(size=(5, 2)).astype(np.float32)

P = 1 / (1 + np.exp(-LOGITS.astype(np.float64)))
BCE = -(X * np.log(P) + (1 - X) * np.log(1 - P)).sum((1, 2))
MSE = np.square(P - X).mean((1, 2))
# The KL of two Gaussians, from the general formula with standard deviations.
SIGMA = np.exp(LOG_VAR.astype(np.float64) / 2)
KL = (-np.log(SIGMA) + (SIGMA**2 + MU.astype(np.float64) ** 2) / 2 - 0.5).sum(1)
GAUSSIAN = (0.5 * np.log(2 * np.pi) + 0.5 * np.square(P - X)).sum((1, 2))


def output() -> Output:
    logits = jnp.asarray(LOGITS)
    return Output(
        jax.nn.sigmoid(logits), jnp.asarray(MU), logits, jnp.asarray(MU), jnp.asarray(LOG_VAR)
    )


@pytest.mark.parametrize(("likelihood", "recon"), [("bernoulli", BCE), ("gaussian", GAUSSIAN)])
def test_terms(likelihood: str, recon: np.ndarray) -> None:
    terms = losses.terms(Objective(likelihood), output(), jnp.asarray(X))
    np.testing.assert_allclose(terms.recon_nats, recon, rtol=1e-5)
    np.testing.assert_allclose(terms.kl_nats, KL, rtol=1e-5)
    np.testing.assert_allclose(terms.mse, MSE, rtol=1e-5)


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        (Objective("gaussian", "mean", 0.0), MSE.mean()),
        (Objective("gaussian", "mean", 2.0), (MSE + 2.0 * KL / 6).mean()),
        (Objective("bernoulli", "mean", 0.0), BCE.mean() / 12),
        (Objective("bernoulli", "mean", 2.0), (BCE + 2.0 * KL).mean() / 12),
        (Objective("bernoulli", "batchmean", 3.0), (BCE + 3.0 * KL).mean()),
        (Objective("bernoulli", "sum", 3.0), (BCE + 3.0 * KL).sum()),
        (Objective("gaussian", "sum", 1.0), (GAUSSIAN + KL).sum()),
    ],
)
def test_scalar(objective: Objective, expected: float) -> None:
    terms = losses.terms(objective, output(), jnp.asarray(X))
    np.testing.assert_allclose(losses.scalar(objective, terms, 12), expected, rtol=1e-5)


def test_bernoulli_is_finite_at_extreme_logits() -> None:
    logits, x = jnp.array([[1e4, -1e4]]), jnp.array([[0.0, 1.0]])
    np.testing.assert_allclose(losses.bernoulli_nats(logits, x), [2e4], rtol=1e-6)
    gradient = jax.grad(lambda a: losses.bernoulli_nats(a, x).sum())(logits)
    np.testing.assert_allclose(gradient, [[1.0, -1.0]], rtol=1e-6)


def test_the_gradient_of_bernoulli_is_the_sigmoid_less_the_data() -> None:
    logits, x = jnp.array([[-3.0, -1e-9, 0.0, 1e-9, 3.0]]), jnp.full((1, 5), 0.3)
    gradient = jax.grad(lambda a: losses.bernoulli_nats(a, x).sum())(logits)
    expected = 1 / (1 + np.exp(-np.asarray(logits, np.float64))) - 0.3
    np.testing.assert_allclose(gradient, expected, rtol=1e-6)


def test_bernoulli_needs_logits() -> None:
    out = Output(jnp.asarray(X), jnp.asarray(MU))
    with pytest.raises(InputError, match="output='sigmoid'"):
        losses.terms(Objective("bernoulli"), out, jnp.asarray(X))


def test_a_registered_likelihood_is_the_one_that_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Laplace density of scale 1, under every reduction."""
    monkeypatch.setattr(losses, "_LIKELIHOODS", dict(losses._LIKELIHOODS))
    likelihoods = list(config.LIKELIHOODS)
    for module in (config, tree):
        monkeypatch.setattr(module, "LIKELIHOODS", likelihoods)
    with pytest.raises(InputError, match="unknown likelihood 'laplace'"):
        Objective("laplace")

    def nats(recon: jax.Array, x: jax.Array) -> jax.Array:
        return (jnp.abs(recon - x) + jnp.log(2.0)).sum(axis=(1, 2))

    losses.register("laplace", losses.Likelihood(nats))
    expected = (np.abs(P - X) + np.log(2)).sum((1, 2))
    for reduction, value in (
        ("mean", (expected + 2 * KL).mean() / 12),
        ("batchmean", (expected + 2 * KL).mean()),
        ("sum", (expected + 2 * KL).sum()),
    ):
        objective = Objective("laplace", reduction, 2.0)  # type: ignore[arg-type]
        terms = losses.terms(objective, output(), jnp.asarray(X))
        np.testing.assert_allclose(terms.recon_nats, expected, rtol=1e-5)
        np.testing.assert_allclose(losses.scalar(objective, terms, 12), value, rtol=1e-5)
    with pytest.raises(InputError, match="named 'laplace' exists already"):
        losses.register("laplace", losses.Likelihood(nats))


def test_what_is_no_likelihood_is_refused() -> None:
    with pytest.raises(InputError, match="'bare' is of type function, expected losses"):
        losses.register("bare", lambda recon, x: x)  # type: ignore[arg-type, return-value]
    with pytest.raises(InputError, match="reads 'recon' or 'logits', got 'mu'"):
        losses.Likelihood(losses.bernoulli_nats, reads="mu")  # type: ignore[arg-type]


def test_a_likelihood_returns_one_number_per_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    record = losses.Likelihood(lambda recon, x: jnp.abs(recon - x))
    monkeypatch.setitem(losses._LIKELIHOODS, "gaussian", record)
    with pytest.raises(InputError, match=r"one number per sample, \[5\], got \[5, 4, 3\]"):
        losses.terms(Objective("gaussian"), output(), jnp.asarray(X))


def test_data_lie_in_the_range_of_the_likelihood() -> None:
    losses.check_range(Objective("bernoulli"), np.array([[0.0, 1.0]], np.float32))
    losses.check_range(Objective("bernoulli"), np.array([[0, 255]], np.uint8))
    losses.check_range(Objective("gaussian"), np.array([[-7.0, 99.0]], np.float32))
    with pytest.raises(InputError, match=r"needs data in \[0, 1\], got \[0, 1.5\]"):
        losses.check_range(Objective("bernoulli"), np.array([[0.0, 1.5]], np.float32))


def test_metrics_are_those_of_the_one_tuple() -> None:
    found = losses.metrics(9.0, losses.Terms(2.0, 0.5, 0.1))  # type: ignore[arg-type]
    assert found == {"loss": 9.0, "nats": 2.5, "recon_nats": 2.0, "kl_nats": 0.5, "mse": 0.1}
    names = list(found)
    assert names == [metric.name for metric in config.METRIC_KINDS]
    assert list(config.METRICS) == [f"train_{n}" for n in names] + [f"test_{n}" for n in names]
