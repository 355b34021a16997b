from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import spearmanr, wasserstein_distance
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge

from msae_jax.analysis import augmentation as aug
from msae_jax.errors import InputError

KEY = jax.random.key(3)


def waves(count: int = 12, length: int = 40, channels: int = 2) -> np.ndarray:
    rng = np.random.default_rng(0)
    phase, t = rng.uniform(0, 6, (count, 1, channels)), np.arange(length)[:, None]
    return (np.sin(t / 3 + phase) + 0.1 * rng.normal(size=(count, length, channels))).astype("f4")


def test_wasserstein_is_that_of_scipy_for_standardised_values() -> None:
    a, b = waves(), waves()[::-1] * 1.5 + 2
    got = aug.wasserstein(a, b)
    expected = [
        wasserstein_distance(a[i, :, c] / a[i, :, c].std(), b[i, :, c] / a[i, :, c].std())
        for i in range(12)
        for c in range(2)
    ]
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    assert aug.wasserstein(a, a[:, ::-1]).max() == 0  # the order of the points does not count


def test_a_constant_series_moves_in_its_own_unit() -> None:
    x = np.ones((2, 5, 1))
    np.testing.assert_allclose(aug.wasserstein(x, x + 3), [3, 3])


def test_spread_and_rms() -> None:
    assert aug.spread(np.arange(101.0)) == (50, 50)
    x = np.zeros((2, 3, 2))
    np.testing.assert_allclose(aug.rms(x, x + np.array([3, 4])), np.full(2, np.sqrt(12.5)))


def test_the_pca_ratio_is_that_of_scikit_learn() -> None:
    a = np.random.default_rng(0).normal(size=(30, 4, 2)) @ np.array([[1, 2], [3, 1]])
    b = a + np.random.default_rng(1).normal(size=a.shape)
    errors = []
    for x in (a.reshape(30, -1), b.reshape(30, -1)):
        pca = PCA(2).fit(x)
        errors.append(np.mean((pca.inverse_transform(pca.transform(x)) - x) ** 2))
    assert aug.pca_ratio(a, b) == pytest.approx(100 * errors[1] / errors[0], rel=1e-9)
    assert aug.pca_ratio(a, a) == pytest.approx(100)
    with pytest.raises(InputError, match="without error"):
        aug.pca_ratio(np.ones((9, 4)), np.ones((9, 4)))
    with pytest.raises(InputError, match=r"more samples and values, got \[12, 2\]"):
        aug.pca_ratio(a[:12, 0], a[:12, 0])


def test_the_discriminative_score_of_copies_and_of_others() -> None:
    x = waves(60)
    assert aug.discriminative_score(x, x) == 0  # a copy gets the same answer: half are right
    assert aug.discriminative_score(x, x + 9) == 0.5
    assert aug.discriminative_score(x, x + 9, "linear") == 0.5


def test_a_copy_is_never_tested_against_what_it_was_trained_on() -> None:
    """The nearest neighbour of a copy, if it were there, would give its class away."""
    x = np.random.default_rng(0).normal(size=(90, 20))
    scores = [aug.discriminative_score(x, x + 1e-3, "knn", seed=s, n_neighbors=1) for s in range(5)]
    assert max(scores) < 0.2


