"""How well simple predictors forecast series: from the last value, from raw lags, from latents.

The protocol is that of the long-horizon benchmarks (Zhou et al., "Informer", AAAI 2021; Zeng et
al., "Are transformers effective for time series forecasting?", AAAI 2023): one split in time,
scaling by the training part, every window of the test part, and mean errors in scaled units over
all windows, steps and channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from msae_jax.errors import InputError


@dataclass(frozen=True)
class Protocol:
    """Lengths of the parts of a series, in points, one after the other, and of what predicts.

    Attributes:
      train, validation, test: the three parts.
      context: how many points before a forecast the predictor sees.
      batch: the benchmarks drop the last test windows that do not fill a batch of this size.
    """

    train: int
    validation: int
    test: int
    context: int = 336
    batch: int = 32


ETT_HOURLY = Protocol(train=12 * 30 * 24, validation=4 * 30 * 24, test=4 * 30 * 24)
"""Of ETTh1 and ETTh2: 12, 4 and 4 months of 30 days."""

HORIZONS = (96, 192, 336, 720)


class Forecast(NamedTuple):
    """The errors of forecasts, mean over windows, steps and channels, in scaled units.

    Attributes:
      mse: mean squared error.
      mae: mean absolute error.
    """

    mse: float
    mae: float


class Windows(NamedTuple):
    """What predictors see and what follows it; views of the series where possible.

    Attributes:
      inputs: `[N, context, C]`.
      targets: `[N, horizon, C]`.
    """

    inputs: np.ndarray
    targets: np.ndarray


def scaled(series: np.ndarray, protocol: Protocol) -> np.ndarray:
    """Returns a series `[T, C]` minus the mean of its training part, over its standard deviation.

    A channel that is constant there is only centred.

    Raises:
      InputError: a series that is not `[T, C]` or shorter than the parts of the protocol.
    """
    x = np.asarray(series, np.float64)
    needed = protocol.train + protocol.validation + protocol.test
    if x.ndim != 2 or len(x) < needed:
        raise InputError(f"the protocol needs a series [T, C], T {needed} or more, got {x.shape}.")
    train = x[: protocol.train]
    deviation = train.std(axis=0)
    return (x - train.mean(axis=0)) / np.where(deviation > 0, deviation, 1)


def train_windows(series: np.ndarray, protocol: Protocol, horizon: int) -> Windows:
    """Returns every window of a scaled series `[T, C]` that lies within the training part.

    Raises:
      InputError: a horizon for which the part is too short.
    """
    return _windows(series[: protocol.train], protocol.context, horizon)


def test_windows(series: np.ndarray, protocol: Protocol, horizon: int) -> Windows:
    """Returns the test windows of a scaled series `[T, C]`: all points forecast are in that part.

    The first inputs reach back into the validation part. As many windows as fill batches are kept.

    Raises:
      InputError: a horizon for which the part is too short.
    """
    begin = protocol.train + protocol.validation
    part = series[begin - protocol.context : begin + protocol.test]
    inputs, targets = _windows(part, protocol.context, horizon)
    kept = len(inputs) - len(inputs) % protocol.batch
    if not kept:
        raise InputError(f"{len(inputs)} test windows do not fill a batch of {protocol.batch}.")
    return Windows(inputs[:kept], targets[:kept])


def _windows(part: np.ndarray, context: int, horizon: int) -> Windows:
    if horizon < 1 or len(part) < context + horizon:
        raise InputError(
            f"a part of {len(part)} points has no window of {context} points before a horizon of "
            f"{horizon}."
        )
    views = np.lib.stride_tricks.sliding_window_view(part, context + horizon, axis=0)
    views = views.swapaxes(1, 2)
    return Windows(views[:, :context], views[:, context:])


def errors(predictions: np.ndarray, targets: np.ndarray) -> Forecast:
    """Returns the mean errors of predictions and targets of one shape."""
    if predictions.shape != targets.shape:
        raise InputError(
            f"predictions {list(predictions.shape)} and targets {list(targets.shape)} differ."
        )
    away = predictions - targets
    return Forecast(float(np.mean(away**2)), float(np.mean(np.abs(away))))


def repeat_last(inputs: np.ndarray, horizon: int) -> np.ndarray:
    """Returns the forecast `[N, horizon, C]` that repeats the last value of inputs `[N, L, C]`."""
    return np.broadcast_to(inputs[:, -1:], (len(inputs), horizon, inputs.shape[2]))


def relative_lags(windows: Windows) -> tuple[np.ndarray, np.ndarray]:
    """Returns lags `[N * C, context]` and targets `[N * C, horizon]` minus the last value of each.

    Every channel is a sample of its own, so that one predictor serves all; a ridge regression of
    these is NLinear (Zeng et al., 2023) in closed form. Errors of such targets are those of the
    targets themselves.
    """
    last = windows.inputs[:, -1:]
    lags, targets = ((x - last).swapaxes(1, 2) for x in windows)
    return lags.reshape(-1, lags.shape[2]), targets.reshape(-1, targets.shape[2])


def forecast_probe(
    x_train: np.ndarray,
    y_train: np.ndarray,
    x_test: np.ndarray,
    y_test: np.ndarray,
    *,
    penalty: float = 1.0,
) -> Forecast:
    """Fits a ridge regression of targets `[N, H]` on features `[N, D]`, and tests it on others.

    It minimises |y - x w - b|^2 + penalty |w|^2 in closed form, with features standardised by the
    training ones, so that raw lags and latents can stand side by side.

    Args:
      x_train, x_test: features: lags, latents, or both beside each other.
      penalty: per coefficient; not of the intercept b.

    Raises:
      InputError: shapes that do not fit, values that are not finite, or a negative penalty.
    """
    x_train, y_train, x_test, y_test = (
        np.asarray(a, np.float64) for a in (x_train, y_train, x_test, y_test)
    )
    _check("train", x_train, y_train)
    _check("test", x_test, y_test)
    if x_train.shape[1] != x_test.shape[1] or y_train.shape[1] != y_test.shape[1]:
        raise InputError(
            f"train has {x_train.shape[1]} features and {y_train.shape[1]} targets, test "
            f"{x_test.shape[1]} and {y_test.shape[1]}."
        )
    if not penalty >= 0:
        raise InputError(f"the penalty must be 0 or more, got {penalty}.")
    mean, deviation, middle = x_train.mean(axis=0), x_train.std(axis=0), y_train.mean(axis=0)
    deviation = np.where(deviation > 0, deviation, 1)
    x = (x_train - mean) / deviation
    gram = x.T @ x
    gram[np.diag_indices_from(gram)] += max(penalty, 1e-10 * len(x))  # never singular
    weights = np.linalg.solve(gram, x.T @ (y_train - middle))
    return errors((x_test - mean) / deviation @ weights + middle, y_test)


def _check(part: str, x: np.ndarray, y: np.ndarray) -> None:
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y) or not len(x):
        raise InputError(
            f"{part}: features must be [N, D] and targets [N, H], got {list(x.shape)} and "
            f"{list(y.shape)}."
        )
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise InputError(f"{part}: features or targets have values that are not finite.")


def forecast_probes(
    z_train: np.ndarray,
    lags_train: np.ndarray,
    y_train: np.ndarray,
    z_test: np.ndarray,
    lags_test: np.ndarray,
    y_test: np.ndarray,
    *,
    penalty: float = 1.0,
) -> dict[str, Forecast]:
    """Returns the forecasts from `latents`, from raw `lags`, and from `both`; see `forecast_probe`.

    Args:
      z_train, z_test: latents `[N, D]`. lags_train, lags_test: raw lags `[N, L]` of the same rows.
      y_train, y_test: targets `[N, H]`.
    """
    features = {
        "latents": (z_train, z_test),
        "lags": (lags_train, lags_test),
        "both": (np.hstack([z_train, lags_train]), np.hstack([z_test, lags_test])),
    }
    return {
        name: forecast_probe(train, y_train, test, y_test, penalty=penalty)
        for name, (train, test) in features.items()
    }
