"""The numbers that L-GTA's authors give for direct transforms of the Tourism data.

Their README (5a4eba5) and our own run of their protocol over 10 seeds, in NumPy: jitter 0.181, IQR
0.061, 168.8%; warp 0.177, 0.188, 185.3%; scaling, a factor a value, 0.137, 0.111, 247.5%.
"""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from msae_jax.analysis import augmentation as aug

SEEDS = 10


def direct(name: str, y: jax.Array, key: jax.Array) -> jax.Array:
    """Returns months x series after a transform in the published strength, negative values as 0."""
    one = y[None]  # one sample, a channel a series
    if name == "jitter":  # 0.5 x 6 times a quarter of each series' standard deviation
        deviation = y.std(axis=0)
        changed = aug.named("jitter")(key, one / deviation, 0.75) * deviation
    elif name == "magnitude-warp":  # 0.1 x 5
        changed = aug.named("magnitude-warp")(key, one, 0.5)
    else:  # each month is a sample of its own, so that every value has its factor
        changed = aug.named("scaling")(key, y[:, None], 0.5)
    return jnp.maximum(changed.reshape(y.shape), 0)


@pytest.mark.parametrize(
    ("name", "expected", "of_a_seed"),
    [
        ("jitter", (0.181, 0.061, 168.8), (0.0023, 0.0033, 2.4)),
        ("magnitude-warp", (0.177, 0.188, 185.3), (0.0085, 0.016, 12.7)),
        ("scaling", (0.137, 0.111, 247.5), (0.0030, 0.0054, 5.8)),
    ],
)
def test_direct_transforms_of_tourism(
    series_folder: Path, name: str, expected: tuple, of_a_seed: tuple
) -> None:
    """Two means of 10 seeds differ by less than 3 standard errors and their rounding.

    `of_a_seed` is the standard deviation over 40 seeds of the same protocol written in NumPy.
    """
    y = jnp.asarray(np.load(series_folder / "tourism" / "tourism_monthly_228x304.npz")["y"], "f4")
    rows = []
    for seed in range(SEEDS):
        moved = direct(name, y, jax.random.key(seed))
        spread = aug.spread(aug.wasserstein(y[None], moved[None]))
        rows.append((*spread, aug.pca_ratio(y, moved)))
    away = np.abs(np.mean(rows, axis=0) - expected)
    rounding = np.array([0.0005, 0.0005, 0.05])
    assert (away < 3 * np.array(of_a_seed) * np.sqrt(2 / SEEDS) + rounding).all(), away
