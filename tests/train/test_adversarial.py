"""Both players' gradients against two separate ones written by hand, and what each may move."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from msae_jax import config, train
from msae_jax.config import Adversarial, ModelConfig, Objective, OptimizerConfig, TrainConfig
from msae_jax.data import Dataset, Split
from msae_jax.errors import InputError
from msae_jax.models.discriminators import ImageDiscriminator, normalised
from msae_jax.train import seeds
from msae_jax.train.member import Member
from msae_jax.train.state import ADVERSARY, key_for

pytestmark = pytest.mark.usefixtures("all_quick_to_compile")

RATE = 0.5
X = np.random.default_rng(0).uniform(size=(12, 6)).astype(np.float32)
ROWS = Dataset("x", Split(X), Split(X[:4]))
IMAGES = np.random.default_rng(1).uniform(size=(12, 4, 4, 1)).astype(np.float32)
PICTURES = Dataset("x", Split(IMAGES), Split(IMAGES[:4]))
LATENTS = TrainConfig(
    ModelConfig("baseline", {"hidden": [5], "latent_dim": 3}),
    optimizer=OptimizerConfig("sgd", RATE),  # a step is the gradient times the rate
    batch_size=12,
    adversarial=Adversarial("latents", weight=2.0, penalty=3.0, width=4),
)
GAN = replace(
    LATENTS,
    model=ModelConfig("vae3", {"hidden": [5], "latent_dim": 3}),
    objective=Objective("bernoulli", "batchmean", beta=0.5),
    adversarial=replace(LATENTS.adversarial, on="images", width=2),  # type: ignore[type-var]
)
FEATURES = replace(
    GAN,
    adversarial=replace(GAN.adversarial, similarity="features"),  # type: ignore[type-var]
)
step = jax.jit(train.train_step, static_argnums=0)


def start(settings: TrainConfig, data: Dataset) -> tuple[train.Task, train.TrainState]:
    task = train.make_task(settings, data)
    return task, train.init_state(task, 0, data.sample_shape)


def data_of(settings: TrainConfig) -> Dataset:
    return ROWS if settings is LATENTS else PICTURES


def assert_close(a: Any, b: Any, tolerance: float = 2e-6) -> None:
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=tolerance)


def assert_moved(before: Any, after: Any) -> None:
    for x, y in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True):
        assert (np.asarray(x) != np.asarray(y)).any()


def entropy(logits: jax.Array, is_real: bool) -> jax.Array:
    """Returns the mean cross-entropy of a discriminator's logits, by its probability."""
    probability = 1 / (1 + jnp.exp(-logits))
    return -jnp.log(probability if is_real else 1 - probability).mean()


def squared_slope(judge: Any, x: jax.Array) -> jax.Array:
    """Returns |dD/dx|^2 of each sample, one sample after another."""
    return jax.lax.map(
        lambda sample: jnp.square(jax.grad(lambda one: judge(one[None])[0])(sample)).sum(), x
    )


def players(settings: TrainConfig, task: train.Task, state: train.TrainState, x: jax.Array) -> Any:
    """Returns each player's loss as a function of its own parameters, the other's being fixed."""
    assert task.opponent is not None
    assert state.adversary is not None
    model, judge, own = task.model, task.opponent.model, task.opponent.settings
    noise = jax.random.fold_in(state.noise_key, 0)
    prior = jax.random.normal(key_for(state, ADVERSARY), (len(x), 3))
    others = state.adversary.params

    def made(params: Any, z: jax.Array | None) -> list[jax.Array]:
        variables = {"params": params}
        if settings is LATENTS:
            return [model.apply(variables, x, method="encode")]
        sampled = model.apply(variables, x, key=noise).z if z is None else z
        return [
            model.apply(variables, each, method="decode").reshape(x.shape)
            for each in (sampled, prior)
        ]

    def of_judge(params: Any) -> jax.Array:
        def D(x: jax.Array) -> jax.Array:
            return judge.apply({"params": params}, x)[0]

        real = prior if settings is LATENTS else x
        fakes = made(state.params, None)
        against = sum(entropy(D(fake), False) for fake in fakes) / len(fakes)
        nats = 0.5 * (entropy(D(real), True) + against)
        return nats + 0.5 * own.penalty * squared_slope(D, real).mean()

    fixed = jax.jit(model.apply)({"params": state.params}, x, key=noise).z

    def of_model(params: Any) -> jax.Array:
        def D(x: jax.Array) -> Any:
            return judge.apply({"params": others}, x)

        fakes = made(params, None if settings is LATENTS else fixed)
        lost = sum(entropy(D(fake)[0], True) for fake in fakes) / len(fakes)
        if settings is LATENTS:  # nats times 2 / D under the mean of squares
            out = model.apply({"params": params}, x)
            return jnp.square(out.recon - x).mean() + 2.0 * lost * (2 / 6)
        out = model.apply({"params": params}, x, key=noise)
        kl = 0.5 * (out.mu**2 + jnp.exp(out.log_var) - 1 - out.log_var).sum(axis=1).mean()
        error = -(x * jnp.log(out.recon) + (1 - x) * jnp.log(1 - out.recon)).sum() / len(x)
        if settings is FEATURES:
            error = 0.5 * jnp.square(D(out.recon)[1] - D(x)[1]).sum() / len(x)
        return error + 0.5 * kl + 2.0 * lost

    return of_model, of_judge


