from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from msae_jax import train
from msae_jax.config import ModelConfig, Objective, OptimizerConfig, TrainConfig
from msae_jax.data import Dataset
from msae_jax.errors import InputError

SIGNALS = TrainConfig(model=ModelConfig("baseline"), batch_size=32, epochs=2)
# SGD, because Adam turns the rounding noise of a zero gradient (a bias before batch norm) to steps.
IMAGES = TrainConfig(
    model=ModelConfig("conv", {"channels": [2, 2, 4]}),
    optimizer=OptimizerConfig("sgd", 0.1),
    batch_size=32,
    epochs=2,
)
CASES = [(SIGNALS, "signals"), pytest.param(IMAGES, "images", marks=pytest.mark.slow)]
step = jax.jit(train.train_step, static_argnums=0)


def start(settings: TrainConfig, dataset: Dataset) -> tuple[train.Task, train.TrainState]:
    task = train.make_task(settings, dataset)
    return task, train.init_state(task, settings.seed, dataset.sample_shape)


def leaves(state: train.TrainState) -> list[np.ndarray]:
    return [np.asarray(a) for a in jax.tree.leaves((state.params, state.batch_stats))]


def test_a_step_is_gradient_descent(signals: Dataset) -> None:
    """One SGD step on a linear autoencoder's decoder bias, whose gradient is known in closed form.

    MSE = mean((r - x)^2) over B x D values, so d MSE / d b_d = 2 / (B D) sum_B (r - x)_d.
    """
    settings = replace(SIGNALS, optimizer=OptimizerConfig("sgd", 0.5))
    task, state = start(settings, signals)
    x = signals.train.x[:32]
    recon = np.asarray(task.model.apply(state.variables, x).recon, np.float64)
    bias = np.asarray(state.params["decoder"]["linear_1"]["bias"], np.float64)
    after, metrics = step(task, state, jnp.asarray(x))
    gradient = 2 * (recon - x).sum(0) / x.size
    got = after.params["decoder"]["linear_1"]["bias"]
    np.testing.assert_allclose(got, bias - 0.5 * gradient, atol=1e-6)
    np.testing.assert_allclose(metrics.loss, np.square(recon - x).mean(), rtol=1e-5)
    assert int(after.step) == 1


def test_uint8_images_are_scaled(images: Dataset) -> None:
    x = jnp.asarray(images.train.x[:4])
    np.testing.assert_allclose(train.to_unit(x), images.train.x[:4] / 255.0, atol=1e-7)


