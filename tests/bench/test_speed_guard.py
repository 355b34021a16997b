"""What keeps training fast and can be counted, so that a busy machine changes nothing here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from msae_jax import bench, models, train
from msae_jax.config import ModelConfig, TrainConfig
from msae_jax.data import Dataset
from msae_jax.fitting import loop
from msae_jax.recipes import recipe
from msae_jax.train.optimizer import make_optimizer

# Of sizes that no other test has, whose programs are found again.
BASELINE = TrainConfig(model=ModelConfig("baseline", {"hidden": [17]}), batch_size=32)
VAE = replace(recipe("vae3"), model=ModelConfig("vae3", {"hidden": [17]}), batch_size=32)
# One model a kind: a step's operations as the compiler counts them, over those of its layers alone.
# The excess is losses, activations and Adam. `conv` convolves its 7 x 7 images in Fourier space.
BOUNDS = {
    "baseline": (1.0, 1.06),
    "msae-mlp": (1.0, 1.06),
    "vae3": (1.0, 1.06),
    "msae": (1.0, 1.06),
    "conv": (0.58, 0.65),
}
CASES = [(BASELINE, "signals"), (VAE, "images")]


@contextmanager
def counted_compilations() -> Iterator[Counter[str]]:
    """Counts the programs compiled meanwhile, by name."""
    found: Counter[str] = Counter()

    def listen(event: str, seconds: float, **more: Any) -> None:
        if event.endswith("backend_compile_duration"):
            found[str(more.get("fun_name"))] += 1

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield found
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


@pytest.mark.parametrize(("settings", "name"), CASES)
def test_a_run_compiles_each_program_once(settings: TrainConfig, name: str, request) -> None:
    """The short last batches of both sets (150 and 40, 70 and 20) need no programs of their own."""
    dataset: Dataset = request.getfixturevalue(name)
    with counted_compilations() as found:
        loop.fit_one(replace(settings, epochs=3), dataset)
    assert (found["jit(train_epoch)"], found["jit(eval_step)"]) == (1, 1)
    assert set(found.values()) == {1}, found


@pytest.mark.parametrize(("settings", "name"), CASES)
def test_an_epoch_moves_nothing_between_host_and_device(
    settings: TrainConfig, name: str, request
) -> None:
    dataset: Dataset = request.getfixturevalue(name)
    task = train.make_task(settings, dataset)
    state = train.init_state(task, 0, dataset.sample_shape)
    x = jax.device_put(dataset.train.x)
    with jax.transfer_guard("disallow"):
        for _ in range(2):
            state, _ = train.train_epoch(task, state, x, batch_size=settings.batch_size)
    assert int(state.step) == 2 * -(-len(x) // settings.batch_size)
    with jax.transfer_guard("disallow"), pytest.raises(Exception, match="Disallowed host-to"):
        train.train_epoch(task, state, dataset.train.x, batch_size=settings.batch_size)


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow if n in ("msae", "conv") else ()) for n in BOUNDS],
)
def test_a_step_computes_what_its_layers_need(name: str) -> None:
    settings, batch = recipe(name), 64
    model = models.build(settings.model)
    task = train.Task(model, settings.objective, make_optimizer(settings.optimizer, 1))
    state = jax.eval_shape(
        lambda: train.state_of_keys(task, train.seed_keys(0), model.sample_shape)
    )
    x = jax.ShapeDtypeStruct((batch, *model.sample_shape), jnp.float32)
    step = jax.jit(train.train_step, static_argnums=0).lower(task, state, x)
    quick = {
        "xla_backend_optimization_level": 0
    }  # of the machine code: the operations are the same
    counted = step.compile(quick).cost_analysis()["flops"] / batch
    low, high = BOUNDS[name]
    assert low < counted / bench.operations(model).training < high