@pytest.mark.parametrize(
    "settings",
    [LATENTS, pytest.param(GAN, marks=pytest.mark.slow), FEATURES],
    ids=["latents", "images", "features"],
)
def test_each_player_follows_its_own_gradient(settings: TrainConfig) -> None:
    """A step of SGD for the model; the first moment of the discriminator's Adam, (1 - 0.5) g."""
    x = jnp.asarray(data_of(settings).train.x)
    task, state = start(settings, data_of(settings))
    after, metrics = step(task, state, x)
    of_model, of_judge = players(settings, task, state, x)
    loss, gradient = jax.jit(jax.value_and_grad(of_model))(state.params)
    np.testing.assert_allclose(metrics.loss, loss, rtol=1e-5)
    expected = jax.tree.map(lambda p, g: p - RATE * g, state.params, gradient)
    assert_close(after.params, expected)
    assert_moved(state.params, after.params)
    gradient = jax.jit(jax.grad(of_judge))(state.adversary.params)  # type: ignore[union-attr]
    moment = after.adversary.opt_state[0].mu  # type: ignore[union-attr]
    assert_close(moment, jax.tree.map(lambda g: 0.5 * g, gradient))


@pytest.mark.parametrize("settings", [pytest.param(GAN, marks=pytest.mark.slow), FEATURES])
def test_the_encoder_does_not_play_for_images(settings: TrainConfig) -> None:
    """Under a weight that drowns all else, the decoder's step changes and the encoder's not."""
    x = jnp.asarray(IMAGES)
    found = []
    for weight in (2.0, 100.0):
        opponent = replace(settings.adversarial, weight=weight)  # type: ignore[type-var]
        task, state = start(replace(settings, adversarial=opponent), PICTURES)
        found.append(step(task, state, x)[0].params)
    for part in ("encoder", "mu", "log_var"):
        assert_close(found[0][part], found[1][part], 1e-6)
    assert_moved(found[0]["decoder"], found[1]["decoder"])


@pytest.mark.parametrize(
    ("settings", "reduction"),
    [
        (LATENTS, "sum"),
        pytest.param(FEATURES, "batchmean", marks=pytest.mark.slow),
        pytest.param(LATENTS, "batchmean", marks=pytest.mark.slow),
        pytest.param(FEATURES, "sum", marks=pytest.mark.slow),
    ],
)
def test_parts_of_a_batch_add_up_to_it(settings: TrainConfig, reduction: Any) -> None:
    """Both players and what they lose, in parts of 5, 5 and 2."""
    data = data_of(settings)
    x = jnp.asarray(data.train.x)
    plain = replace(settings, objective=replace(settings.objective, reduction=reduction))
    found = []
    for parts in (1, 3):
        task, state = start(replace(plain, accumulate=parts), data)
        after, metrics = step(task, state, x)
        moments = after.adversary.opt_state[0].mu  # type: ignore[union-attr]
        found.append((after.params, moments, metrics))
    assert_close(found[0], found[1])


@pytest.mark.slow
def test_seeds_in_a_batch_and_devices_that_share_a_batch_play_too() -> None:
    """Losses of both players over an epoch, its short batch included, as in test_accumulation."""
    settings = replace(FEATURES, batch_size=8)
    members = [Member(0), Member(1)]
    task = seeds.make_task(settings, PICTURES, members)
    found = []
    for mesh, per_batch in (
        (seeds.make_mesh(devices=jax.devices()[:1]), 1),
        (seeds.make_mesh(2, jax.devices()[:2]), 2),
    ):
        states = seeds.init_states(task, settings, members, PICTURES.sample_shape, mesh)
        mask, x = seeds.put(np.ones(2, bool), mesh, "seed"), seeds.put(IMAGES, mesh)
        spread = seeds.Spread(mesh, per_batch)
        _, metrics, _ = seeds.train_epoch(task, states, mask, x, batch_size=8, spread=spread)
        found.append(np.stack([metrics.loss, *metrics.duel]))  # type: ignore[misc]
    np.testing.assert_allclose(found[1], found[0], rtol=1e-5)
    assert found[0].shape == (3, 2, 2)
    assert (found[0][:, 0] != found[0][:, 1]).all()


