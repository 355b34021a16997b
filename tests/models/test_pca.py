"""`pca` against scikit-learn's, and through the loop that trains every other model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

import msae_jax as mj
from msae_jax import models
from msae_jax.bench import bench
from msae_jax.config import ModelConfig, TrainConfig
from msae_jax.data import Dataset, Split
from msae_jax.errors import InputError
from msae_jax.models import pca
from msae_jax.recipes import recipe
from msae_jax.train.evaluation import embed, reconstruct

RNG = np.random.default_rng(0)
LATENT = 4


def samples(n: int, features: int) -> np.ndarray:
    """Rows of falling variance around a mean far from zero."""
    mixed = RNG.normal(size=(n, features)) * 0.8 ** np.arange(features)
    rotation = np.linalg.qr(RNG.normal(size=(features, features)))[0]
    return (mixed @ rotation + 50).astype(np.float32)


@pytest.mark.parametrize(("n", "features"), [(300, 20), (12, 20), (20, 20)])
def test_it_is_scikit_learns(n: int, features: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn.decomposition import PCA

    monkeypatch.setattr(pca, "CHUNK", 7)  # does not divide the samples
    x = samples(n, features)
    model = models.build(ModelConfig("pca", {"latent_dim": LATENT}), (features,))
    params = pca.fit(model, x)
    oracle = PCA(LATENT, svd_solver="full").fit(x.astype(np.float64))
    np.testing.assert_allclose(params["centre"]["bias"], oracle.mean_, rtol=1e-6)
    np.testing.assert_allclose(params["components"]["kernel"].T, oracle.components_, atol=1e-6)
    z = embed(model, {"params": params}, x)
    np.testing.assert_allclose(z.var(axis=0, ddof=1), oracle.explained_variance_, rtol=1e-4)
    np.testing.assert_allclose(z, oracle.transform(x), atol=1e-4)
    recon = reconstruct(model, {"params": params}, x)
    np.testing.assert_allclose(recon, oracle.inverse_transform(oracle.transform(x)), atol=1e-4)


def test_incomplete_samples_are_left_out() -> None:
    x = samples(50, 10)
    model = models.build(ModelConfig("pca", {"latent_dim": 3}), (10,))
    whole = pca.fit(model, x[:40])
    gaps = x.copy()
    gaps[40:, 2] = np.nan
    jax.tree.map(np.testing.assert_array_equal, pca.fit(model, gaps), whole)
    gaps[2:, 2] = np.nan
    with pytest.raises(InputError, match="PCA of 2 complete samples of 10 values has at most 2"):
        pca.fit(model, gaps)


def dataset(dtype: type = np.float32) -> Dataset:
    x = RNG.integers(0, 256, (70, 4, 5, 1)).astype(dtype)
    return Dataset("small", Split(x[:50]), Split(x[50:]))


SETTINGS = TrainConfig(ModelConfig("pca", {"latent_dim": 3}), epochs=1, batch_size=16)


def test_every_seed_gives_the_same_and_the_epoch_measures_it(tmp_path: Path) -> None:
    from sklearn.decomposition import PCA

    data = dataset(np.uint8)
    done = mj.fit(SETTINGS, data, seeds=3, out=tmp_path / "run")
    flat = data.train.x.reshape(50, 20) / 255.0
    oracle = PCA(3, svd_solver="full").fit(flat)
    for part, x in (("train", data.train.x), ("test", data.test.x)):
        flat = x.reshape(len(x), 20) / 255.0
        error = np.square(oracle.inverse_transform(oracle.transform(flat)) - flat).mean()
        np.testing.assert_allclose(done.final(f"{part}_mse"), [error] * 3, rtol=1e-5)
    for leaf in jax.tree.leaves(done.weights):
        np.testing.assert_array_equal(leaf, np.broadcast_to(leaf[:1], leaf.shape))
    more = mj.fit(SETTINGS, data, seeds=4, out=tmp_path / "run", resume=True)
    np.testing.assert_allclose(more.final(), [done.final()[0]] * 4)
    opened = mj.load_weights(tmp_path / "run", seed=2)
    again = opened.variables["params"]["components"]["kernel"]
    np.testing.assert_array_equal(again, done.weights["params"]["components"]["kernel"][2])


def test_more_epochs_and_streaming_change_nothing() -> None:
    data = dataset()
    one = mj.fit(SETTINGS, data)
    two = mj.fit(replace(SETTINGS, epochs=2, pipeline="streaming"), data)
    jax.tree.map(np.testing.assert_array_equal, one.variables, two.variables)
    assert two.history[1]["test_mse"] == two.history[0]["test_mse"]


def test_it_has_no_training_to_time() -> None:
    with pytest.raises(InputError, match="closed form"):
        bench(recipe("pca"))
