"""Windows as an index: the same samples as those that NumPy cuts, and training on them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

import msae_jax as mj
from msae_jax import Dataset, Split
from msae_jax.config import Objective, TrainConfig, override
from msae_jax.data.options import Options
from msae_jax.data.series import Windows, as_dataset
from msae_jax.data.series.series import single
from msae_jax.data.series.windows import between_gaps, standardized, starts_of
from msae_jax.models.output import Output
from msae_jax.train import losses

SETTINGS = override(
    replace(mj.recipe("baseline"), data="series", epochs=2, batch_size=16),
    {"hidden": [12], "latent_dim": 3},
)


def wave(points: int = 300, channels: int = 1, seed: int = 0) -> np.ndarray:
    random = np.random.RandomState(seed)
    t = np.arange(points)[:, None] / np.linspace(4, 9, channels)
    return (np.sin(t) + 0.1 * random.randn(points, channels)).astype(np.float32)


@pytest.mark.parametrize("channels", [1, 3])
def test_windows_are_those_that_numpy_cuts(channels: int) -> None:
    values = wave(50, channels)
    expected = np.moveaxis(sliding_window_view(values, 8, axis=0), 1, 2)[::3]
    starts = starts_of([(0, 50)], 8, 3)
    windows = Windows(values, starts, 8)
    expected = expected[..., 0] if channels == 1 else expected
    assert windows.shape == expected.shape
    np.testing.assert_array_equal(windows.take(np.arange(len(windows))), expected)
    on_device = jax.jit(lambda w, i: w.take(i))(windows, jnp.array([5, 2]))
    np.testing.assert_array_equal(on_device, expected[[5, 2]])


def test_standardised_windows() -> None:
    values = wave(40, 2)
    values[3] = np.nan
    values[20:30, 1] = 7.0  # constant: only its mean is taken off
    got = Windows(values, starts_of([(0, 40)], 10, 10), 10, True, True).take(np.arange(4))
    expected = values.reshape(4, 10, 2).astype(np.float64)
    mean, deviation = (f(expected, axis=1, keepdims=True) for f in (np.nanmean, np.nanstd))
    expected = (expected - mean) / np.where(deviation < 1e-6, 1, deviation)
    np.testing.assert_allclose(got, expected, atol=1e-5)
    np.testing.assert_allclose(standardized(jnp.asarray(values[:10]), axis=0), got[0], atol=1e-5)


@pytest.mark.parametrize("stride", [1, 2, 3, 5, 8, 13])
@pytest.mark.parametrize("gap", [0, 7])
def test_no_test_window_shares_a_point_with_a_training_window(stride: int, gap: int) -> None:
    options = Options(window="8", stride=str(stride), gap=str(gap), train_share="0.6")
    dataset = as_dataset(single(wave(101)), options=options)
    train, test = (
        {point for start in split.x.starts for point in range(start, start + 8)}
        for split in (dataset.train, dataset.test)
    )
    assert not train & test
    assert min(test) - max(train) > gap
    assert max(train) == (60 - 8) // stride * stride + 7  # as many as fit before point 60


def test_long_gaps_split_a_series_and_short_ones_stay() -> None:
    values = wave(60)
    values[10:13] = values[30:36] = values[58:] = np.nan
    assert between_gaps(values, [(0, 60)], 4) == [(0, 30), (36, 60)]
    assert between_gaps(values, [(0, 60)], 1) == [(0, 10), (13, 30), (36, 58)]
    assert between_gaps(values, [(0, 60)], 6) == [(0, 60)]


def trained(dataset: Dataset, settings: TrainConfig = SETTINGS, **options: object) -> list:
    done = mj.fit(settings, dataset, **options)
    return [*jax.tree.leaves(done.variables), [line["test_mse"] for line in done.history]]


@pytest.mark.parametrize("pipeline", ["resident", "streaming"])
def test_training_on_an_index_gives_the_bits_of_training_on_copies(pipeline: str) -> None:
    index = as_dataset(single(wave()), options=Options(window="24"))
    splits = [Split(split.x.take(np.arange(len(split.x)))) for split in (index.train, index.test)]
    settings = replace(SETTINGS, pipeline=pipeline)
    for a, b in zip(trained(index, settings), trained(Dataset("x", *splits)), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "augment", [pytest.param("", marks=pytest.mark.slow), "jitter:0.1,drift:0.1"]
)
def test_a_run_with_gaps_is_resumed_bit_for_bit(tmp_path: Path, augment: str) -> None:
    settings = replace(SETTINGS, objective=Objective(augment=augment))
    values = wave()
    values[40:44] = values[100:130] = np.nan
    dataset = as_dataset(single(values), options=Options(window="24"))
    assert dataset.train.x.masked
    whole = trained(dataset, settings)
    mj.fit(replace(settings, epochs=1), dataset, out=tmp_path / "run")
    resumed = trained(dataset, settings, out=tmp_path / "run", resume=True)
    for a, b in zip(whole, resumed, strict=True):
        np.testing.assert_array_equal(a, b)
    assert np.isfinite(whole[-1]).all()


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
def test_a_masked_value_touches_neither_terms_nor_gradients(likelihood: str) -> None:
    """Against the terms of the known values alone, and against another reconstruction there."""
    objective = Objective(likelihood, "sum")
    random = np.random.RandomState(1)
    x, logits = random.rand(2, 6).astype(np.float32), random.randn(2, 6).astype(np.float32)
    mask = np.array([[1, 1, 0, 1, 0, 1], [1] * 6], bool)

    def terms(logits: jax.Array, mask: np.ndarray | None, x: np.ndarray) -> losses.Terms:
        out = Output(jax.nn.sigmoid(logits), jnp.zeros((len(x), 1)), logits)
        return losses.terms(objective, out, jnp.asarray(x), mask)

    got = terms(logits, mask, x)
    known = terms(logits[:1, mask[0]], None, x[:1, mask[0]])
    whole = terms(logits[1:], None, x[1:])
    for name in ("recon_nats", "mse"):
        expected = [getattr(known, name)[0], getattr(whole, name)[0]]
        np.testing.assert_allclose(getattr(got, name), expected, rtol=1e-5)
    gradient = jax.grad(lambda logits: terms(logits, mask, x).recon_nats.sum())(logits)
    assert (np.asarray(gradient)[~mask] == 0).all()
    assert (np.asarray(gradient)[mask] != 0).all()


def test_a_series_is_held_once(tmp_path: Path) -> None:
    """A million points in windows of 1,000 would be 4 GB as copies."""
    dataset = as_dataset(single(wave(1_000_000)), options=Options(window="1000"))
    assert len(dataset.train.x) == 700_000 - 999
    assert dataset.train.x.values is dataset.test.x.values
    assert dataset.train.x.values.nbytes == 4_000_000
