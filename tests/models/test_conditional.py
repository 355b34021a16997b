from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from msae_jax import models, train
from msae_jax.analysis import decode
from msae_jax.config import ModelConfig, Objective, OptimizerConfig, TrainConfig
from msae_jax.data import Dataset, Split
from msae_jax.errors import InputError
from msae_jax.models.conditional import ConditionalVae, with_classes
from msae_jax.train import losses
from msae_jax.train.evaluation import evaluate, reconstruct

NAME = "msae_jax.models.conditional:ConditionalVae"
SMALL = ModelConfig(NAME, {"classes": 3, "hidden": [8], "latent_dim": 2})
RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (7, 4, 4, 1), dtype=np.uint8)
Y = np.array([0, 1, 2, 0, 1, 2, 1])
PAIRS = with_classes(X, Y, 3)


def made() -> tuple[ConditionalVae, dict]:
    model = models.build(SMALL, (19,))
    assert isinstance(model, ConditionalVae)
    return model, dict(models.init_variables(model, jax.random.key(0), (19,)))


def test_classes_stand_behind_their_samples() -> None:
    assert PAIRS.dtype == np.uint8
    np.testing.assert_array_equal(PAIRS[:, :16], X.reshape(7, 16))
    np.testing.assert_array_equal(PAIRS[1, 16:], [0, 255, 0])
    z = with_classes(np.ones((2, 4), np.float32), np.array([2, 0]), 3)
    np.testing.assert_array_equal(z, [[1, 1, 1, 1, 0, 0, 1], [1, 1, 1, 1, 1, 0, 0]])
    assert z.dtype == np.float32
    with pytest.raises(InputError, match="0 to 2, got 0 to 3"):
        with_classes(X[:2], np.array([0, 3]), 3)
    with pytest.raises(InputError, match=r"\[7\] integers"):
        with_classes(X, Y.astype(float), 3)


def test_it_reconstructs_the_image_given_the_class() -> None:
    """Against NumPy in float64: z = posterior mean, the class beside it in encoder and decoder."""
    model, variables = made()
    x = PAIRS / 255.0
    p = jax.tree.map(lambda a: np.asarray(a, np.float64), variables["params"])

    def linear(layer: dict, a: np.ndarray) -> np.ndarray:
        return a @ layer["kernel"] + layer["bias"]

    h = np.maximum(linear(p["encoder"]["linear_0"], x), 0)
    z = linear(p["mu"], h)
    h = np.maximum(linear(p["decoder"]["linear_0"], np.hstack([z, x[:, 16:]])), 0)
    expected = 1 / (1 + np.exp(-linear(p["decoder"]["linear_1"], h)))
    out = model.apply(variables, jnp.asarray(x, jnp.float32))
    np.testing.assert_allclose(out.recon, expected, atol=1e-6)
    np.testing.assert_allclose(out.target, x[:, :16], atol=1e-7)
    np.testing.assert_allclose(reconstruct(model, variables, PAIRS), expected, atol=1e-6)
    again = decode(model, variables, with_classes(np.asarray(out.z), Y, 3))
    np.testing.assert_allclose(again, expected, atol=1e-6)
    other = decode(model, variables, with_classes(np.asarray(out.z), (Y + 1) % 3, 3))
    assert np.abs(other - expected).max() > 0.01


def test_the_loss_leaves_the_class_out() -> None:
    model, variables = made()
    out = model.apply(variables, jnp.asarray(PAIRS / 255.0, jnp.float32))
    recon, image = np.asarray(out.recon, np.float64), X.reshape(7, 16) / 255.0
    terms = losses.terms(Objective("bernoulli", "sum"), out, jnp.asarray(PAIRS / 255, jnp.float32))
    nats = -(image * np.log(recon) + (1 - image) * np.log(1 - recon)).sum(1)
    np.testing.assert_allclose(terms.recon_nats, nats, rtol=1e-5)
    np.testing.assert_allclose(terms.mse, np.square(recon - image).mean(1), rtol=1e-5)
    found = evaluate(model, variables, PAIRS, Objective("gaussian"))
    np.testing.assert_allclose(found["mse"], np.square(recon - image).mean(), rtol=1e-5)


def test_it_trains_and_refuses_a_mean_over_values_it_does_not_reconstruct() -> None:
    dataset = Dataset("pairs", Split(PAIRS), Split(PAIRS))
    settings = TrainConfig(
        SMALL,
        objective=Objective("bernoulli", "batchmean"),
        optimizer=OptimizerConfig(learning_rate=0.01),
        batch_size=4,
    )
    task = train.make_task(settings, dataset)
    state = train.init_state(task, 0, (19,))
    losses_ = []
    for _ in range(30):
        state, metrics = train.train_epoch(task, state, jnp.asarray(PAIRS), batch_size=4)
        losses_.append(float(metrics.loss.mean()))
    assert losses_[-1] < losses_[0] - 0.5
    task = task._replace(objective=Objective("bernoulli", "mean"))
    with pytest.raises(InputError, match=r"the 19 values of a sample, .* only 16"):
        train.train_step(task, state, jnp.asarray(PAIRS))


def test_wrong_sizes_say_what_was_expected() -> None:
    model, variables = made()
    with pytest.raises(InputError, match=r"expects \[B, 19\]"):
        model.apply(variables, jnp.zeros((3, 5)))
    with pytest.raises(InputError, match=r"expects \[B, 5\], 2 latents"):
        decode(model, variables, np.zeros((3, 2), np.float32))
    with pytest.raises(InputError, match="leave no image"):
        models.init_variables(models.build(ModelConfig(NAME), (10,)), jax.random.key(0), (10,))