def test_an_inactive_member_keeps_its_discriminator() -> None:
    members = [Member(0), Member(1)]
    task = seeds.make_task(LATENTS, ROWS, members)
    mesh = seeds.make_mesh(devices=jax.devices()[:1])
    states = seeds.init_states(task, LATENTS, members, ROWS.sample_shape, mesh)
    before = jax.tree.map(np.asarray, states.adversary)
    mask, x = seeds.put(np.array([True, False]), mesh, "seed"), seeds.put(X, mesh)
    after, metrics, _ = seeds.train_epoch(
        task, states, mask, x, batch_size=12, spread=seeds.Spread(mesh)
    )
    for old, new in zip(jax.tree.leaves(before), jax.tree.leaves(after.adversary), strict=True):
        np.testing.assert_array_equal(old[1], new[1])
        assert (old[0] != np.asarray(new)[0]).any()
    assert np.isnan(metrics.duel.discriminator_nats[1]).all()  # type: ignore[union-attr]


def test_the_discriminator_is_its_seeds_and_no_part_of_the_model() -> None:
    task, state = start(LATENTS, ROWS)
    plain, bare = start(replace(LATENTS, adversarial=None), ROWS)
    assert_close(state.params, bare.params, 0.0)
    assert state.variables.keys() == bare.variables.keys()
    assert bare.adversary is None
    assert plain.opponent is None
    other = train.init_state(task, 1, (6,))
    assert_moved(
        state.adversary.params["linear_0"],  # type: ignore[union-attr]
        other.adversary.params["linear_0"],  # type: ignore[union-attr]
    )


def test_layer_norm_is_of_each_sample() -> None:
    h = np.random.default_rng(3).normal(2.0, 3.0, (4, 5, 5, 2))
    got = normalised(jnp.asarray(h, jnp.float32))
    mean, std = h.mean(axis=(1, 2, 3), keepdims=True), h.std(axis=(1, 2, 3), keepdims=True)
    np.testing.assert_allclose(got, (h - mean) / std, atol=1e-5)
    judge = ImageDiscriminator(2)
    x = jnp.asarray(IMAGES)
    variables = jax.jit(judge.init)(jax.random.key(0), x)
    logits, features = jax.jit(judge.apply)(variables, x)
    alone = jax.jit(judge.apply)(variables, x[3:4])
    np.testing.assert_allclose(alone[0], logits[3:4], atol=1e-6)
    np.testing.assert_allclose(jnp.square(features).mean(axis=1), 1.0, atol=1e-3)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Adversarial("latent"), "'latents'"),  # type: ignore[arg-type]
        (lambda: Adversarial("latents", similarity="features"), "is of a discriminator of images"),
        (lambda: Adversarial("latents", weight=0.0), "adversarial.weight must be greater than 0"),
        (lambda: Adversarial("images", penalty=-1.0), "adversarial.penalty must be at least 0"),
        (lambda: Adversarial("images", width=0), "adversarial.width must be a whole number"),
        (lambda: replace(LATENTS, freeze="encoder"), "trains the encoder, which freeze names"),
        (lambda: replace(GAN, freeze="bias, decoder"), "trains the decoder, which freeze names"),
        (lambda: replace(LATENTS, adversarial="latents"), "must be a config.Adversarial or None"),
        (lambda: config.override(TrainConfig(), {"adversarial.weight": 2.0}), "needs 'on'"),
        (lambda: train.make_task(replace(GAN, batch_size=4), ROWS), r"of shape \[6\]: 'latents'"),
        (
            lambda: train.make_task(replace(LATENTS, model=ModelConfig("pca")), ROWS),
            "pca is fitted in closed form",
        ),
    ],
)
def test_what_cannot_be_is_said(make: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        make()


def test_a_model_that_is_given_classes_has_no_images_to_judge() -> None:
    model = ModelConfig("conv-vae", {"image_shape": [4, 4, 1], "classes": 2, "channels": [2, 2, 2]})
    x = np.zeros((4, 18), np.float32)
    with pytest.raises(InputError, match="needs images"):
        train.make_task(replace(GAN, model=model), Dataset("x", Split(x), Split(x)))
