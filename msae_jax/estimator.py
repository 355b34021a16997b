"""An autoencoder as a scikit-learn transformer; it and `detector` need scikit-learn to load."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from msae_jax.analysis.latents import decode
from msae_jax.config import ModelConfig, Objective, OptimizerConfig, TrainConfig
from msae_jax.data import Dataset, Split
from msae_jax.errors import InputError
from msae_jax.fitting import loop
from msae_jax.train import evaluation

ROWS = 128
"""Rows that go through the model as one batch. Data are padded to a multiple of it, so that one
compiled program serves any number of rows, and a row's latent does not depend on the other rows."""


class AutoencoderEstimator(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """A model of `msae_jax` behind scikit-learn's `fit`, `transform` and `inverse_transform`.

    All of X trains; nothing is held out. X `[N, features]` is used in float32 and is not scaled;
    uint8 is refused, since `msae_jax` divides it by 255 elsewhere.

    Args:
      model: a name of `msae_jax.models`, or `package.module:Class`.
      latent_dim: the size of the latent; None takes it from `options` or the model's default.
      options: further fields of the model, such as `{"hidden": [64]}`.
      sample_shape: the shape that each row is given before the model sees it, such as
        `(28, 28, 1)` for `conv`; None leaves rows as they are.
      likelihood, reduction, beta: see `msae_jax.config.Objective`. `bernoulli` needs X in [0, 1]
        and a model with a sigmoid.
      optimizer, learning_rate, epochs, batch_size, init_scheme: as in `msae_jax.config`.
      random_state: a seed, as in `msae train --seed`; a RandomState, from which a seed is drawn;
        or None, for a seed that differs each time.

    Attributes:
      model_, variables_: the linen module and its variables, for `msae_jax.analysis`.
      config_: the `TrainConfig` that trained them.
      history_: a dict for each epoch: `epoch`, `step`, `seconds` and the metrics `train_*`.
      n_features_in_, feature_names_in_: as everywhere in scikit-learn.
    """

    def __init__(
        self,
        model: str = "baseline-mlp",
        *,
        latent_dim: int | None = None,
        options: Mapping[str, Any] | None = None,
        sample_shape: tuple[int, ...] | None = None,
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
        self.sample_shape = sample_shape
        self.likelihood = likelihood
        self.reduction = reduction
        self.beta = beta
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.epochs = epochs
        self.batch_size = batch_size
        self.init_scheme = init_scheme
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> AutoencoderEstimator:
        """Trains on X `[N, features]`; y is ignored.

        Raises:
          InputError: parameters, model and data do not fit one another.
          DivergedError: a loss was not finite.
        """
        rows = validate_data(self, without_uint8(X), dtype=np.float32, order="C")
        settings = train_config(self)
        x = self._samples(rows)
        # `fit_one` tests after each epoch. One training sample serves as the test split; its
        # metrics mean nothing and are dropped.
        trained = loop.fit_one(settings, Dataset("X", Split(x), Split(x[:1])))
        self.config_ = settings
        self.model_ = trained.model
        self.variables_ = jax.device_get(trained.variables)
        self.history_ = [
            {name: value for name, value in line.items() if not name.startswith("test_")}
            for line in trained.history
        ]
        self._n_features_out = self._embed(x[:1]).shape[1]
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Returns the latents, float32 `[N, latent_dim]`; of a variational model, their means."""
        return self._embed(self._samples(self._validated(X)))

    def inverse_transform(self, X: Any) -> np.ndarray:
        """Returns what latents `[N, latent_dim]` decode to, float32 `[N, features]`."""
        check_is_fitted(self)
        z = check_array(X, dtype=np.float32, order="C", input_name="X")
        if z.shape[1] != self._n_features_out:
            raise InputError(f"latents must be [N, {self._n_features_out}], got {list(z.shape)}.")
        x = decode(self.model_, self.variables_, padded(z), batch_size=ROWS)
        return x[: len(z)].reshape(len(z), self.n_features_in_)

    def score_samples(self, X: Any) -> np.ndarray:
        """Returns minus the squared error of the reconstruction, mean per feature, float32 `[N]`.

        Higher is better. The unit is the same for every model and objective, so that searches may
        vary them. Variational models reconstruct from the posterior mean; for their log-likelihood
        use `msae_jax.analysis.log_likelihood(self.model_, self.variables_, X)`.
        """
        x = self._samples(self._validated(X))
        recon = evaluation.reconstruct(self.model_, self.variables_, padded(x), batch_size=ROWS)
        return -np.square(recon[: len(x)] - x).reshape(len(x), -1).mean(axis=1)

    def score(self, X: Any, y: Any = None) -> float:
        """Returns the mean of `score_samples`; y is ignored."""
        return float(self.score_samples(X).mean(dtype=np.float64))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    def _validated(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        return validate_data(self, without_uint8(X), dtype=np.float32, order="C", reset=False)

    def _samples(self, rows: np.ndarray) -> np.ndarray:
        if self.sample_shape is None:
            return rows
        shape = tuple(self.sample_shape)
        if rows.shape[1] != np.prod(shape):
            raise InputError(
                f"sample_shape {shape} has {np.prod(shape)} values, X has {rows.shape[1]} features."
            )
        return rows.reshape(len(rows), *shape)

    def _embed(self, x: np.ndarray) -> np.ndarray:
        z = evaluation.embed(self.model_, self.variables_, padded(x), batch_size=ROWS)
        return z[: len(x)]


def train_config(estimator: Any) -> TrainConfig:
    """Returns what an estimator trains, from its parameters."""
    options = dict(estimator.options or {})
    if estimator.latent_dim is not None:
        options["latent_dim"] = plain(estimator.latent_dim)
    seed = plain(estimator.random_state)
    if type(seed) is not int:
        seed = int(check_random_state(seed).randint(2**31 - 1))
    return TrainConfig(
        ModelConfig(estimator.model, options, estimator.init_scheme),
        "X",
        Objective(estimator.likelihood, estimator.reduction, plain(estimator.beta)),
        OptimizerConfig(estimator.optimizer, plain(estimator.learning_rate)),
        epochs=plain(estimator.epochs),
        batch_size=plain(estimator.batch_size),
        seed=seed,
    )


def without_uint8(X: Any) -> Any:
    """Returns X unless it is uint8, which everything else here divides by 255."""
    if getattr(X, "dtype", None) == np.uint8:
        raise InputError(
            "X is uint8, which msae_jax takes for intensities 0 to 255: give X / np.float32(255) "
            "for them, or X.astype(np.float32) for values that are none."
        )
    return X


def plain(value: Any) -> Any:
    """Returns a number as Python's own type; parameter grids hold NumPy's."""
    return value.item() if isinstance(value, np.generic) else value


def padded(x: np.ndarray) -> np.ndarray:
    """Returns `[N, ...]` padded with copies of its first row to a multiple of ROWS."""
    missing = -len(x) % ROWS
    return np.concatenate([x, np.repeat(x[:1], missing, axis=0)])
