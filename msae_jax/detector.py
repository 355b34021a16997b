"""An ensemble of autoencoders as a scikit-learn outlier detector, for samples and for series."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from msae_jax.analysis import series_anomalies as anomalies
from msae_jax.data import Dataset, Split
from msae_jax.data.series import Facts, Series, Windows
from msae_jax.data.series import scaling as scalings
from msae_jax.data.series.series import numbered
from msae_jax.errors import DivergedError, InputError, unknown_name
from msae_jax.estimator import ROWS, padded, plain, train_config, without_uint8
from msae_jax.fitting import loop
from msae_jax.train import evaluation


class AnomalyDetector(OutlierMixin, BaseEstimator):
    """Finds samples, or points of a series, that autoencoders of the training data rebuild badly.

    X is one of:

    - samples `[N, features]`, used in float32 and not scaled; uint8 is refused;
    - images `[N, H, W, C]`, float32, or uint8, which is divided by 255;
    - with `window`, one series `[T]` or `[T, C]`, where NaN is a missing value. Its windows are the
      samples of the model, and every point has a score, as in `msae detect`.

    As everywhere in scikit-learn a lower score is more anomalous: a point is an outlier (-1) where
    `decision_function`, which is `score_samples` minus `offset_`, is negative. The offset comes
    from the scores of the training data alone.

    Args:
      model, latent_dim, options, likelihood, reduction, beta: as of `AutoencoderEstimator`.
      optimizer, learning_rate, epochs, batch_size, init_scheme: likewise.
      window: the points of a window; None says that X holds samples.
      stride: of a series, how many points after one training window the next begins. Scores always
        use a stride of 1.
      aggregate: of a series, how the windows over a point are put together; see
        `msae_jax.analysis.series_anomalies.AGGREGATES`.
      scaling: of a series, `zscore`, `robust`, `window` or `none`; learned in `fit`.
      seeds: how many models to train, from consecutive seeds; a score is the mean over them.
      contamination: the share of the training data that counts as outliers, above 0, at most 0.5.
      random_state: the first seed, as of `AutoencoderEstimator`.

    Attributes:
      model_, config_: the linen module, and the `TrainConfig` of the first seed.
      variables_, seeds_: the Flax variables of each model, and its seed; a seed whose loss was not
        finite is left out.
      offset_: the score below which a sample is an outlier.
      facts_: of a series, its channels, scaling and window.
      n_features_in_, feature_names_in_: as everywhere in scikit-learn; for images, and a series
        `[T]`, the size of axis 1 or 1.
    """

    def __init__(
        self,
        model: str = "baseline-mlp",
        *,
        latent_dim: int | None = None,
        options: Mapping[str, Any] | None = None,
        window: int | None = None,
        stride: int = 1,
        aggregate: str = "centre",
        scaling: str = "zscore",
        seeds: int = 1,
        contamination: float = 0.01,
        likelihood: str = "gaussian",
        reduction: str = "mean",
        beta: float = 1.0,
        optimizer: str = "adam",
        learning_rate: float = 1e-3,
        epochs: int = 20,
        batch_size: int = 64,
        init_scheme: str = "torch",
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.model = model
        self.latent_dim = latent_dim
        self.options = options
        self.window = window
        self.stride = stride
        self.aggregate = aggregate
        self.scaling = scaling
        self.seeds = seeds
        self.contamination = contamination
        self.likelihood = likelihood
        self.reduction = reduction
        self.beta = beta
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.epochs = epochs
        self.batch_size = batch_size
        self.init_scheme = init_scheme
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> AnomalyDetector:
        """Trains the models on X, and sets the threshold from its scores; y is ignored.

        Raises:
          InputError: parameters, model and data do not fit one another.
          DivergedError: the loss of every seed was not finite.
        """
        self._check()
        settings = train_config(self)
        x: Any
        if self.window is None:
            x = every = self._samples(X, reset=True)
            one = every[:1]
        else:
            values = self._values(X, reset=True)
            self.facts_ = self._learned(values)
            x = self._windows(values)
            every = replace(x, starts=x.starts[:: self.stride])
            one = replace(x, starts=x.starts[:1])
        # The loop tests after each epoch: one training sample is the test split, for no metric.
        members = loop.as_members(settings, plain(self.seeds))
        done = loop.fit_many(settings, members, Dataset("X", Split(every), Split(one)))
        kept = [i for i in range(len(done.members)) if i not in done.diverged]
        if not kept:
            raise DivergedError(f"{done.diverged[0]}. A lower learning_rate may help.")
        self.config_, self.model_ = settings, done.model
        self.seeds_ = [done.members[i].seed for i in kept]
        self.variables_ = [done.variables(i) for i in kept]
        self.sample_shape_ = tuple(x.shape[1:])
        scores = self._scores(x)
        self.offset_ = float(np.nanquantile(scores, self.contamination))
        return self

    def score_samples(self, X: Any) -> np.ndarray:
        """Returns minus the squared error of the reconstruction, float64; higher is more normal.

        For samples and images the mean over the values of each, `[N]`. For a series the score of
        each point, the mean over its channels, `[T]`, in units of the scaled series; NaN where a
        value is missing or no window reaches.
        """
        check_is_fitted(self)
        if self.window is None:
            x = self._samples(X, reset=False)
            return self._scores(x)
        return self._scores(self._windows(self._values(X, reset=False)))

    def decision_function(self, X: Any) -> np.ndarray:
        """Returns `score_samples` minus `offset_`: negative for outliers."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> np.ndarray:
        """Returns -1 for outliers, and 1 for all else; points without a score are no outliers."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    def _check(self) -> None:
        if not 0 < self.contamination <= 0.5:
            raise InputError(f"contamination must be in (0, 0.5], got {self.contamination}.")
        for name in ("seeds", "stride", *(["window"] if self.window is not None else [])):
            value, least = plain(getattr(self, name)), 2 if name == "window" else 1
            if type(value) is not int or value < least:
                raise InputError(f"{name} must be a whole number, at least {least}, got {value!r}.")
        if self.aggregate not in anomalies.AGGREGATES:
            raise unknown_name("aggregate", self.aggregate, anomalies.AGGREGATES)
        if self.scaling not in scalings.KINDS:
            raise unknown_name("scaling", self.scaling, scalings.KINDS)

    def _samples(self, X: Any, *, reset: bool) -> np.ndarray:
        """Returns samples `[N, features]` or images `[N, H, W, C]`."""
        if _axes(X) != 4:
            return validate_data(self, without_uint8(X), dtype=np.float32, order="C", reset=reset)
        kind = np.uint8 if getattr(X, "dtype", None) == np.uint8 else np.float32
        images = check_array(X, dtype=kind, order="C", allow_nd=True, input_name="X")
        if reset:
            self.n_features_in_ = images.shape[1]
        elif images.shape[1:] != self.sample_shape_:
            raise InputError(
                f"X has samples {list(images.shape[1:])}, it was fitted on "
                f"{list(self.sample_shape_)}."
            )
        return images

    def _values(self, X: Any, *, reset: bool) -> np.ndarray:
        """Returns a series `[T, C]`, not scaled."""
        one = np.asarray(X)[:, None] if _axes(X) == 1 else X
        return validate_data(
            self, one, dtype=np.float32, order="C", ensure_all_finite="allow-nan", reset=reset
        )

    def _learned(self, values: np.ndarray) -> Facts:
        names = tuple(map(str, getattr(self, "feature_names_in_", numbered(values.shape[1]))))
        every = [(0, len(values))]
        scaling = scalings.learn(self.scaling, values, every, names, "X")
        return Facts(names, scaling, int(plain(self.window)), 1)

    def _windows(self, values: np.ndarray) -> Windows:
        series = Series(values, np.array([0, len(values)]), self.facts_.channels)
        return anomalies.scored_windows(series, self.facts_)

    def _scores(self, x: np.ndarray | Windows) -> np.ndarray:
        if isinstance(x, Windows):
            found = anomalies.point_scores_of(self.model_, self.variables_, x, self.aggregate)
            return -anomalies.combined(found)
        errors = [self._errors(variables, x) for variables in self.variables_]
        return -np.mean(errors, axis=0)

    def _errors(self, variables: Mapping[str, Any], x: np.ndarray) -> np.ndarray:
        recon = evaluation.reconstruct(self.model_, variables, padded(x), batch_size=ROWS)
        seen = x / np.float32(255) if x.dtype == np.uint8 else x
        squares = np.square(recon[: len(x)] - seen).reshape(len(x), -1)
        return squares.mean(axis=1, dtype=np.float64)


def _axes(X: Any) -> int:
    """Returns the number of axes of an array, a table, a sparse matrix or nested lists."""
    return X.ndim if hasattr(X, "ndim") else np.asarray(X).ndim
