from __future__ import annotations

import pickle
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from msae_jax.config import ModelConfig, OptimizerConfig, TrainConfig
from msae_jax.data import Dataset, Split
from msae_jax.errors import InputError
from msae_jax.estimator import AutoencoderEstimator
from msae_jax.fitting import loop
from msae_jax.train import evaluation


def small(**changes: Any) -> AutoencoderEstimator:
    settings = {"latent_dim": 2, "options": {"hidden": [8]}, "epochs": 2, "batch_size": 15}
    return AutoencoderEstimator(**settings | changes)


EXPECTED_FAILURES: dict[str, str] = {}  # of scikit-learn's checks, each with its reason: none


@pytest.mark.usefixtures("quick_to_compile")
@parametrize_with_checks(
    [small(batch_size=1)],  # divides any number of rows: one step to compile
    expected_failed_checks=lambda estimator: EXPECTED_FAILURES,
)
def test_scikit_learns_own_checks(estimator: AutoencoderEstimator, check: Any) -> None:
    check(estimator)


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    """Rows [150, 6] of rank 3, in float64 as users have them."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(150, 3)) @ rng.normal(size=(3, 6))


@pytest.fixture(scope="module")
def fitted(x: np.ndarray) -> AutoencoderEstimator:
    return small(random_state=7).fit(x)


def test_it_trains_what_fit_trains(fitted: AutoencoderEstimator, x: np.ndarray) -> None:
    """The same weights, bit for bit, as `run.fit` of the same settings on all of X."""
    rows = x.astype(np.float32)
    settings = TrainConfig(
        ModelConfig("baseline-mlp", {"hidden": [8], "latent_dim": 2}),
        optimizer=OptimizerConfig("adam", 1e-3),
        epochs=2,
        batch_size=15,
        seed=7,
    )
    expected = loop.fit_one(settings, Dataset("x", Split(rows), Split(rows)))
    for layer in ("linear_0", "linear_1"):
        for part in ("encoder", "decoder"):
            assert np.array_equal(
                fitted.variables_["params"][part][layer]["kernel"],
                expected.variables["params"][part][layer]["kernel"],
            )
    assert [line["train_mse"] for line in fitted.history_] == [
        line["train_mse"] for line in expected.history
    ]
    assert not any(name.startswith("test") for name in fitted.history_[0])


def test_latents_reconstructions_and_scores(fitted: AutoencoderEstimator, x: np.ndarray) -> None:
    """Against the model applied directly, and NumPy."""
    rows = jnp.asarray(x, jnp.float32)
    out = fitted.model_.apply(fitted.variables_, rows)
    z = fitted.transform(x)
    assert z.dtype == np.float32
    np.testing.assert_allclose(z, out.z, atol=1e-6)
    recon = fitted.inverse_transform(z)
    np.testing.assert_allclose(recon, out.recon, atol=1e-6)
    np.testing.assert_allclose(
        fitted.score_samples(x), -np.square(recon - x).mean(axis=1), rtol=1e-5
    )
    assert fitted.score(x) == pytest.approx(-np.square(recon - x).mean(), rel=1e-5)


def test_a_latent_does_not_depend_on_its_neighbours(x: np.ndarray) -> None:
    """Bit for bit, alone or among 299, over several blocks of rows; wide layers, in which the
    order of a sum would show."""
    wide = np.tile(x, (2, 30))
    fitted = small(latent_dim=16, options={"hidden": [100]}, epochs=1, batch_size=100).fit(wide)
    z, scores = fitted.transform(wide), fitted.score_samples(wide)
    for i in (0, 77, 150, 299):
        assert np.array_equal(fitted.transform(wide[i : i + 1])[0], z[i])
        assert fitted.score_samples(wide[i : i + 1])[0] == scores[i]


def test_clone_and_pickle(fitted: AutoencoderEstimator, x: np.ndarray) -> None:
    """A pickle transforms alike; a clone is unfitted, and fitted again gives the same bits."""
    z = fitted.transform(x)
    assert np.array_equal(pickle.loads(pickle.dumps(fitted)).transform(x), z)
    fresh = clone(fitted)
    assert fresh.get_params() == fitted.get_params()
    assert not hasattr(fresh, "variables_")
    assert np.array_equal(fresh.fit(x).transform(x), z)
    assert not np.array_equal(fresh.set_params(random_state=8).fit(x).transform(x), z)


def test_random_states_draw_a_seed(x: np.ndarray) -> None:
    seed = int(np.random.RandomState(3).randint(2**31 - 1))
    drawn = small(random_state=np.random.RandomState(3)).fit(x)
    assert drawn.config_.seed == seed
    assert small(random_state=np.int64(5)).fit(x).config_.seed == 5


def test_in_a_pipeline_under_a_search(x: np.ndarray) -> None:
    """Rows of rank 3 need three latents: the search says so, of one and three. The grid is NumPy's,
    as grids are."""
    linear = small(options={"hidden": [64]}, epochs=30, learning_rate=2e-2)
    search = GridSearchCV(linear, {"latent_dim": np.array([1, 3])}, cv=2, error_score="raise")
    search.fit(x)
    assert search.best_params_ == {"latent_dim": 3}
    one, three = search.cv_results_["mean_test_score"]
    assert three > one / 4
    assert search.transform(x).shape == (150, 3)
    y = x[:, 0] > 0
    pipeline = make_pipeline(StandardScaler(), search.best_estimator_, LogisticRegression())
    assert cross_val_score(pipeline, x, y, cv=2, error_score="raise").mean() > 0.85


def test_names_of_the_latents(fitted: AutoencoderEstimator, x: np.ndarray) -> None:
    names = ["autoencoderestimator0", "autoencoderestimator1"]
    assert fitted.get_feature_names_out().tolist() == names


def test_latents_as_a_data_frame(fitted: AutoencoderEstimator, x: np.ndarray) -> None:
    pytest.importorskip("pandas", reason="pandas is not installed")
    frame = clone(fitted).set_output(transform="pandas").fit(x).transform(x)
    assert frame.columns.tolist() == ["autoencoderestimator0", "autoencoderestimator1"]
    assert np.array_equal(frame.to_numpy(), fitted.transform(x))


def test_rows_as_samples_of_another_shape(x: np.ndarray) -> None:
    """A dense model flattens again what was reshaped; a shape that does not fit is refused."""
    shaped = small(sample_shape=(3, 2)).fit(x)
    z = shaped.transform(x)
    assert np.array_equal(z, small().fit(x).transform(x))
    assert shaped.inverse_transform(z).shape == (150, 6)
    assert shaped.score_samples(x).shape == (150,)
    with pytest.raises(InputError, match=r"has 8 values, X has 6 features"):
        small(sample_shape=(4, 2)).fit(x)


def test_variational_latents_are_means(x: np.ndarray) -> None:
    unit = (x - x.min()) / np.ptp(x)
    vae = small(model="vae3", likelihood="bernoulli", reduction="sum").fit(unit)
    rows = unit.astype(np.float32)
    np.testing.assert_allclose(
        vae.transform(unit), evaluation.embed(vae.model_, vae.variables_, rows), atol=1e-6
    )
    assert vae.history_[0]["train_kl_nats"] > 0
    with pytest.raises(InputError, match=r"bernoulli likelihood needs data in \[0, 1\]"):
        vae.fit(x)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"model": "baselin-mlp"}, "Did you mean 'baseline-mlp'"),
        ({"options": {"hiden": [4]}}, "Did you mean 'hidden'"),
        ({"epochs": 0}, "epochs must be a whole number, at least 1"),
        ({"learning_rate": -1.0}, "greater than 0"),
    ],
)
def test_what_cannot_be_fitted(changed: dict, message: str, x: np.ndarray) -> None:
    with pytest.raises(InputError, match=message):
        small(**changed).fit(x)


def test_latents_of_the_wrong_width(fitted: AutoencoderEstimator) -> None:
    with pytest.raises(InputError, match=r"\[N, 2\], got \[4, 3\]"):
        fitted.inverse_transform(np.ones((4, 3)))


def test_uint8_is_refused_where_the_rest_would_scale_it(
    fitted: AutoencoderEstimator, x: np.ndarray
) -> None:
    pixels = (np.abs(x) * 50).astype(np.uint8)
    for call in (fitted.transform, fitted.score, AutoencoderEstimator(epochs=1).fit):
        with pytest.raises(InputError, match=r"X is uint8.* give X / np.float32"):
            call(pixels)
    unit = pixels / np.float32(255)
    latents = evaluation.embed(fitted.model_, fitted.variables_, pixels)
    np.testing.assert_allclose(fitted.transform(unit), latents, rtol=1e-5, atol=1e-6)
