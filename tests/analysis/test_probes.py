from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.decomposition import PCA

from msae_jax.analysis import probe
from msae_jax.errors import InputError


def test_knn_votes() -> None:
    """On a line: the three nearest of 0.4 are of class a; the nearest of 2.1 is the lone b at 2."""
    z, y = np.array([[0.0], [0.5], [1.0], [2.0], [3.0]]), np.array(["a", "a", "a", "b", "a"])
    test, truth = np.array([[0.4], [2.1]]), np.array(["a", "b"])
    three = probe(z, y, test, truth, n_neighbors=3)
    assert three.predictions.tolist() == ["a", "a"]
    assert three.accuracy == 0.5
    assert three.settings == {"n_neighbors": 3}
    one = probe(z, y, test, truth, n_neighbors=1)
    assert (one.predictions.tolist(), one.accuracy) == (["a", "b"], 1.0)


def test_exclusive_or_needs_the_svm() -> None:
    """The four quadrants, opposite ones of a class: no line tells more than three of them."""
    rng = np.random.default_rng(0)
    z = rng.uniform(0.2, 1, (400, 2)) * rng.choice([-1, 1], (400, 2))
    y = (z[:, 0] * z[:, 1] > 0).astype(int)
    linear, svm, knn = (
        probe(z[:300], y[:300], z[300:], y[300:], k) for k in ("linear", "svm", "knn")
    )
    assert linear.accuracy < 0.76
    assert svm.accuracy == knn.accuracy == 1.0
    assert svm.settings == {"kernel": "rbf", "C": 10.0, "gamma": "scale"}


def test_the_linear_probe_standardises() -> None:
    """Units change nothing, not even a factor of a million beside one."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(200, 2))
    y = (z @ [1.0, 2.0] + 0.5 * rng.normal(size=200) > 0).astype(int)
    a, b = (probe(s[:100], y[:100], s[100:], y[100:], "linear") for s in (z, z * [1e6, 1.0] + 50))
    assert np.array_equal(a.predictions, b.predictions)
    assert a.accuracy == np.mean(a.predictions == y[100:]) > 0.85


def ucr(folder: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Reads series `[N, T]` and their classes `[N]` from a `.ts` file."""
    lines = (folder / f"aeon/{name}.ts").read_text().splitlines()
    begin = next(i for i, line in enumerate(lines) if line.lower().startswith("@data")) + 1
    rows = [line.split(":") for line in lines[begin:] if line]
    return np.array([row[0].split(",") for row in rows], float), np.array([r[1] for r in rows])


@pytest.mark.parametrize(
    ("name", "accuracy"), [("GunPoint", 0.960), ("ItalyPowerDemand", 0.957), ("ArrowHead", 0.834)]
)
def test_sixteen_principal_components_of_series(
    series_folder: Path, name: str, accuracy: float
) -> None:
    """As measured with scikit-learn alone: the control beside TS2Vec's 0.987, 0.960, 0.817."""
    (x, y), (u, v) = (ucr(series_folder, f"{name}/{name}_{part}") for part in ("TRAIN", "TEST"))
    pca = PCA(16, svd_solver="full").fit(x)
    got = probe(pca.transform(x), y, pca.transform(u), v, "svm-cv")
    assert round(got.accuracy, 3) == accuracy
    assert (
        got.accuracy
        == probe(pca.transform(x), y, pca.transform(u), v, "svm", C=got.settings["C"]).accuracy
    )


def test_the_cross_validated_c() -> None:
    z, y = np.arange(8.0)[:, None], np.repeat([0, 1], 4)
    assert probe(z, y, z, y, "svm-cv", C=2.0).settings["C"] == 2.0
    with pytest.raises(InputError, match="2 training samples or more of each class"):
        probe(z[:5], y[:5], z, y, "svm-cv")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"kind": "svn"}, "Did you mean 'svm'"),
        ({"neighbours": 3}, "neighbours"),
        ({"y_test": np.zeros(3)}, r"test: .*\[2, 1\] and \[3\]"),
        ({"z_test": np.zeros((2, 4))}, "1 dimensions, test latents 4"),
    ],
)
def test_what_cannot_be_probed(changed: dict, message: str) -> None:
    z, y = np.array([[0.0], [1.0]]), np.array([0, 1])
    with pytest.raises(InputError, match=message):
        probe(**({"z_train": z, "y_train": y, "z_test": z, "y_test": y} | changed))
