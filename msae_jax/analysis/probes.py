"""How well simple classifiers predict labels from latents."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from msae_jax.errors import InputError, unknown_name

DEFAULTS: dict[str, dict[str, Any]] = {
    "knn": {"n_neighbors": 5},
    "linear": {"C": 1.0, "max_iter": 1000},
    "svm": {"kernel": "rbf", "C": 10.0, "gamma": "scale"},
    "svm-cv": {"kernel": "rbf", "gamma": "scale"},
}
"""The settings of each kind; all others are scikit-learn's defaults."""


class Probe(NamedTuple):
    """A classifier's result on the test latents.

    Attributes:
      accuracy: the fraction of the test labels predicted.
      predictions: `[N]` labels.
      kind: one of `DEFAULTS`.
      settings: the classifier's, with `DEFAULTS`.
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
        1 / (D var z) (`gamma="scale"`) and C = 10; `svm-cv`, the same with that C of 0.0001, 0.001
        and so on to 10,000 which does best in a cross-validation of the training latents, as in
        TS2Vec (Yue et al., AAAI 2022).
      settings: arguments of scikit-learn's `KNeighborsClassifier`, `LogisticRegression` or `SVC`;
        they replace those of `DEFAULTS`.

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
    if kind == "svm-cv":
        settings = settings | {"C": _best_c(z_train, y_train, settings)}
    predictions = _classifier(kind, settings).fit(z_train, y_train).predict(z_test)
    return Probe(float(np.mean(predictions == y_test)), predictions, kind, settings)


def _check(part: str, z: np.ndarray, y: np.ndarray) -> None:
    if z.ndim != 2 or y.shape != (len(z),) or not len(z):
        raise InputError(
            f"{part}: latents must be [N, D] and labels [N], got {list(z.shape)} and "
            f"{list(y.shape)}."
        )


def _best_c(z: np.ndarray, y: np.ndarray, settings: dict[str, Any]) -> float:
    """Returns the C of the best accuracy over five folds, or as many as the rarest class has."""
    from sklearn.model_selection import GridSearchCV

    if "C" in settings:
        return settings["C"]
    folds = min(5, int(np.unique(y, return_counts=True)[1].min()))
    if folds < 2:
        raise InputError("svm-cv needs 2 training samples or more of each class; use 'svm'.")
    grid = {"C": [10.0**power for power in range(-4, 5)]}
    search = GridSearchCV(_classifier("svm", settings), grid, cv=folds)
    return float(search.fit(z, y).best_params_["C"])


def _classifier(kind: str, settings: dict[str, Any]) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    classes = {"knn": KNeighborsClassifier, "linear": LogisticRegression}
    try:
        classifier = classes.get(kind, SVC)(**settings)
    except TypeError as error:
        raise InputError(f"probe {kind!r}: {error}.") from error
    return make_pipeline(StandardScaler(), classifier) if kind == "linear" else classifier
