"""How much of the labels simple classifiers read from latents."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from msae_jax.errors import InputError, unknown_name

DEFAULTS: dict[str, dict[str, Any]] = {
    "knn": {"n_neighbors": 5},
    "linear": {"C": 1.0, "max_iter": 1000},
    "svm": {"kernel": "rbf", "C": 10.0, "gamma": "scale"},
}
"""The settings of each kind that `probe` starts from; what is not here is scikit-learn's own."""


class Probe(NamedTuple):
    """A classifier's result on the test latents.

    Attributes:
      accuracy: the fraction of the test labels predicted.
      predictions: `[N]` labels.
      kind: `knn`, `linear` or `svm`. settings: those it was given.
    """

    accuracy: float
    predictions: np.ndarray
    kind: str
    settings: dict[str, Any]


def probe(
    z_train: np.ndarray,
    y_train: np.ndarray,
    z_test: np.ndarray,
    y_test: np.ndarray,
    kind: str = "knn",
    **settings: Any,
) -> Probe:
    """Trains a classifier on latents `[N, D]` with labels `[N]` and tests it on others.

    Args:
      kind: `knn`, the nearest neighbours by Euclidean distance; `linear`, logistic regression on
        latents standardised by the training ones; `svm`, with an RBF kernel whose width is
        1 / (D var z) (`gamma="scale"`) and C = 10.
      settings: instead of `DEFAULTS`, arguments of scikit-learn's `KNeighborsClassifier`,
        `LogisticRegression` or `SVC`.

    Raises:
      InputError: an unknown kind or setting, or shapes that do not fit.
    """
    if kind not in DEFAULTS:
        raise unknown_name("probe", kind, DEFAULTS)
    z_train, z_test = np.asarray(z_train), np.asarray(z_test)
    y_train, y_test = np.asarray(y_train), np.asarray(y_test)
    _check("train", z_train, y_train)
    _check("test", z_test, y_test)
    if z_train.shape[1] != z_test.shape[1]:
        raise InputError(
            f"train latents have {z_train.shape[1]} dimensions, test latents {z_test.shape[1]}."
        )
    settings = DEFAULTS[kind] | settings
    predictions = _classifier(kind, settings).fit(z_train, y_train).predict(z_test)
    return Probe(float(np.mean(predictions == y_test)), predictions, kind, settings)


def _check(part: str, z: np.ndarray, y: np.ndarray) -> None:
    if z.ndim != 2 or y.shape != (len(z),) or not len(z):
        raise InputError(
            f"{part}: latents must be [N, D] and labels [N], got {list(z.shape)} and "
            f"{list(y.shape)}."
        )


def _classifier(kind: str, settings: dict[str, Any]) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    classes = {"knn": KNeighborsClassifier, "linear": LogisticRegression, "svm": SVC}
    try:
        classifier = classes[kind](**settings)
    except TypeError as error:
        raise InputError(f"probe {kind!r}: {error}.") from error
    return make_pipeline(StandardScaler(), classifier) if kind == "linear" else classifier