@pytest.mark.parametrize(("settings", "name"), CASES)
def test_an_epoch_is_its_steps(settings: TrainConfig, name: str, request) -> None:
    """The compiled epoch against single steps over the same batches, the short last one included.

    XLA may order the arithmetic of the two programs differently: 1e-5 relative, not bit for bit.
    """
    dataset = request.getfixturevalue(name)
    task, state = start(settings, dataset)
    n = len(dataset.train.x)
    order = np.random.default_rng(0).permutation(n)
    x = jnp.asarray(dataset.train.x)
    by_hand, losses = state, []
    for i in range(0, n, settings.batch_size):
        by_hand, metrics = step(task, by_hand, x[order[i : i + settings.batch_size]])
        losses.append(float(metrics.loss))
    assert n % settings.batch_size != 0
    after, metrics = train.train_epoch(task, state, x, order, batch_size=settings.batch_size)
    np.testing.assert_allclose(metrics.loss, losses, rtol=1e-5)
    for a, b in zip(leaves(after), leaves(by_hand), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.parametrize(("settings", "name"), CASES)
def test_streaming_gives_the_losses_of_resident(settings: TrainConfig, name: str, request) -> None:
    """Same key, so same order and same batches; 1e-5 relative, as two programs compute it."""
    dataset = request.getfixturevalue(name)
    task, state = start(settings, dataset)
    copy = jax.tree.map(jnp.copy, state)
    size = settings.batch_size
    for _ in range(2):
        state, resident = train.train_epoch(
            task, state, jnp.asarray(dataset.train.x), batch_size=size
        )
        copy, streamed = train.train_epoch_streaming(task, copy, dataset.train.x, batch_size=size)
        np.testing.assert_allclose(resident.loss, streamed.loss, rtol=1e-5)


def test_every_sample_is_used_once_an_epoch(signals: Dataset) -> None:
    _, state = start(SIGNALS, signals)
    first = train.epoch_order(state, 150, 32)
    second = train.epoch_order(state.replace(step=jnp.int32(5)), 150, 32)
    np.testing.assert_array_equal(np.sort(first), np.arange(150))
    assert (first != second).any()
    np.testing.assert_array_equal(first, train.epoch_order(state, 150, 32))


def test_same_seed_same_bits_other_seed_other_weights(signals: Dataset) -> None:
    found = {}
    for run, seed in {"a": 3, "b": 3, "c": 4}.items():
        task, state = start(replace(SIGNALS, seed=seed), signals)
        x = jnp.asarray(signals.train.x)
        found[run] = leaves(train.train_epoch(task, state, x, batch_size=32)[0])
    for a, b, c in zip(found["a"], found["b"], found["c"], strict=True):
        np.testing.assert_array_equal(a, b)
        assert (a != c).any()


def test_latent_noise_follows_the_step(images: Dataset) -> None:
    """A variational model's loss at a step depends on the step's number through its noise alone."""
    settings = TrainConfig(model=ModelConfig("vae3"), objective=Objective("bernoulli", "sum"))
    task, state = start(settings, images)
    x = jnp.asarray(images.train.x[:8])
    losses = [step(task, state.replace(step=jnp.int32(i)), x)[1].loss for i in (0, 1, 0)]
    assert losses[0] == losses[2]
    assert losses[0] != losses[1]


def test_summary_weighs_the_short_batch() -> None:
    """Batches of 2 and 1: `loss` is the mean over batches, the terms are means over samples."""
    terms = train.losses.Terms(np.array([1.0, 4.0]), np.array([0.5, 0.5]), np.array([0.1, 0.4]))
    metrics = train.Metrics(np.array([3.0, 9.0]), terms)
    got = train.summary(Objective("bernoulli", "batchmean"), metrics, 3, 2)
    assert got == pytest.approx(
        {"loss": 6.0, "nats": 2.5, "recon_nats": 2.0, "kl_nats": 0.5, "mse": 0.2}
    )
    assert train.summary(Objective("bernoulli", "sum"), metrics, 3, 2)["loss"] == pytest.approx(4.0)


def test_batch_norm_statistics_move(signals: Dataset) -> None:
    settings = replace(IMAGES, model=ModelConfig("tests.train.small:Normed"))
    task, state = start(settings, signals)
    after, _ = train.train_epoch(task, state, jnp.asarray(signals.train.x), batch_size=75)
    counts = [int(s["count"]) for s in after.batch_stats.values()]
    assert counts == [2] * 2


def test_an_epoch_compiles_once(signals: Dataset) -> None:
    """Equal tasks share one program, whatever the seed, the epoch and the number of epochs."""
    x = jnp.asarray(signals.train.x)
    own = replace(SIGNALS, optimizer=OptimizerConfig(learning_rate=0.0123))  # of no other test
    before = train.train_epoch._cache_size()
    for seed in (0, 1):
        task, state = start(replace(own, epochs=3 + seed, seed=seed), signals)
        for _ in range(2):
            state, _ = train.train_epoch(task, state, x, batch_size=32)
    assert train.train_epoch._cache_size() == before + 1


def test_denoising_sees_noise_and_is_scored_against_clean_data(signals: Dataset) -> None:
    """One SGD step of the decoder's bias in closed form: (r - x) with r from x + noise, x clean."""
    settings = replace(
        SIGNALS, optimizer=OptimizerConfig("sgd", 0.5), objective=Objective(noise_std=0.5)
    )
    task, state = start(settings, signals)
    x = np.asarray(signals.train.x[:32])
    seen = np.asarray(train.corrupted(settings.objective, state, jnp.asarray(x)))
    assert (seen - x).std() == pytest.approx(0.5, rel=0.05)  # 4096 values: 1.1% standard error
    recon = np.asarray(task.model.apply(state.variables, seen).recon, np.float64)
    after, metrics = step(task, state, jnp.asarray(x))
    clean, noisy = np.square(recon - x).mean(), np.square(recon - seen).mean()
    np.testing.assert_allclose(metrics.loss, clean, rtol=1e-5)
    np.testing.assert_allclose(metrics.terms.mse, clean, rtol=1e-5)
    assert abs(noisy - clean) > 0.1
    bias = np.asarray(state.params["decoder"]["linear_1"]["bias"], np.float64)
    gradient = 2 * (recon - x).sum(0) / x.size
    got = after.params["decoder"]["linear_1"]["bias"]
    np.testing.assert_allclose(got, bias - 0.5 * gradient, atol=1e-6)


def test_the_corruption_follows_the_step_and_is_not_the_latent_noise(signals: Dataset) -> None:
    objective = Objective(noise_std=1.0)
    _, state = start(SIGNALS, signals)
    nothing = jnp.zeros((4, 20))
    first = train.corrupted(objective, state, nothing)
    np.testing.assert_array_equal(first, train.corrupted(objective, state, nothing))
    second = train.corrupted(objective, state.replace(step=jnp.int32(1)), nothing)
    latent = jax.random.normal(jax.random.fold_in(state.noise_key, 0), (4, 20))
    for other in (second, latent):
        assert abs(np.corrcoef(first.ravel(), other.ravel())[0, 1]) < 0.4  # 80 values: 3.6 sigma
    assert train.corrupted(Objective(), state, nothing) is nothing


AUGMENTED = Objective(augment="jitter:0.5, drift:0.2")


def changed_by_hand(state: train.TrainState, x: np.ndarray) -> jax.Array:
    """Returns a batch of one channel as the two transforms change it at the state's step."""
    key = jax.random.fold_in(jax.random.fold_in(state.noise_key, 2**32 - 4), state.step)
    jitter = jax.random.normal(jax.random.fold_in(key, 0), (*x.shape, 1))[..., 0]
    steps = jax.random.normal(jax.random.fold_in(key, 1), (*x.shape, 1))[..., 0]
    return x + 0.5 * jitter + 0.2 * np.cumsum(steps, axis=1) / np.sqrt(x.shape[1])


def test_an_augmented_step_is_the_step_of_the_changed_batch(signals: Dataset) -> None:
    task, state = start(replace(SIGNALS, objective=AUGMENTED), signals)
    state = state.replace(step=jnp.int32(3))
    x = np.asarray(signals.train.x[:32])
    after, metrics = step(task, state, jnp.asarray(x))
    plain = task._replace(objective=Objective())
    expected, losses = step(plain, state, changed_by_hand(state, x))
    np.testing.assert_allclose(metrics.loss, losses.loss, rtol=1e-5)
    for got, wanted in zip(leaves(after), leaves(expected), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)


def test_no_augmentation_leaves_the_batch_and_missing_values_stay_away(signals: Dataset) -> None:
    _, state = start(SIGNALS, signals)
    x = jnp.ones((4, 20))
    assert train.augmented(Objective(), state, x, None) is x
    mask = jnp.arange(20) < 15
    changed = train.augmented(AUGMENTED, state, x, jnp.broadcast_to(mask, x.shape))
    assert not changed[:, 15:].any()
    np.testing.assert_allclose(changed[:, :15], changed_by_hand(state, x)[:, :15], rtol=1e-5)


def test_augmented_epochs_are_the_same_streamed(signals: Dataset) -> None:
    settings = replace(SIGNALS, objective=AUGMENTED)
    task, state = start(settings, signals)
    x = signals.train.x[:100]
    resident, metrics = train.train_epoch(task, state, jnp.asarray(x), batch_size=32)
    task, state = start(settings, signals)
    streamed, others = train.train_epoch_streaming(task, state, x, batch_size=32)
    np.testing.assert_allclose(metrics.loss, others.loss, rtol=1e-5)
    for got, wanted in zip(leaves(streamed), leaves(resident), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("augment", "message"),
    [
        ("jiter:0.1", "Did you mean 'jitter'"),
        ("jitter", "takes NAME:STRENGTH,..., got 'jitter'"),
        ("jitter:-1", "must be 0 or more, got -1"),
        ("mine:jitter:1", "unknown transform 'mine'"),
    ],
)
def test_augmentations_that_cannot_be(augment: str, message: str, signals: Dataset) -> None:
    with pytest.raises(InputError, match=message):
        train.make_task(replace(SIGNALS, objective=Objective(augment=augment)), signals)


def test_images_are_not_augmented_as_series(images: Dataset) -> None:
    with pytest.raises(InputError, match=r"is for series \[T\] and \[T, C\], got samples of"):
        train.make_task(replace(IMAGES, objective=Objective(augment="jitter:1")), images)
