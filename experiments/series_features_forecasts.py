"""Forecasts of ETTh1 from its last value, from raw lags, and from latents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import flax.linen as nn
import numpy as np

from msae_jax import figures
from msae_jax.analysis import forecasting
from msae_jax.analysis.forecasting import ETT_HOURLY, HORIZONS
from msae_jax.config import ModelConfig
from msae_jax.data import Dataset, Split
from msae_jax.experiments.cache import cached, per_seed
from msae_jax.experiments.study import Setup, ours_alone
from msae_jax.fitting.ensemble import Ensemble
from msae_jax.recipes import recipe
from msae_jax.results.claims import Claim
from msae_jax.train.evaluation import embed

REPEAT = {
    96: (1.295, 0.713),
    192: (1.325, 0.733),
    336: (1.323, 0.744),
    720: (1.339, 0.756),
}
"""MSE and MAE of repeating the last value, by horizon in hours."""

NLINEAR = {96: 0.374, 336: 0.429}
OTHERS = {"N-HiTS": 0.378, "TiDE": 0.375}
TABLE = "Zeng et al., 2023, Table 2"
EXACT = "without training, so that every seed gives it; rounded as published"

LATENTS = 32
MODELS: dict[str, dict[str, Any]] = {
    "pca": {},
    "baseline": {"hidden": [128]},
    "pyramid": {},
}
QUICK_MODELS = ("pca", "pyramid")
EPOCHS = 20
STRIDE = 8  # hours between the windows that latents are learned from

Rows = tuple[np.ndarray, np.ndarray]
"""Relative lags `[N, 336]` and targets `[N, horizon]`; see `forecasting.relative_lags`."""


def run(setup: Setup, folder: Path) -> tuple[list[Claim], dict[str, Ensemble]]:
    """States the published rows and ours, and measures the latents."""
    raw = np.genfromtxt(folder / "ett" / "ETTh1.csv", delimiter=",", skip_header=1)[:, 1:]
    series = forecasting.scaled(raw, ETT_HOURLY)
    stated = _repeated(setup, series) + _ridge(setup, series)
    dataset = windows(series)
    trained = {}
    names = QUICK_MODELS if setup.quick else tuple(MODELS)
    for name in names:
        settings = replace(
            recipe(name),
            model=ModelConfig(name, {"latent_dim": LATENTS, **MODELS[name]}),
            data="ETTh1",
            epochs=1 if name == "pca" else EPOCHS,
            batch_size=128,
        )
        # no seed changes principal components
        own = replace(setup, seeds=1) if name == "pca" else setup
        run_name = f"series-ett-{name}"
        trained[run_name] = own.train(run_name, settings, dataset, brief=True)
    errors: dict[str, dict[str, np.ndarray]] = {}
    for horizon in _horizons(setup):
        train, test = rows(series, horizon, _stride(setup))
        lags = _ridge_mse(setup, series, horizon)
        found = {
            name: _measured(setup, f"series-ett-{name}", done, horizon, train, test, lags)
            for name, done in zip(names, trained.values(), strict=True)
        }
        stated += _of_latents(found, horizon)
        errors[f"{horizon} hours"] = _by_features(found)
    published = {f"{horizon} hours": NLINEAR[horizon] for horizon in _horizons(setup)}
    figure = figures.seed_panels(
        errors, published, quantity="MSE of scaled values", source="NLinear, published"
    )
    figures.save(figure, setup.out / "series_forecasts")
    return stated, trained


def _horizons(setup: Setup) -> tuple[int, ...]:
    return tuple(NLINEAR)[: 1 if setup.quick else None]


def _stride(setup: Setup) -> int:
    """Returns how many hours lie between the training windows of a ridge."""
    return STRIDE if setup.quick else 1


def windows(series: np.ndarray) -> Dataset:
    """Returns what the autoencoders see of a scaled series `[T, C]`: relative lags, each channel.

    Training windows lie within the training part; the test split is of the validation part, so that
    nothing is chosen by the test part.
    """
    begin, end = ETT_HOURLY.train, ETT_HOURLY.train + ETT_HOURLY.validation
    parts = series[:begin], series[begin:end]
    splits = []
    for part in parts:
        views = np.lib.stride_tricks.sliding_window_view(part, ETT_HOURLY.context, axis=0)
        views = views[::STRIDE].reshape(-1, ETT_HOURLY.context)
        splits.append(Split((views - views[:, -1:]).astype(np.float32)))
    train, test = splits
    return Dataset("ETTh1", train, test)


def rows(series: np.ndarray, horizon: int, stride: int) -> tuple[Rows, Rows]:
    """Returns every so many training windows of each channel, and all test windows."""
    train = forecasting.train_windows(series, ETT_HOURLY, horizon)
    some = forecasting.Windows(train.inputs[::stride], train.targets[::stride])
    test = forecasting.test_windows(series, ETT_HOURLY, horizon)
    return forecasting.relative_lags(some), forecasting.relative_lags(test)


def _repeated(setup: Setup, series: np.ndarray) -> list[Claim]:
    """Returns the eight claims of repeating the last value."""
    stated = []
    for horizon in HORIZONS:
        test = forecasting.test_windows(series, ETT_HOURLY, horizon)
        repeated = forecasting.repeat_last(test.inputs, horizon)
        got = forecasting.errors(repeated, test.targets)
        for name, value, number in zip(("MSE", "MAE"), got, REPEAT[horizon], strict=True):
            text = f"{name} of repeating the last value of ETTh1, {horizon} hours"
            id = f"series-repeat-{horizon}-{name.lower()}"
            stated.append(_exact(setup, id, text, number, f"{name} of scaled values", value, EXACT))
    return stated


def _ridge(setup: Setup, series: np.ndarray) -> list[Claim]:
    """Returns the claims of a ridge regression of all training windows, NLinear in closed form."""
    why = "closed form: the published NLinear is trained by steps and stops early"
    stated = []
    for horizon in _horizons(setup):
        value = _ridge_mse(setup, series, horizon)
        text = f"MSE of a ridge on lags minus the last value of ETTh1, {horizon} hours, and NLinear"
        unit = "MSE of scaled values"
        stated.append(
            _exact(setup, f"series-ridge-{horizon}", text, NLINEAR[horizon], unit, value, why)
        )
        if horizon == 96:
            for name, number in OTHERS.items():
                text = f"MSE of the same ridge, {horizon} hours, and {name}"
                id = f"series-ridge-{horizon}-{name}"
                stated.append(_exact(setup, id, text, number, unit, value, "another model"))
    return stated


def _ridge_mse(setup: Setup, series: np.ndarray, horizon: int) -> float:
    """Returns the MSE of a ridge regression of raw lags, which is the same for every seed."""
    stride = _stride(setup)

    def mse() -> float:
        train, test = rows(series, horizon, stride)
        return forecasting.forecast_probe(*train, *test).mse

    return cached(setup, f"series-ett-ridge/{horizon}", mse, f"every {stride}, penalty 1")


def _exact(
    setup: Setup, id: str, text: str, number: float, unit: str, value: float, why: str
) -> Claim:
    """Returns the claim of a number that no seed changes, with three digits as published."""
    return Claim(id, text, number, unit, [round(value, 3)] * setup.seeds, source=TABLE, why=why)


def _measured(
    setup: Setup, name: str, done: Ensemble, horizon: int, train: Rows, test: Rows, lags_mse: float
) -> list[dict[str, float]]:
    """Returns, of each seed, the MSE from latents, from both, and from lags: `lags_mse`."""

    def measure(model: nn.Module, variables: Mapping[str, Any], seed: int) -> dict[str, Any]:
        z_train, z_test = (
            embed(model, variables, lags.astype(np.float32)) for lags in (train[0], test[0])
        )
        both_train, both_test = np.hstack([z_train, train[0]]), np.hstack([z_test, test[0]])
        latents = forecasting.forecast_probe(z_train, train[1], z_test, test[1])
        both = forecasting.forecast_probe(both_train, train[1], both_test, test[1])
        return {"latents": latents.mse, "lags": lags_mse, "both": both.mse}

    of = f"every {_stride(setup)}"
    found = per_seed(setup, f"{name}/horizon-{horizon}", done, measure, of)
    return list(found.values())


def _by_features(found: Mapping[str, list[dict[str, float]]]) -> dict[str, np.ndarray]:
    """Returns the errors `[seeds]` by features; raw lags are the same beside every model."""
    first = next(iter(found.values()))
    errors = {"raw lags": np.array([first[0]["lags"]])}
    for name, each in found.items():
        label = figures.label(name)
        errors[f"{label}, latents"] = np.array([one["latents"] for one in each])
        errors[f"{label}, latents and lags"] = np.array([one["both"] for one in each])
    return errors


def _of_latents(found: Mapping[str, list[dict[str, float]]], horizon: int) -> list[Claim]:
    unit = "MSE of scaled values"
    return [
        ours_alone(
            f"series-forecast-{horizon}-{features.replace(', ', '-').replace(' ', '-')}",
            f"forecast of ETTh1 from {features}, {horizon} hours",
            unit,
            values.tolist(),
        )
        for features, values in _by_features(found).items()
    ]
