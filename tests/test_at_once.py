"""How many seeds train as one batch: measured on what is not a CPU, here a CPU that says so."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest

from msae_jax import at_once, seeds, train
from msae_jax.config import ModelConfig, TrainConfig
from msae_jax.data import Dataset
from msae_jax.seeds import Member

SETTINGS = TrainConfig(model=ModelConfig("baseline", {"hidden": [16]}), batch_size=32)


@dataclass
class Accelerator:
    """A device that is no CPU, asked how many members to train at once."""

    task: train.Task
    state: train.TrainState
    x: np.ndarray
    stats: dict[str, int] = field(default_factory=dict)

    @property
    def platform(self) -> str:
        return "gpu"

    def memory_stats(self) -> dict[str, int]:
        return self.stats

    def choose(self, members: int) -> int:
        return at_once.choose_at_once(
            self.task, lambda: self.state, self.x, batch_size=32, members=members
        )


@pytest.fixture
def accelerator(signals: Dataset, monkeypatch: pytest.MonkeyPatch) -> Accelerator:
    task = seeds.make_task(SETTINGS, signals, [Member(0)])
    state = seeds.init_states(task, SETTINGS, [Member(0)], signals.sample_shape)
    device = Accelerator(task, state, signals.train.x)
    monkeypatch.setattr(jax, "local_devices", lambda: [device])
    return device


def test_it_doubles_while_a_step_is_faster_per_member() -> None:
    counts = []

    def seconds(count: int) -> float:
        counts.append(count)
        return 1 / count if count < 8 else 1.0

    assert at_once._fastest(seconds, 64) == 4
    assert counts == [1, 2, 4, 8]
    assert at_once._fastest(seconds, 3) == 2


def test_it_stays_within_memory(accelerator: Accelerator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps are compiled and run, and then taken to be the faster, the more members they have."""
    counts = []

    def seconds(task: train.Task, states: train.TrainState, *args: Any) -> float | None:
        counts.append(len(states.step))
        found = actual(task, states, *args)
        assert found is None or found > 0
        return found and 1 / counts[-1]

    actual = at_once._seconds_per_member
    monkeypatch.setattr(at_once, "_seconds_per_member", seconds)
    params = sum(leaf.nbytes for leaf in jax.tree.leaves(accelerator.state.params))
    accelerator.stats |= {"bytes_limit": accelerator.x.nbytes + 40 * params, "bytes_in_use": 0}
    chosen = accelerator.choose(256)
    assert 1 < chosen < 256
    assert counts[-1] == 2 * chosen  # the one that did not fit

    accelerator.stats["bytes_in_use"] = accelerator.stats["bytes_limit"]
    assert accelerator.choose(256) == 1


@pytest.mark.parametrize(("platform", "members"), [("gpu", 1), ("cpu", 8)])
def test_nothing_is_measured_without_need(
    monkeypatch: pytest.MonkeyPatch, platform: str, members: int
) -> None:
    monkeypatch.setattr(at_once.jax, "local_devices", lambda: [SimpleNamespace(platform=platform)])
    unused: Any = None
    assert at_once.choose_at_once(unused, unused, unused, batch_size=32, members=members) == 1


def test_other_errors_than_of_memory_are_raised(
    accelerator: Accelerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(error: str) -> None:
        def epoch(*args: Any, **kwargs: Any) -> Any:
            raise jax.errors.JaxRuntimeError(error)

        monkeypatch.setattr(train, "epoch", epoch)

    fails("RESOURCE_EXHAUSTED: out of memory")
    assert accelerator.choose(8) == 1
    fails("INTERNAL: something else")
    with pytest.raises(jax.errors.JaxRuntimeError, match="something else"):
        accelerator.choose(8)
