"""Priors against distributions that are known: moments, densities, what is drawn."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from scipy import stats

from msae_jax.errors import InputError
from msae_jax.generation import KINDS, fit_prior, standard
from msae_jax.generation import flow as flows
from tests.analysis.samples import binomial_range

pytestmark = pytest.mark.usefixtures("all_quick_to_compile")

RNG = np.random.default_rng(0)
MEAN, ROOT = np.array([5.0, -2.0, 0.01]), np.array([[2.0, 0, 0], [1.0, 0.5, 0], [0, 1e-3, 2e-3]])
CORRELATED = MEAN + RNG.normal(size=(4000, 3)) @ ROOT.T
WIDTH = 0.3


def bent(n: int, seed: int) -> np.ndarray:
    """Points (a, b) with a of N(0, 1) and b of N(a^2, WIDTH^2)."""
    a, noise = np.random.default_rng(seed).normal(size=(2, n))
    return np.stack([a, a**2 + WIDTH * noise], axis=1)


def density_of_bent(z: np.ndarray) -> np.ndarray:
    return stats.norm.logpdf(z[:, 0]) + stats.norm.logpdf(z[:, 1], z[:, 0] ** 2, WIDTH)


@pytest.fixture
def shallow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two layers, which move every latent once: most of the time is that of compiling eight."""
    monkeypatch.setattr(flows, "LAYERS", 2)


@pytest.fixture(scope="module")
def flow():
    return fit_prior(bent(3000, 0), "flow", seed=1, steps=700)


def test_the_standard_prior_is_a_standard_normal() -> None:
    prior = fit_prior(CORRELATED, "standard")
    z = prior.draw(20_000, seed=3)
    assert z.dtype == np.float32
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=4 / np.sqrt(len(z)))
    np.testing.assert_allclose(np.cov(z.T), np.eye(3), atol=6 / np.sqrt(len(z)))
    expected = stats.multivariate_normal(np.zeros(3)).logpdf(z)
    np.testing.assert_allclose(prior.log_density(z), expected, rtol=1e-6)
    np.testing.assert_array_equal(standard(3).draw(5), prior.draw(5))


def test_the_gaussian_has_the_moments_of_the_latents() -> None:
    prior = fit_prior(CORRELATED, "gaussian")
    covariance = np.cov(CORRELATED.T)
    expected = stats.multivariate_normal(CORRELATED.mean(axis=0), covariance)
    some = CORRELATED[:50]
    np.testing.assert_allclose(prior.log_density(some), expected.logpdf(some), atol=0.01)
    z = prior.draw(20_000).astype(np.float64)
    scale = np.sqrt(np.diag(covariance))
    off = (z.mean(axis=0) - CORRELATED.mean(axis=0)) / scale
    np.testing.assert_allclose(off, 0, atol=4 / np.sqrt(len(z)))
    spread = np.cov((z / scale).T)
    np.testing.assert_allclose(spread, np.corrcoef(CORRELATED.T), atol=6 / np.sqrt(len(z)))


@pytest.mark.usefixtures("shallow")
@pytest.mark.parametrize("kind", ["gaussian", "mixture", "flow"])
def test_a_latent_that_never_varies_is_held(kind: str) -> None:
    z = CORRELATED[:200]
    still = np.insert(z, 1, 7.0, axis=1)
    prior = fit_prior(still, kind, components=2, steps=20)
    assert set(prior.draw(20)[:, 1]) == {7.0}
    without = fit_prior(z, kind, components=2, steps=20)
    np.testing.assert_allclose(prior.log_density(still), without.log_density(z), rtol=1e-6)


def test_latents_that_hang_together_have_a_density() -> None:
    z = np.column_stack([CORRELATED[:, 0], 2 * CORRELATED[:, 0]])
    drawn = fit_prior(z, "gaussian").draw(100)
    np.testing.assert_allclose(drawn[:, 1], 2 * drawn[:, 0], atol=0.05)
    assert np.isfinite(fit_prior(z, "gaussian").log_density(z)).all()


