from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from msae_jax.analysis.series_anomalies import period, sub_pca, vus_pr
from msae_jax.errors import InputError
from tests.analysis.series_anomalies.oracle import PUBLISHED_SUB_PCA

Nab = Callable[[str], tuple[np.ndarray, np.ndarray]]


@pytest.mark.parametrize("name", PUBLISHED_SUB_PCA)
def test_the_published_table(nab: Nab, name: str) -> None:
    x, labels = nab(f"{name}.csv")
    got = vus_pr(sub_pca(x), labels, period(x))
    assert got == pytest.approx(PUBLISHED_SUB_PCA[name], abs=1e-4)


def test_two_positions_by_hand() -> None:
    """Windows of 2: the components are (1, 1) and (1, -1) over sqrt 2, and their signs."""
    x = np.array([0.0, 1, 3, 2, 5, 4, 8, 1])
    windows = np.stack([x[:-1], x[1:]], axis=1)
    z = (windows - windows.mean(0)) / windows.std(0)
    r = np.corrcoef(windows.T)[0, 1]
    components = []
    for v in np.array([[1, 1], [1, -1]]) / np.sqrt(2):
        along = z @ v
        components.append(v * np.sign(along[np.abs(along).argmax()]))
    shares = [(1 + r) / 2, (1 - r) / 2]
    expected = sum(
        np.linalg.norm(z - v, axis=1) / share for v, share in zip(components, shares, strict=True)
    )
    np.testing.assert_allclose(sub_pca(x, 2), np.append(expected[0], expected), rtol=1e-10)


def test_what_sub_pca_refuses() -> None:
    with pytest.raises(InputError, match="finite series"):
        sub_pca(np.array([1, np.nan, 2]))
    with pytest.raises(InputError, match="1 to 4 points, got 5"):
        sub_pca(np.arange(5.0), 5)
