from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from msae_jax.analysis import augmentation as aug
from msae_jax.experiments import series_augmentation_measures as measures
from msae_jax.experiments import series_augmentation_published as published
from msae_jax.experiments import series_augmentation_tourism as tourism

KEY = jax.random.key(0)
SAME = aug.Codec(lambda x: x[..., 0], lambda z: z[..., None])
"""Latents that are the values themselves."""


def visitors(count: int = 40, months: int = 120, seed: int = 0) -> np.ndarray:
    """Returns series `[S, T, 1]` far above 0, so that nothing is clipped."""
    rng = np.random.default_rng(seed)
    season = 20 * np.sin(np.arange(months) / 12 * 2 * np.pi)
    level = rng.uniform(200, 400, (count, 1))
    return (level + season + 5 * rng.normal(size=(count, months)))[..., None].astype(np.float32)


def test_windows_are_scaled_by_the_training_months_and_keep_apart_from_the_others() -> None:
    x = visitors(3, 120)
    x[:, 90:] += 1000  # the test part must not count in the scale
    dataset = tourism.dataset(x, train=90)
    assert dataset.sample_shape == (10,)
    train, test = (split.x.starts % 120 for split in (dataset.train, dataset.test))
    assert train.max() + 10 <= 90 <= test.min()
    assert test.max() + 10 <= 120
    assert len(train) == 3 * 17  # from 0, 5 .. 80
    own = dataset.train.x.values.reshape(3, 120)[:, :90]
    np.testing.assert_allclose(own.mean(axis=1), 0, atol=1e-4)
    np.testing.assert_allclose(own.std(axis=1), 1, rtol=1e-4)


def test_direct_transforms_have_the_published_strengths() -> None:
    x = visitors(200, 120)
    relative = {name: np.asarray(tourism.direct(name)(KEY, x, 1.0)) / x for name in published.LGTA}
    noise = x * (relative["jitter"] - 1)
    assert (noise / x.std(axis=1, keepdims=True)).std() == pytest.approx(0.75, rel=0.02)
    assert relative["scaling"].min() == 0  # a factor below 0 would be a negative number of visitors
    factors = relative["scaling"][relative["scaling"] > 0]
    assert np.median(np.abs(factors - 1)) == pytest.approx(0.5 * 0.674, rel=0.05)
    assert relative["scaling"].std(axis=1).min() > 0.3  # a factor a month, not one a series
    steps = np.abs(np.diff(relative["magnitude-warp"], axis=1))
    assert np.median(steps) < 0.03  # a smooth curve
    np.testing.assert_allclose(tourism.direct("scaling")(KEY, x, 0.0), x)


def test_transforms_in_latents_act_on_windows_in_scaled_units() -> None:
    x = visitors()
    scale = tourism.scale_of(x)
    np.testing.assert_allclose(tourism.through(SAME, scale, "identity")(KEY, x, 1.0), x, rtol=1e-5)
    moved = np.asarray(tourism.through(SAME, scale, "jitter")(KEY, x, 2.0))
    assert scale.apply(moved - x + scale.mean).std() == pytest.approx(1.5, rel=0.05)


def test_latents_of_each_month_are_handed_over_with_their_time() -> None:
    class Steps:
        latent_grid = (10, 2)

        def apply(self, variables: dict, x: jax.Array, method: str = "") -> object:
            if method == "decode":
                return x.reshape(-1, 10, 2)[..., 0]
            return aug_output(jnp.stack([x, 2 * x], axis=2).reshape(len(x), -1))

    windows = visitors(4, 40).reshape(-1, 10, 1)
    codec = aug.model_codec(Steps(), {}, windows)
    z = codec.encode(jnp.asarray(windows))
    assert z.shape == (16, 10, 2)
    np.testing.assert_allclose(codec.decode(z), windows, rtol=1e-5)


def aug_output(z: jax.Array) -> object:
    from msae_jax.models.output import Output

    return Output(z, z)


def test_the_scaled_error_is_that_of_least_squares_in_yearly_differences() -> None:
    x, test = visitors(20, 60), visitors(20, 40, seed=1)
    x[3] = test[3] = 7  # never changes, so that it has no scale
    rest = np.arange(20) != 3
    yearly = np.abs(x[rest, 12:, 0] - x[rest, :-12, 0]).mean(axis=1, keepdims=True)

    def rows(series: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        scaled = (series[rest, :, 0] / yearly).astype(np.float64)
        pieces = [scaled[:, i : i + 11] for i in range(scaled.shape[1] - 10)]
        joined = np.concatenate(pieces)
        return joined[:, :10], joined[:, 10]

    (lags, value), (lags_test, value_test) = rows(x), rows(test)
    error = np.abs(LinearRegression().fit(lags, value).predict(lags_test) - value_test).mean()
    assert measures.mase([x], test) == pytest.approx(error, rel=0.02)  # the ridge has a penalty


def test_methods_are_measured_at_the_distance_and_an_exact_copy_beside() -> None:
    x, test = np.split(visitors(64, 130), [100], axis=1)
    protocol = measures.Protocol(x, test, {"jitter": 0.2})
    copy = protocol.compare(x, 0)
    assert (copy["distance"], copy["discriminative"], copy["transfer"]) == (0, 0, 1)
    assert copy["ratio"] == pytest.approx(100)
    found = protocol.measure(tourism.direct("jitter"), "jitter", 0)
    assert found["reached"]
    assert found["distance"] == pytest.approx(0.2, rel=2e-3)
    assert found["rho"] > 0.9
    far = measures.Protocol(x, test, {"jitter": 1e-4})
    mean = aug.Codec(lambda z: 0 * z[..., 0], lambda z: z[..., None])  # forgets its input
    found = far.measure(tourism.through(mean, far.scale, "jitter"), "jitter", 0)
    assert not found["reached"]
    assert found["strength"] == 1


def test_a_seed_that_does_not_reach_the_distance_is_left_out() -> None:
    one = {
        "strength": 1.0, "distance": 0.2, "ratio": 150.0, "discriminative": 0.1, "transfer": 1.0,
        "mase": 0.9, "rho": 0.9, "monotonic": 60.0, "reached": True,
    }  # fmt: skip
    far = one | {"ratio": 50.0, "reached": False}
    rows = [{"reconstruction": one, "jitter": one}, {"reconstruction": one, "jitter": far}]
    stated = published.of_methods({"copy": rows, "pyramid": rows}, {"jitter": 0.2})
    claims = {claim.id: claim for claim in stated}
    kept = claims["series-augment-pyramid-jitter-ratio"]
    assert (kept.values, kept.detail) == ([150.0], True)
    assert "1 seeds" in kept.why
    assert claims["series-augment-pyramid-ratio"].values == [150.0]
    assert claims["series-augment-pyramid-unchanged-distance"].values == [0.2, 0.2]


def test_what_cannot_be_compared_is_called_underspecified() -> None:
    rows = [{"jitter": {"transfer": 1.0, "mase": 0.9}}]
    claims = published.of_lgta(None, None, rows)
    assert {claim.verdict for claim in claims} == {"underspecified"}
    assert [c.published for c in claims if c.id.endswith("TimeGAN")] == [5.98]
