"""The learning-rate range test, against steps by hand and curves whose lowest point is known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.image import imread

import msae_jax as mj
from msae_jax import train
from msae_jax.config import ModelConfig, OptimizerConfig, TrainConfig
from msae_jax.data import Dataset
from msae_jax.errors import InputError
from msae_jax.fitting.range_test import RangeTest, smoothed
from msae_jax.train.optimizer import make_optimizer
from tests.cli.in_process import msae

SETTINGS = TrainConfig(
    ModelConfig("baseline", {"hidden": [8], "latent_dim": 4}),
    optimizer=OptimizerConfig("sgd", 0.123, schedule="cosine"),
    batch_size=64,
)


def test_the_losses_are_those_of_steps_under_these_rates(signals: Dataset) -> None:
    """Step i with SGD at rate i, on the batches of the seed's epochs; 150 samples make two full."""
    found = mj.range_test(SETTINGS, signals, seeds=2, steps=20, low=1e-3, high=1.0)
    np.testing.assert_allclose(found.rates, 10 ** np.linspace(-3, 0, 20), rtol=1e-5)
    task = train.make_task(replace(SETTINGS, seed=1), signals)
    state = train.init_state(task, 1, signals.sample_shape)
    rule = make_optimizer(OptimizerConfig("sgd", 1.0), 1)
    task = task._replace(optimizer=rule)
    state = state.replace(opt_state=rule.init(state.params))
    step = jax.jit(train.train_step, static_argnums=0)
    losses = []
    for i, rate in enumerate(found.rates):
        order = train.epoch_order(state.replace(step=jnp.int32(i // 2 * 3)), 150, 64)
        batch = signals.train.x[np.asarray(order)][i % 2 * 64 :][:64]
        tuned = train.Tuned(jnp.float32(rate), jnp.float32(1.0))
        state, metrics = step(task, state.replace(tuned=tuned), jnp.asarray(batch))
        losses.append(float(metrics.loss))
    np.testing.assert_allclose(found.losses[1], losses, rtol=1e-5)
    assert found.still_falls
    assert found.settings == SETTINGS


def test_a_tenth_of_the_lowest_point_is_suggested() -> None:
    """Parabolas in log10 of the rate, lowest at 0.1 and at 0.001, which then diverge."""
    x = np.linspace(-6, 1, 141)
    losses = np.stack([1 + (x + 1) ** 2 / 10, 2 + (x + 3) ** 2 / 10])
    losses[0, 130:] = np.nan
    losses[1, 120:] = 1e6
    smooth = smoothed(losses)
    assert np.isnan(smooth[0, 130:]).all()
    assert np.isnan(smooth[1, 120:]).all()
    assert np.isfinite(smooth[:, :115]).all()
    np.testing.assert_allclose(smooth[0, 20], losses[0, 17:24].mean())
    lowest = 10 ** x[np.nanargmin(smooth, axis=1)]
    found = RangeTest(SETTINGS, [0, 1], 10**x, losses, smooth, lowest)
    np.testing.assert_allclose(found.suggestions, [1e-2, 1e-4], rtol=1e-6)
    assert found.suggested == pytest.approx(1e-3)
    assert found.still_falls == []


def test_a_range_that_is_none_or_too_high_is_refused(signals: Dataset) -> None:
    with pytest.raises(InputError, match=r"from low to high, got 1 to 0\.1"):
        mj.range_test(SETTINGS, signals, low=1.0, high=0.1)
    with pytest.raises(InputError, match="at least 20 steps, got 5"):
        mj.range_test(SETTINGS, signals, steps=5)
    with pytest.raises(InputError, match=r"lowers the loss of seeds \[0\]"):
        mj.range_test(SETTINGS, signals, steps=20, low=1e5, high=1e9)


def test_the_command_writes_a_figure_and_the_spread_over_seeds(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "a" / "rates.png"
    command = ("find-lr", "--model", "baseline", "--set", "hidden=[16]", "--seeds", 3)
    assert msae(*command, "--steps", 60, "--out", out) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("baseline on sines: suggested learning rate ")
    assert printed[0].endswith(")")
    assert "geometric mean of 3 seeds, " in printed[0]
    assert printed[1] == str(out)
    image = imread(out)
    assert image.shape[:2] == (420, 700)
    assert image.std() > 0.05
    assert msae(*command, "--steps", 60, "--out", out) == 2
    assert "choose another --out, or --overwrite" in capsys.readouterr().err
    assert msae(*command, "--steps", 60, "--out", out, "--overwrite", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found["seeds"]) == ["0", "1", "2"]
    low, high = min(found["seeds"].values()), max(found["seeds"].values())
    assert 1e-5 < low <= found["suggested"] * 1.01
    assert found["suggested"] * 0.99 <= high < 1
    assert msae(*command, "--out", tmp_path / "rates.txt") == 2
    assert "--out must end in .png or .svg" in capsys.readouterr().err
