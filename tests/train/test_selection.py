"""What is frozen, what decays, and what the moving average is."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from msae_jax import models, train
from msae_jax.config import ModelConfig, OptimizerConfig, TrainConfig
from msae_jax.data import Dataset, Split
from msae_jax.errors import InputError
from msae_jax.models.conditional import ConditionalVae
from msae_jax.train import selection
from msae_jax.train.selection import selected

pytestmark = pytest.mark.usefixtures("all_quick_to_compile")

X = np.random.default_rng(0).normal(size=(20, 6)).astype(np.float32)
DATA = Dataset("x", Split(X), Split(X[:4]))
NORMED = TrainConfig(
    ModelConfig("tests.train.small:Normed"),
    optimizer=OptimizerConfig("adamw", 0.1, weight_decay=0.1, ema=0.9),
    batch_size=8,
    freeze="encoder",
)
BASELINE = TrainConfig(ModelConfig("baseline", {"hidden": [8], "latent_dim": 4}), batch_size=32)


def by_name(collection: str, tree: Any) -> dict[str, np.ndarray]:
    named = {collection: tree}
    return dict(zip(selection.names(named), map(np.asarray, jax.tree.leaves(named)), strict=True))


def tops(names: frozenset[str]) -> set[str]:
    return {name.split("/")[1] for name in names}


@pytest.mark.parametrize(
    ("name", "shape", "encoder"),
    [
        ("baseline", (128,), {"encoder"}),
        ("msae", (128,), {"enc_short", "enc_long"}),
        ("vae3", (784,), {"encoder", "mu", "log_var"}),
        ("conv", (28, 28, 1), {"conv_0", "conv_1", "conv_2", "norm_0", "norm_1", "norm_2",
                               "to_latent"}),
        ("lgta", (16,), {"encoder", "attention", "mu", "log_var"}),
    ],
)  # fmt: skip
def test_every_variable_is_of_the_encoder_or_the_decoder(
    name: str, shape: tuple[int, ...], encoder: set[str]
) -> None:
    model = models.build(ModelConfig(name), shape)
    found = {part: selected(part, model, shape) for part in selection.PARTS}
    assert tops(found["encoder"]) == encoder
    every = jax.eval_shape(lambda key: models.init_variables(model, key, shape), jax.random.key(0))
    assert found["encoder"] | found["decoder"] == {*selection.names(every)}
    assert not found["encoder"] & found["decoder"]


def test_a_decoder_that_reads_classes_and_levels_with_both_parts() -> None:
    conditional = ConditionalVae(features=26, hidden=(4,), latent_dim=2)
    assert tops(selected("decoder", conditional, (26,))) == {"decoder"}
    pyramid = models.build(ModelConfig("pyramid"), (128,))
    found = selected("encoder", pyramid, (128,))
    assert found
    assert not [name for name in found if "/up/" in name or "/deconv_" in name]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("linear_1", ["decoder/linear_1/bias", "decoder/linear_1/kernel",
                      "encoder/linear_1/bias", "encoder/linear_1/kernel"]),
        ("encoder/*/bias", ["encoder/linear_0/bias", "encoder/linear_1/bias"]),
        ("decoder/linear_0, encoder/linear_0/bias",
         ["decoder/linear_0/bias", "decoder/linear_0/kernel", "encoder/linear_0/bias"]),
    ],
)  # fmt: skip
def test_patterns_are_of_names_that_follow_each_other(pattern: str, expected: list[str]) -> None:
    model = models.build(BASELINE.model, (128,))
    found = selected(pattern, model, (128,))
    assert sorted(found) == [f"params/{name}" for name in expected]


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("encodr", "unknown part or parameter 'encodr'. Did you mean 'encoder'?"),
        ("linear_0,norm_0", "unknown part or parameter 'norm_0'"),
        ("*", "means every parameter of the model: none would be left"),
        ("encoder,decoder", "means every parameter of the model"),
    ],
)
def test_what_selects_nothing_or_all_is_refused(pattern: str, words: str) -> None:
    with pytest.raises(InputError, match=re.escape(words)):
        train.make_task(replace(BASELINE, freeze=pattern), DATA)


def begun(freeze: str, **changes: Any) -> tuple[train.Task, train.TrainState]:
    """The first state, with statistics that are not those of no data."""
    task = train.make_task(replace(NORMED, freeze=freeze, **changes), DATA)
    state = train.init_state(task, 0, DATA.sample_shape)
    stats = jax.tree.map(lambda a: a + a.dtype.type(1), state.batch_stats)
    return task, state.replace(batch_stats=stats)


@pytest.fixture(scope="module")
def frozen() -> tuple[train.Task, train.TrainState, train.TrainState]:
    """An epoch with a frozen encoder, some of whose values are -0."""
    task, state = begun("encoder")
    params = jax.tree.map(lambda a: a.at[..., 0].set(-0.0), state.params)
    state = state.replace(params=params, averaged=params)
    copy = jax.tree.map(jnp.copy, state)  # batches of 8, 8 and 4
    return task, state, train.train_epoch(task, copy, jnp.asarray(X), batch_size=8)[0]


def test_frozen_variables_keep_their_bits(frozen: Any) -> None:
    """Under decay and averaging, too; all others change, and nothing is kept for the frozen."""
    task, before, after = frozen
    assert tops(task.frozen) == {"down", "norm_0"}
    assert "batch_stats/norm_0/mean" in task.frozen
    for collection, trees in {
        "params": (before.params, after.params),
        "batch_stats": (before.batch_stats, after.batch_stats),
    }.items():
        start, end = (by_name(collection, tree) for tree in trees)
        for name, value in start.items():
            same = value.tobytes() == end[name].tobytes()
            assert same == (name in task.frozen), name
    start = by_name("params", before.params)
    for name, value in by_name("params", after.averaged).items():
        assert (value.tobytes() == start[name].tobytes()) == (name in task.frozen), name
    moments = [a for a in jax.tree.leaves(after.opt_state) if a.ndim]
    assert len(moments) == 2 * len(start.keys() - task.frozen)


def test_a_frozen_encoder_stays_the_same_function(frozen: Any) -> None:
    task, before, after = frozen
    z = [task.model.apply(s.variables, X, method="encode") for s in (before, after)]
    np.testing.assert_array_equal(*z)


def test_frozen_batch_norm_is_that_of_evaluation() -> None:
    """With all of it frozen, the training loss is the loss of evaluation; without, it is not."""
    step = jax.jit(train.train_step, static_argnums=0)
    for freeze, is_alike in (("norm_*", True), ("norm_*/scale", False)):
        task, state = begun(freeze)
        _, metrics = step(task, state, jnp.asarray(X))
        recon = np.asarray(task.model.apply(state.variables, X).recon)
        alike = float(metrics.loss) == pytest.approx(np.square(recon - X).mean(), rel=1e-5)
        assert alike == is_alike


def test_batch_norm_of_flax_is_frozen_alike() -> None:
    class Own(nn.Module):
        @nn.compact
        def __call__(self, x: jax.Array, train: bool) -> jax.Array:
            return nn.BatchNorm(use_running_average=not train, name="fixed")(
                nn.BatchNorm(name="told")(x, use_running_average=not train)
            )

    model, x = Own(), jnp.asarray(X)
    variables = model.init(jax.random.key(0), x, False)
    with selection.as_in_evaluation(frozenset({"batch_stats/told/mean"})):
        out, _ = model.apply(variables, x, True, mutable=["batch_stats"])
    told = x / np.sqrt(1 + 1e-5)  # mean 0 and variance 1 are its running statistics
    expected = (told - told.mean(axis=0)) / np.sqrt(told.var(axis=0) + 1e-5)
    np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-5)


def test_decay_leaves_alone_what_it_is_told_to() -> None:
    """Without a gradient the step is -rate * decay * w, and 0 where nothing decays."""
    optimizer = OptimizerConfig("adamw", 0.1, weight_decay=0.5, no_decay="bias,scale")
    task, state = begun("", optimizer=optimizer)
    nothing = jax.tree.map(jnp.zeros_like, state.params)
    updates, _ = task.optimizer.update(nothing, state.opt_state, state.params)
    values = by_name("params", state.params)
    for name, update in by_name("params", updates).items():
        expected = -0.05 * values[name] if name.endswith("kernel") else 0 * values[name]
        np.testing.assert_allclose(update, expected, rtol=1e-6)
    assert {name.split("/")[-1] for name in values} == {"kernel", "bias", "scale"}


def test_the_moving_average_is_the_weighted_mean_of_the_steps() -> None:
    """sum_i d^(t-i) w_i / sum_i d^(t-i) over two epochs, without the weights before the first."""
    decay = 0.8
    settings = replace(BASELINE, optimizer=OptimizerConfig("sgd", 0.5, ema=decay), batch_size=8)
    task, x = train.make_task(settings, DATA), jnp.asarray(X)
    state = train.init_state(task, 0, DATA.sample_shape)
    by_hand, seen = state, []
    step = jax.jit(train.train_step, static_argnums=0)
    for epoch in range(2):
        order = train.epoch_order(by_hand.replace(step=jnp.int32(3 * epoch)), 20, 8)
        for i in range(0, 20, 8):
            by_hand, _ = step(task, by_hand, x[order[i : i + 8]])
            seen.append(jax.tree.map(lambda a: np.asarray(a, np.float64), by_hand.params))
    state = jax.tree.map(jnp.copy, state)
    for _ in range(2):
        state, _ = train.train_epoch(task, state, x, batch_size=8)
    weights = decay ** np.arange(len(seen))[::-1]
    mean = jax.tree.map(lambda *a: np.tensordot(weights / weights.sum(), np.stack(a), 1), *seen)
    for averaged in (by_hand.averaged, state.averaged):
        for got, expected in zip(*map(jax.tree.leaves, (averaged, mean)), strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    assert state.variables["params"] is state.averaged
    raw = state.params["encoder"]["linear_0"]["kernel"]
    assert np.abs(raw - state.averaged["encoder"]["linear_0"]["kernel"]).max() > 1e-3
