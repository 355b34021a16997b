"""Copies of windows, their way back to series and units, and methods side by side."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from msae_jax.analysis import augmentation as aug
from msae_jax.analysis.series_anomalies import scored_windows
from msae_jax.data.options import Options
from msae_jax.data.series import Facts, Windows, as_dataset
from msae_jax.data.series.series import Series
from msae_jax.errors import InputError
from msae_jax.models.output import Output


class Linear(nn.Module):
    """Two latents, the sums of the first and of the second half, that decode to constants."""

    @nn.compact
    def __call__(self, x: jax.Array, **_: Any) -> Output:
        z = x.reshape(len(x), 2, -1).sum(axis=2)
        return Output(self.decode(z).reshape(x.shape), z)

    def decode(self, z: jax.Array) -> jax.Array:
        return jnp.repeat(z / 4, 4, axis=1)


class EachStep(nn.Module):
    """Two latents for each of eight time steps: the value there, and twice that."""

    latent_grid = (8, 2)

    @nn.compact
    def __call__(self, x: jax.Array, **_: Any) -> Output:
        z = jnp.stack([x, 2 * x], axis=2).reshape(len(x), -1)
        return Output(self.decode(z), z)

    def decode(self, z: jax.Array) -> jax.Array:
        return z.reshape(len(z), *self.latent_grid)[..., 0]


def series(channels: int = 1) -> Series:
    rng = np.random.default_rng(0)
    values = 100 + 10 * rng.normal(size=(53, channels)).astype(np.float32)
    return Series(values, np.array([0, 53]), tuple("abc"[:channels]))


def windows_of(given: Series, scaling: str = "zscore") -> tuple[Windows, Facts]:
    options = Options(window="8", scaling=scaling)
    copy = Series(given.values.copy(), given.bounds, given.channels)
    facts = as_dataset(copy, options=options).series
    return scored_windows(given, facts), facts


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("scaling", ["none", "zscore", "robust", "window"])
def test_unchanged_copies_are_the_series_in_its_units(channels: int, scaling: str) -> None:
    given = series(channels)
    given.values[20:25] = np.nan  # longer than half a window, so that it splits the series
    given.values[40, 0] = np.nan
    windows, facts = windows_of(given, scaling)
    chosen = aug.covering(windows)
    assert chosen.starts.tolist() == [0, 8, 12, 25, 33, 41, 45]
    made = aug.augmented([lambda key, x, strength: x], chosen, 2, jax.random.key(0), 1.0)
    assert made.shape == (2, 7, 8, channels)
    copies = aug.in_units(made, chosen, facts.scaling)
    for copy in copies:
        np.testing.assert_allclose(aug.joined(copy, chosen), given.values, rtol=1e-5)


def test_every_so_many_windows_of_each_run() -> None:
    given = series()
    given.values[20:25] = np.nan
    windows, _ = windows_of(given)
    assert aug.every(windows, 5).starts.tolist() == [0, 5, 10, 25, 30, 35, 40, 45]
    assert np.array_equal(aug.every(windows, 1).starts, windows.starts)


def test_copies_differ_and_come_from_each_model_in_turn() -> None:
    windows, _ = windows_of(series())
    ways = [lambda key, x, s: x + 1, lambda key, x, s: x + s * jax.random.normal(key, x.shape)]
    made = aug.augmented(ways, windows, 4, jax.random.key(3), 0.5)
    x = windows.take(np.arange(len(windows)))[..., None]
    for copy in (0, 2):
        np.testing.assert_allclose(made[copy], x + 1, rtol=1e-6)
    assert (made[1] - x).std() == pytest.approx(0.5, rel=0.1)
    assert not np.array_equal(made[1], made[3])
    again = aug.augmented(ways, windows, 4, jax.random.key(3), 0.5)
    assert np.array_equal(again, made)
    assert not np.array_equal(aug.augmented(ways, windows, 2, jax.random.key(4), 0.5)[1], made[1])


def test_a_transform_that_changes_the_shape_is_refused() -> None:
    windows, _ = windows_of(series())
    with pytest.raises(InputError, match=r"must keep the shape \[512, 8, 1\]"):
        aug.augmented([lambda key, x, s: x[:, :4]], windows, 1, jax.random.key(0), 1.0)


def test_latents_of_a_model_are_measured_in_their_deviations() -> None:
    windows, _ = windows_of(series())
    x = windows.take(np.arange(len(windows)))[..., None]
    codec = aug.model_codec(Linear(), {}, x)
    sums = x.reshape(len(x), 2, 4).sum(axis=2)
    expected = (sums - sums.mean(axis=0)) / sums.std(axis=0)
    np.testing.assert_allclose(codec.encode(jnp.asarray(x)), expected, atol=1e-5)
    recon = np.repeat(sums / 4, 4, axis=1)[..., None]
    np.testing.assert_allclose(codec.decode(codec.encode(jnp.asarray(x))), recon, atol=1e-5)
    step = codec.decode(codec.encode(jnp.asarray(x)) + 1) - recon
    np.testing.assert_allclose(step[:, ::4, 0], np.tile(sums.std(axis=0) / 4, (len(x), 1)), 1e-3)
    assert aug.latent_count(Linear(), {}, x) == 2


def test_latents_of_each_time_step_change_along_the_time() -> None:
    windows, _ = windows_of(series())
    x = windows.take(np.arange(len(windows)))[..., None]
    codec = aug.model_codec(EachStep(), {}, x)
    deviation = x.std()  # of a latent over windows and time steps
    expected = np.repeat((x - x.mean()) / deviation, 2, axis=2)
    np.testing.assert_allclose(codec.encode(jnp.asarray(x)), expected, atol=1e-5)
    change = aug.in_latents(*codec, lambda key, z, s: z + s * jnp.arange(8.0)[:, None])
    changed = change(jax.random.key(0), jnp.asarray(x), 0.5)
    np.testing.assert_allclose(changed, x + 0.5 * np.arange(8)[:, None] * deviation, atol=1e-5)
    assert aug.latent_count(EachStep(), {}, x) == 16


def test_a_latent_that_never_varies_stays() -> None:
    x = np.ones((5, 8, 1), np.float32)
    codec = aug.model_codec(Linear(), {}, x)
    assert np.array_equal(codec.encode(jnp.asarray(x)), np.zeros((5, 2)))
    np.testing.assert_allclose(codec.decode(jnp.full((5, 2), 9.0)), x, rtol=1e-6)


def test_methods_are_compared_at_an_equal_distance() -> None:
    windows, _ = windows_of(series())
    sample = aug.measured(windows)
    x = aug.as_series(sample.take(slice(None)), 1)
    change = aug.chain([("jitter", 0.5)])
    through = aug.transforms_of(Linear(), [{}, {}], x, change)
    found = aug.compared(through, 2, x, change, jax.random.key(0), direct=True)
    assert list(found) == ["direct", "latents", "PCA", "reconstruction", "reconstruction by PCA"]
    target = found["direct"][0].distance
    assert found["direct"][0].strength == 1.0
    recon = found["reconstruction"][0].distance
    expected = np.repeat(x.reshape(len(x), 2, 4).mean(axis=2), 4, axis=1)[..., None]
    assert recon == pytest.approx(np.median(aug.wasserstein(x, expected)), rel=1e-5)
    assert recon > target  # it reconstructs no more than two means
    assert all("at strength 0 the distance is" in str(one.unreached) for one in found["latents"])
    far = aug.compared(through, 2, x, aug.chain([("jitter", 3.0)]), jax.random.key(0), direct=True)
    for name in ("latents", "PCA"):
        assert far[name][0].unreached is None
        assert far[name][0].distance == pytest.approx(far["direct"][0].distance, rel=2e-3)
        assert far[name][0].rho > 0.5


def test_only_whole_windows_are_measured() -> None:
    given = series()
    given.values[30] = np.nan
    windows, _ = windows_of(given)
    starts = aug.measured(windows).starts
    assert starts.tolist() == [*range(23), *range(31, 46)]
    given.values[::4] = np.nan
    with pytest.raises(InputError, match="every window has a missing value"):
        aug.measured(windows_of(given)[0])
