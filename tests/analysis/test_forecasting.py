from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from msae_jax.analysis import forecasting
from msae_jax.errors import InputError

SMALL = forecasting.Protocol(train=60, validation=20, test=30, context=8, batch=4)


def small(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(110, 3)).cumsum(axis=0)


@pytest.fixture(scope="module")
def etth1(series_folder: Path) -> np.ndarray:
    """ETTh1, scaled by its training part."""
    path = series_folder / "ett" / "ETTh1.csv"
    raw = np.genfromtxt(path, delimiter=",", skip_header=1)[:, 1:]
    return forecasting.scaled(raw, forecasting.ETT_HOURLY)


@pytest.mark.parametrize(
    ("horizon", "mse", "mae"),
    [(96, 1.295, 0.713), (192, 1.325, 0.733), (336, 1.323, 0.744), (720, 1.339, 0.756)],
)
def test_repeating_the_last_value_gives_the_published_digits(
    etth1: np.ndarray, horizon: int, mse: float, mae: float
) -> None:
    """Table 2 of "Are transformers effective for time series forecasting?", all eight digits."""
    windows = forecasting.test_windows(etth1, forecasting.ETT_HOURLY, horizon)
    got = forecasting.errors(forecasting.repeat_last(windows.inputs, horizon), windows.targets)
    assert (round(got.mse, 3), round(got.mae, 3)) == (mse, mae)


def test_a_ridge_on_relative_lags_is_as_good_as_nlinear(etth1: np.ndarray) -> None:
    """NLinear has 0.374 in the same table; every second training window is enough."""
    protocol = forecasting.ETT_HOURLY
    train = forecasting.train_windows(etth1, protocol, 96)
    every_second = forecasting.Windows(train.inputs[::2], train.targets[::2])
    test = forecasting.test_windows(etth1, protocol, 96)
    got = forecasting.forecast_probe(
        *forecasting.relative_lags(every_second), *forecasting.relative_lags(test), penalty=1000
    )
    assert got.mse == pytest.approx(0.371, abs=0.003)


def test_the_parts_and_the_scaling() -> None:
    x = small()
    scaled = forecasting.scaled(x, SMALL)
    np.testing.assert_allclose(scaled, StandardScaler().fit(x[:60]).transform(x), rtol=1e-9)
    train = forecasting.train_windows(scaled, SMALL, 5)
    assert train.inputs.shape == (48, 8, 3)
    np.testing.assert_array_equal(train.inputs[47], scaled[47:55])
    np.testing.assert_array_equal(train.targets[47], scaled[55:60])
    test = forecasting.test_windows(scaled, SMALL, 5)
    assert test.targets.shape == (24, 5, 3)  # of 26 windows 24 fill batches of 4
    np.testing.assert_array_equal(test.inputs[0], scaled[72:80])
    np.testing.assert_array_equal(test.targets[0], scaled[80:85])


def test_a_constant_channel_is_only_centred() -> None:
    x = np.c_[small(), np.full(110, 4.0)]
    np.testing.assert_array_equal(forecasting.scaled(x, SMALL)[:, 3], 0)


def test_relative_lags_leave_the_error_as_it_is() -> None:
    windows = forecasting.train_windows(small(), SMALL, 5)
    lags, targets = forecasting.relative_lags(windows)
    assert (lags.shape, targets.shape) == ((48 * 3, 8), (48 * 3, 5))
    np.testing.assert_allclose(lags[3 * 7 + 2], windows.inputs[7, :, 2] - windows.inputs[7, -1, 2])
    repeated = forecasting.errors(forecasting.repeat_last(windows.inputs, 5), windows.targets)
    np.testing.assert_allclose(forecasting.errors(np.zeros_like(targets), targets), repeated)


def test_the_probe_is_scikit_learns_ridge_on_standardised_features() -> None:
    rng = np.random.default_rng(0)
    x, v = rng.normal(size=(80, 6)) * [1, 9, 1, 1, 1, 0], rng.normal(size=(20, 6))
    y, u = x[:, :2] @ rng.normal(size=(2, 3)) + 5, rng.normal(size=(20, 3))
    scaler = StandardScaler().fit(x)
    away = Ridge(2.5).fit(scaler.transform(x), y).predict(scaler.transform(v)) - u
    got = forecasting.forecast_probe(x, y, v, u, penalty=2.5)
    np.testing.assert_allclose(got, (np.mean(away**2), np.mean(np.abs(away))), rtol=1e-9)
    free = forecasting.forecast_probe(x, y, x, y, penalty=0)
    assert free.mse < 1e-12


def test_latents_lags_and_both() -> None:
    """The target is the sum of a latent and a lag: only both together know it."""
    rng = np.random.default_rng(0)
    z, lags = rng.normal(size=(200, 2)), rng.normal(size=(200, 3))
    y = z[:, :1] + 2 * lags[:, :1]
    parts = [a[s] for s in (slice(150), slice(150, None)) for a in (z, lags, y)]
    got = forecasting.forecast_probes(*parts, penalty=1e-6)
    assert set(got) == {"latents", "lags", "both"}
    assert got["latents"].mse == pytest.approx(4, rel=0.4)
    assert got["lags"].mse == pytest.approx(1, rel=0.4)
    assert got["both"].mse < 1e-10


def test_what_cannot_be_forecast() -> None:
    x = small()
    with pytest.raises(InputError, match="T 110 or more"):
        forecasting.scaled(x[:100], SMALL)
    with pytest.raises(InputError, match="60 points has no window of 8 points before a horizon"):
        forecasting.train_windows(x, SMALL, 53)
    with pytest.raises(InputError, match="2 test windows do not fill a batch of 4"):
        forecasting.test_windows(x, SMALL, 29)
    with pytest.raises(InputError, match="differ"):
        forecasting.errors(np.ones(3), np.ones(4))
    y = np.ones((5, 1))
    with pytest.raises(InputError, match=r"train: features must be \[N, D\]"):
        forecasting.forecast_probe(np.ones(5), y, y, y)
    with pytest.raises(InputError, match="train has 2 features and 1 targets"):
        forecasting.forecast_probe(np.ones((5, 2)), y, y, y)
    with pytest.raises(InputError, match="test: features or targets have values"):
        forecasting.forecast_probe(y, y, y * np.nan, y)
    with pytest.raises(InputError, match="penalty must be 0 or more"):
        forecasting.forecast_probe(y, y, y, y, penalty=-1)
