from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.interpolate import CubicSpline
from scipy.stats import kstest

from msae_jax.errors import InputError
from msae_jax.train.transforms import TRANSFORMS, _spline, chain, factors, in_latents, named

KEY = jax.random.key(7)
DIRECT = [name for name in TRANSFORMS if name != "identity"]


def series(count: int = 6, length: int = 50, channels: int = 2) -> jax.Array:
    rng = np.random.default_rng(0)
    return jnp.asarray(rng.normal(size=(count, length, channels)) + 3, jnp.float32)


def normal(sample: np.ndarray, scale: float) -> None:
    """Checks that values come from N(0, scale^2), at 1 in 10,000."""
    assert kstest(np.ravel(sample) / scale, "norm").pvalue > 1e-4


@pytest.mark.parametrize("name", TRANSFORMS)
def test_no_strength_no_change_and_the_same_key_the_same_numbers(name: str) -> None:
    x, transform = series(), TRANSFORMS[name]
    np.testing.assert_array_equal(transform(KEY, x, 0.0), x)
    once, jitted = transform(KEY, x, 0.5), jax.jit(transform)(KEY, x, 0.5)
    assert once.shape == x.shape
    assert once.dtype == x.dtype
    np.testing.assert_allclose(once, jitted, rtol=1e-5)
    other = transform(jax.random.key(8), x, 0.5)
    assert (name == "identity") == bool((other == once).all())


@pytest.mark.parametrize("name", DIRECT)
def test_many_seeds_are_a_vmap(name: str) -> None:
    x, keys = series(), jax.random.split(KEY, 3)
    mapped = jax.vmap(TRANSFORMS[name], (0, None, None))(keys, x, 0.5)
    for key, each in zip(keys, mapped, strict=True):
        np.testing.assert_allclose(each, TRANSFORMS[name](key, x, 0.5), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", DIRECT)
def test_the_change_is_proportional_to_the_strength(name: str) -> None:
    x = series()
    small, large = (TRANSFORMS[name](KEY, x, s) - x for s in (0.25, 1.0))
    np.testing.assert_allclose(4 * small, large, rtol=1e-4, atol=1e-5)


def test_jitter_is_gaussian_noise_on_each_value() -> None:
    x = series(40)
    normal(TRANSFORMS["jitter"](KEY, x, 0.2) - x, 0.2)


def test_scaling_is_one_gaussian_factor_a_series() -> None:
    x = series(2000, 4)
    factors = np.asarray(TRANSFORMS["scaling"](KEY, x, 0.3) / x)
    np.testing.assert_allclose(factors, factors[:, :1].repeat(4, 1), rtol=1e-5)
    normal(factors[:, 0] - 1, 0.3)
    assert abs(np.corrcoef(factors[:, 0].T)[0, 1]) < 0.1  # channels have their own


def test_warp_is_the_spline_through_six_gaussian_factors() -> None:
    """The points at the knots give the factors back; SciPy's spline through them the others."""
    x = series(800, 51)
    factors = np.asarray(TRANSFORMS["magnitude-warp"](KEY, x, 0.3) / x, np.float64)
    knots = np.arange(0, 51, 10)
    normal(factors[:, knots] - 1, 0.3)
    expected = CubicSpline(knots, factors[:, knots], axis=1, bc_type="not-a-knot")(np.arange(51))
    np.testing.assert_allclose(factors, expected, atol=2e-5)


@pytest.mark.parametrize("power", range(4))
def test_the_spline_of_a_cubic_is_the_cubic(power: int) -> None:
    t = np.arange(37) / 36
    np.testing.assert_allclose(_spline(37) @ np.linspace(0, 1, 6) ** power, t**power, atol=1e-12)


def test_drift_is_a_random_walk_that_ends_at_the_strength() -> None:
    x = series(1000, 25)
    walk = np.asarray(TRANSFORMS["drift"](KEY, x, 2.0) - x)
    normal(walk[:, -1], 2.0)
    normal(walk[:, 8], 2.0 * np.sqrt(9 / 25))
    normal(np.diff(walk[:100], axis=1), 2.0 / 5)


def test_trend_is_a_line_of_gaussian_slope() -> None:
    x = series(1000, 20)
    line = np.asarray(TRANSFORMS["trend"](KEY, x, 0.7) - x)
    normal(line[:, -1], 0.7)
    np.testing.assert_allclose(line, line[:, -1:] * (np.arange(1, 21) / 20)[:, None], atol=1e-5)


@pytest.mark.parametrize("name", DIRECT)
def test_a_series_of_one_point_can_be_changed(name: str) -> None:
    """So latents without time can: each of them changes by a Gaussian number."""
    x = jnp.ones((1500, 1, 2))
    normal(TRANSFORMS[name](KEY, x, 0.5) - x, 0.5)


def test_a_chain_is_one_after_the_other_with_keys_of_their_own() -> None:
    x = series()
    got = chain([("jitter", 0.3), ("jitter", 0.3), (TRANSFORMS["trend"], 0.2)])(KEY, x, 2.0)
    expected = x
    for i, (name, strength) in enumerate([("jitter", 0.6), ("jitter", 0.6), ("trend", 0.4)]):
        expected = TRANSFORMS[name](jax.random.fold_in(KEY, i), expected, strength)
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    noise = chain([("jitter", 1.0), ("jitter", 1.0)])(KEY, jnp.zeros((50, 50, 1)), 1.0)
    normal(noise, np.sqrt(2))


def test_latents_are_changed_and_decoded() -> None:
    """Encoded as twice the series, the change is halved; with time, and without."""
    x = series(30, 9, 2)
    timed = in_latents(lambda x: 2 * x, lambda z: z / 2, "drift")
    np.testing.assert_allclose(
        timed(KEY, x, 1.0), TRANSFORMS["drift"](KEY, 2 * x, 1.0) / 2, rtol=1e-5
    )
    flat = in_latents(lambda x: x.reshape(30, -1), lambda z: z.reshape(30, 9, 2), "scaling")
    factors = np.asarray(flat(KEY, x, 0.3) / x)
    normal(factors - 1, 0.3)
    np.testing.assert_array_equal(flat(KEY, x, 0.0), x)


def test_names() -> None:
    own = "msae_jax.train.transforms:jitter"
    assert named(own) is named("jitter") is TRANSFORMS["jitter"] is named(TRANSFORMS["jitter"])
    with pytest.raises(InputError, match="Did you mean 'magnitude-warp'"):
        named("magnitude_warp")
    with pytest.raises(InputError, match="type dict, expected a function"):
        named("msae_jax.train.transforms:TRANSFORMS")
    with pytest.raises(InputError, match="one transform or more"):
        chain([])
    with pytest.raises(InputError, match="strength of jitter must be 0 or more, got -1"):
        chain([("jitter", -1)])
    with pytest.raises(InputError, match="got nan"):
        chain([("jitter", float("nan"))])


@pytest.mark.parametrize("name", TRANSFORMS)
def test_every_transform_is_a_factor_and_an_offset(name: str) -> None:
    key = jax.random.key(3)
    x = jax.random.normal(jax.random.key(4), (5, 12, 1))
    a, b = factors([(name, 0.3)], key, (5, 12))
    expected = chain([(name, 0.3)])(key, x, 1.0)
    np.testing.assert_allclose(a * x + b, expected, rtol=1e-5, atol=1e-6)