def test_the_transfer_error_is_that_of_a_ridge_on_lags() -> None:
    train, test = waves(8), waves(20)[8:]
    augmented = train + np.random.default_rng(1).normal(size=train.shape)
    got = aug.transfer_error(train, augmented, test, lags=5, penalty=0.5)

    def lagged(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows = [x[i, t : t + 6, c] for i in range(len(x)) for t in range(35) for c in range(2)]
        return np.array(rows)[:, :5], np.array(rows)[:, 5]

    for x, error in ((train, got.original), (augmented, got.augmented)):
        features, target = lagged(x.astype(float))
        middle, scale = features.mean(0), features.std(0)
        ridge = Ridge(0.5).fit((features - middle) / scale, target)
        u, v = lagged(test.astype(float))
        expected = np.mean((ridge.predict((u - middle) / scale) - v) ** 2)
        assert error == pytest.approx(expected, rel=1e-8)
    assert got.original < got.augmented
    with pytest.raises(InputError, match="40 lags need"):
        aug.transfer_error(train, train, test, lags=40)


def test_controllability_by_hand() -> None:
    """Series 0 follows the strength, series 1 does but once: by SciPy's rank correlation."""
    x = np.zeros((2, 3, 1), np.float32)
    effects = {0.0: (0, 0), 1.0: (1, 3), 2.0: (2, 2), 4.0: (2, 5)}

    def transform(key: jax.Array, x: jax.Array, strength: float) -> jax.Array:
        return x + jnp.asarray(effects[strength], jnp.float32)[:, None, None]

    got = aug.controllability(transform, x, list(effects), KEY, distance=aug.rms)
    rho = [spearmanr(list(effects), [e[i] for e in effects.values()]).statistic for i in (0, 1)]
    assert got.rho == pytest.approx(np.mean(rho))
    assert got.monotonic == 0.5
    np.testing.assert_allclose(got.effects, [0, 2, 2, 3.5])


def test_the_identity_is_not_controlled_and_jitter_is() -> None:
    strengths = [0.1, 0.5, 1, 2, 5]
    assert aug.controllability(aug.named("identity"), waves(), strengths, KEY)[:2] == (0, 1)
    jitter = aug.controllability(aug.named("jitter"), waves(), strengths, KEY)
    assert jitter.rho > 0.95
    assert jitter.monotonic > 0.9
    with pytest.raises(InputError, match="2 or more and increase"):
        aug.controllability(aug.named("jitter"), waves(), [1, 1], KEY)


@pytest.mark.parametrize("name", ["jitter", "scaling", "magnitude-warp", "drift", "trend"])
@pytest.mark.parametrize("target", [0.05, 0.6])
def test_methods_are_brought_to_an_equal_distance(name: str, target: float) -> None:
    x = waves()
    match = aug.strength_at(aug.named(name), x, target, KEY)
    moved = aug.named(name)(KEY, jnp.asarray(x), match.strength)
    distances = [
        wasserstein_distance(x[i, :, c] / x[i, :, c].std(), moved[i, :, c] / x[i, :, c].std())
        for i in range(12)
        for c in range(2)
    ]
    assert np.median(distances) == pytest.approx(target, rel=2e-3)
    assert match == aug.strength_at(aug.named(name), x, target, KEY)


def test_distances_that_cannot_be_reached() -> None:
    with pytest.raises(InputError, match=r"no strength reaches the distance 0\.1"):
        aug.strength_at(aug.named("identity"), waves(), 0.1, KEY)
    with pytest.raises(InputError, match="at strength 0 the distance is"):
        aug.strength_at(lambda key, x, s: x * 3, waves(), 0.1, KEY)
    with pytest.raises(InputError, match="above 0"):
        aug.strength_at(aug.named("jitter"), waves(), 0, KEY)


def test_principal_components_are_those_of_scikit_learn() -> None:
    x = waves(30, 10)
    codec = aug.principal_components(x, 4)
    z = np.asarray(codec.encode(jnp.asarray(x)))
    pca = PCA(4, whiten=True).fit(x.reshape(30, -1))
    expected = pca.transform(x.reshape(30, -1)) * np.sqrt(30 / 29)  # its variance has n - 1
    np.testing.assert_allclose(np.abs(z), np.abs(expected), atol=2e-3)
    np.testing.assert_allclose(z.std(axis=0), 1, rtol=1e-4)
    back = pca.inverse_transform(pca.transform(x.reshape(30, -1))).reshape(x.shape)
    np.testing.assert_allclose(codec.decode(jnp.asarray(z)), back, atol=1e-5)
    through = aug.in_latents(*codec, "jitter")
    np.testing.assert_allclose(through(KEY, jnp.asarray(x), 0.0), back, atol=1e-5)
    with pytest.raises(InputError, match="1 to 20 principal components, got 21"):
        aug.principal_components(x, 21)


def test_principal_components_that_do_not_vary_stay_finite() -> None:
    x = np.ones((5, 3, 1), np.float32)
    codec = aug.principal_components(x, 2)
    np.testing.assert_allclose(codec.decode(codec.encode(jnp.asarray(x))), x)
    np.testing.assert_allclose(aug.in_latents(*codec, "jitter")(KEY, jnp.asarray(x), 9.0), x)


def test_samples_that_cannot_be_measured() -> None:
    x = waves(4)
    with pytest.raises(InputError, match=r"one shape, got \[4, 40, 2\] and \[3, 40, 2\]"):
        aug.rms(x, x[:3])
    with pytest.raises(InputError, match="not finite"):
        aug.wasserstein(x, x * np.nan)
    with pytest.raises(InputError, match=r"\[B, T, C\], got \[4, 40\]"):
        aug.wasserstein(x[..., 0], x[..., 0])
    with pytest.raises(InputError, match="3 samples or more"):
        aug.discriminative_score(x[:2], x[:2])
