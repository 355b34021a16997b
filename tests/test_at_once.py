"""How many seeds train as one batch: measured, on a CPU in place of an accelerator."""

from __future__ import annotations

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


@pytest.fixture(scope="module")
def case(signals: Dataset) -> tuple[train.Task, train.TrainState, np.ndarray]:
    """A task, the state of one member with its leading axis, and samples."""
    task = seeds.make_task(SETTINGS, signals, [Member(0)])
    state = seeds.init_states(task, SETTINGS, [Member(0)], signals.sample_shape)
    return task, state, signals.train.x


def choose(case: tuple[train.Task, train.TrainState, np.ndarray], members: int) -> int:
    task, state, x = case
    return at_once.choose_at_once(task, lambda: state, x, batch_size=32, members=members)


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """The statistics of the memory of an accelerator, to be filled."""
    stats: dict[str, int] = {}
    device = SimpleNamespace(platform="gpu", memory_stats=lambda: stats)
    monkeypatch.setattr(jax, "local_devices", lambda: [device])
    return stats


@pytest.mark.parametrize(
    ("seconds", "most", "expected"),
    [
        ([1, 0.5, 0.25, 0.26], 64, 4),
        ([1, 0.97, 0.96], 64, 2),  # 2% is the least gain that is worth more memory
        ([1, 0.99], 64, 1),
        ([1, 0.5, 0.25, 0.1], 5, 4),
        ([1, 0.5, None], 64, 2),
        ([None], 64, 1),
    ],
)
def test_it_doubles_while_that_is_faster_and_fits(
    seconds: list[float | None], most: int, expected: int
) -> None:
    assert at_once._fastest(dict(zip((1, 2, 4, 8), seconds, strict=False)).get, most) == expected


def test_a_step_is_timed_where_it_fits(
    case: tuple[train.Task, train.TrainState, np.ndarray],
) -> None:
    task, state, x = case
    measured = [
        at_once._seconds_per_member(task, state, jax.numpy.asarray(x), 32, limit)
        for limit in (x.nbytes, float("inf"))
    ]
    assert measured[0] is None
    assert measured[1] is not None
    assert 0 < measured[1] < 60


def test_what_memory_is_free_limits_it(
    case: tuple[train.Task, train.TrainState, np.ndarray],
    memory: dict[str, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limits, counts = [], []

    def seconds(
        task: train.Task, states: train.TrainState, x: Any, batch: int, limit: float
    ) -> float | None:
        limits.append(limit)
        counts.append(len(states.step))
        assert {len(leaf) for leaf in jax.tree.leaves(states)} == {counts[-1]}
        return 1 / counts[-1]

    monkeypatch.setattr(at_once, "_seconds_per_member", seconds)
    memory |= {"bytes_limit": 1000, "bytes_in_use": 400}
    assert choose(case, 4) == 4
    assert counts == [1, 2, 4]
    assert set(limits) == {480}  # a fifth is left for fragments


@pytest.mark.parametrize(("platform", "members"), [("gpu", 1), ("cpu", 8)])
def test_nothing_is_measured_without_need(
    monkeypatch: pytest.MonkeyPatch, platform: str, members: int
) -> None:
    monkeypatch.setattr(jax, "local_devices", lambda: [SimpleNamespace(platform=platform)])
    unused: Any = None
    assert at_once.choose_at_once(unused, unused, unused, batch_size=32, members=members) == 1


@pytest.mark.usefixtures("memory")
def test_no_memory_is_an_answer_and_other_errors_are_not(
    case: tuple[train.Task, train.TrainState, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    def epoch(*args: Any, **kwargs: Any) -> Any:
        raise jax.errors.JaxRuntimeError(message)

    monkeypatch.setattr(train, "epoch", epoch)
    message = "RESOURCE_EXHAUSTED: out of memory"
    assert choose(case, 8) == 1
    message = "INTERNAL: something else"
    with pytest.raises(jax.errors.JaxRuntimeError, match="something else"):
        choose(case, 8)