def test_a_mixture_finds_the_parts_of_one() -> None:
    def parts(n: int, seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        first = rng.random(n) < 0.25
        centre = np.where(first[:, None], [10.0, 0.0], [-10.0, 5.0])
        return centre + rng.normal(size=(n, 2)) * np.where(first[:, None], 1.0, 2.0)

    def density(z: np.ndarray) -> np.ndarray:
        one = stats.multivariate_normal([10, 0]).logpdf(z)
        two = stats.multivariate_normal([-10, 5], 4 * np.eye(2)).logpdf(z)
        return np.logaddexp(np.log(0.25) + one, np.log(0.75) + two)

    prior = fit_prior(parts(4000, 0), "mixture", components=2)
    held_out = parts(4000, 1)
    assert prior.log_density(held_out).mean() == pytest.approx(density(held_out).mean(), abs=0.01)
    low, high = binomial_range(5000, 0.25)
    assert low - 0.02 < np.mean(prior.draw(5000)[:, 0] > 0) < high + 0.02  # 0.02: of the fit
    single = fit_prior(held_out, "mixture", components=1)
    gaussian = fit_prior(held_out, "gaussian")
    np.testing.assert_allclose(
        single.log_density(held_out), gaussian.log_density(held_out), atol=0.01
    )


def test_a_flow_learns_what_is_no_gaussian(flow) -> None:
    held_out = bent(3000, 2)
    truth = density_of_bent(held_out).mean()
    found = flow.log_density(held_out).mean()
    gaussian = fit_prior(bent(3000, 0), "gaussian").log_density(held_out).mean()
    assert gaussian < truth - 1
    assert truth - 0.1 < found < truth + 0.05
    drawn = flow.draw(3000, seed=5).astype(np.float64)
    off = drawn[:, 1] - drawn[:, 0] ** 2
    assert abs(np.median(off)) < 0.05
    assert np.subtract(*np.percentile(off, [75, 25])) / 1.349 == pytest.approx(WIDTH, rel=0.2)


def test_the_density_of_a_flow_is_one(flow) -> None:
    a, b = np.linspace(-5, 5, 301), np.linspace(-3, 22, 751)
    grid = np.stack(np.meshgrid(a, b), axis=-1).reshape(-1, 2)
    total = np.exp(flow.log_density(grid)).sum() * (a[1] - a[0]) * (b[1] - b[0])
    assert total == pytest.approx(1, abs=0.01)


def test_a_flow_goes_both_ways(flow) -> None:
    u = np.random.default_rng(3).normal(size=(50, 2)).astype(np.float32)
    core = flow.scaled
    apply = jax.jit(core.model.apply, static_argnames="method")
    v, log_det = apply(core.variables, u)
    back = apply(core.variables, v, method="inverse")
    np.testing.assert_allclose(back, u, atol=1e-4)
    jacobian = jax.jit(jax.vmap(jax.jacobian(lambda one: apply(core.variables, one[None])[0][0])))
    expected = np.linalg.slogdet(np.asarray(jacobian(u), np.float64))[1]
    np.testing.assert_allclose(log_det, expected, atol=1e-4)
    assert np.abs(np.asarray(v) - u).max() > 0.1


@pytest.mark.usefixtures("shallow")
def test_a_flow_is_no_worse_than_the_gaussian_it_begins_as() -> None:
    u = np.random.default_rng(4).normal(size=(400, 3))
    found = flows.fit_flow(u, seed=0, steps=40)
    held_out = u[np.random.default_rng((0, 2)).permutation(400)[:40]]
    assert found.log_density(held_out).mean() >= found.start.log_density(held_out).mean() - 1e-6


@pytest.mark.usefixtures("shallow")
@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_decides_all(kind: str) -> None:
    z = CORRELATED[:100]
    first, again, other = (fit_prior(z, kind, seed, components=3, steps=20) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first.draw(8, seed=2), again.draw(8, seed=2))
    np.testing.assert_allclose(first.draw(8, seed=2)[:3], again.draw(3, seed=2), rtol=1e-5)
    assert (first.draw(8, seed=2) != first.draw(8, seed=3)).any()
    if kind == "flow":
        assert (first.draw(8, seed=2) != other.draw(8, seed=2)).any()


@pytest.mark.parametrize(
    ("z", "kind", "message"),
    [
        (CORRELATED, "gausian", "unknown prior 'gausian'. Did you mean 'gaussian'"),
        (CORRELATED[:, 0], "gaussian", r"latents must be \[N, latent_dim\], got \[4000\]"),
        (CORRELATED[:1], "gaussian", "needs 2 latents or more, got 1"),
        (CORRELATED[:5], "mixture", "needs 10 latents or more, got 5"),
        (CORRELATED[:, :1], "flow", "a flow needs 2 latents or more that vary, got 1"),
        (np.full((9, 2), np.nan), "standard", "9 of 9 latents are not finite"),
        (np.ones((9, 2)), "gaussian", "no latent varies"),
    ],
)
def test_what_cannot_be_fitted_is_said(z: np.ndarray, kind: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        fit_prior(z, kind)


def test_what_cannot_be_asked_is_said() -> None:
    prior = standard(3)
    with pytest.raises(InputError, match="at least 1, got 0"):
        prior.draw(0)
    with pytest.raises(InputError, match=r"the prior is of 3 latents, got \[5, 2\]"):
        prior.log_density(np.zeros((5, 2)))
    with pytest.raises(InputError, match="1 component or more, got 0"):
        fit_prior(CORRELATED, "mixture", components=0)
