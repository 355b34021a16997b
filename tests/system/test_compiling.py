"""Programs that are compiled quickly."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from msae_jax import train
from msae_jax.config import ModelConfig, TrainConfig
from msae_jax.data import Dataset
from msae_jax.system import compiling


@pytest.mark.slow  # `make test` compiles everything quickly
@pytest.mark.parametrize("model", ["msae", "baseline"])
def test_quick_programs_give_the_bits_of_others(model: str, signals: Dataset) -> None:
    task = train.make_task(TrainConfig(model=ModelConfig(model)), signals)

    @jax.jit
    def usual(seed: int) -> train.TrainState:
        return train.state_of_keys(task, train.seed_keys(seed), signals.sample_shape)

    quick = train.init_state(task, 3, signals.sample_shape)
    for a, b in zip(jax.tree.leaves(quick.params), jax.tree.leaves(usual(3).params), strict=True):
        np.testing.assert_array_equal(a, b)


def test_only_cpus_are_asked_to_compile_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    assert compiling.fast_compile_options()
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    assert compiling.fast_compile_options() is None
