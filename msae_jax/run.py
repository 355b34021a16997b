"""Runs one training configuration from start to end, or from where it was killed.

A run directory holds `config.json`, `metrics.jsonl` (a line an epoch) and `checkpoints/`.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from msae_jax import checkpoint, data, run_directory, train
from msae_jax.config import TrainConfig
from msae_jax.errors import DivergedError, InputError
from msae_jax.history import History
from msae_jax.inference import EVALUATION, evaluate

OnEpoch = Callable[[dict[str, float]], None]


class Run(NamedTuple):
    """A finished run.

    Attributes:
      history: one dict an epoch, see `msae_jax.history.History`.
      messages: what a resumed run found damaged.
    """

    config: TrainConfig
    model: nn.Module
    state: train.TrainState
    history: History
    messages: list[str]

    @property
    def variables(self) -> dict[str, Any]:
        return self.state.variables


def fit(
    settings: TrainConfig,
    dataset: data.Dataset | None = None,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    data_dir: str | Path | None = None,
    orders: np.ndarray | None = None,
    init: Mapping[str, Any] | None = None,
    on_epoch: OnEpoch | None = None,
) -> Run:
    """Trains one seed.

    Args:
      settings: what to train; see `msae_jax.recipes.recipe` for the published ones.
      dataset: the data, where it is not to be loaded by `settings.data`.
      out: the run directory. Nothing is written without one.
      resume: go on from the newest good checkpoint in `out`, if there is one. The parameters at
        the end are, bit for bit, those of a run that was never interrupted.
      data_dir: a folder of IDX files, see `msae_jax.data.load`.
      orders: the order of the samples in each epoch, int `[epochs, n]`, instead of the seed's.
      init: the variables to start from, float32, instead of the seed's.
      on_epoch: called with each epoch's metrics.

    Raises:
      InputError: `out` holds a run already, or settings, model and data do not fit.
      DivergedError: a loss was not finite; checkpoints up to the epoch before are kept.
    """
    if out is not None:
        out = Path(out)
        run_directory.check(out, settings, resume=resume, many=False)
    streaming = settings.pipeline == "streaming"
    if dataset is None:
        dataset = data.load(settings.data, data_dir=data_dir, streaming=streaming)
    check_data(settings, dataset.train.x, orders)
    task = train.make_task(settings, dataset)
    state = train.init_state(task, settings.seed, dataset.sample_shape)
    if init is not None:
        state = _start_from(state, init)
    history: History = []
    messages: list[str] = []
    writer = None
    if out is not None:
        run_directory.make(out, settings)
        writer = checkpoint.Writer(out, settings, dataset.sample_shape)
    try:
        if writer is not None and (restored := writer.restore(state)) is not None:
            state, saved, messages = restored
            history = saved.history
        log = run_directory.Log(out, history)
        x_train = dataset.train.x if streaming else jax.device_put(dataset.train.x)
        while len(history) < settings.epochs and not should_stop(settings, history):
            order = None if orders is None else orders[len(history)]
            state, line = _epoch(task, state, settings, x_train, dataset.test.x, order, writer)
            history.append(line)
            finished = len(history) == settings.epochs or should_stop(settings, history)
            if writer is not None and (finished or len(history) % settings.checkpoint_every == 0):
                writer.save(len(history), state, history)
            log.append([line])
            if on_epoch is not None:
                on_epoch(line)
    finally:
        if writer is not None:
            writer.close()
    return Run(settings, task.model, state, history, messages)


def _start_from(state: train.TrainState, init: Mapping[str, Any]) -> train.TrainState:
    """Returns the state with the variables given."""
    shapes = [jax.tree.map(np.shape, dict(tree)) for tree in (state.variables, init)]
    if shapes[0] != shapes[1]:
        raise InputError(f"init must be like the model's variables, {shapes[0]}; got {shapes[1]}.")
    params, stats = (
        jax.tree.map(lambda a: jnp.array(a, copy=True), init.get(name, {}))  # steps donate them
        for name in ("params", "batch_stats")
    )
    return state.replace(params=params, batch_stats=stats)


def _epoch(
    task: train.Task,
    state: train.TrainState,
    settings: TrainConfig,
    x_train: data.Samples,
    x_test: data.Samples,
    order: np.ndarray | None,
    writer: checkpoint.Writer | None,
) -> tuple[train.TrainState, dict[str, float]]:
    """Trains and tests one epoch; returns the state and the line to log."""
    start = time.perf_counter()
    run = train.train_epoch_streaming if settings.pipeline == "streaming" else train.train_epoch
    state, metrics = run(task, state, x_train, order, batch_size=settings.batch_size)
    step = int(state.step)  # waits for the epoch
    seconds = time.perf_counter() - start
    key = jax.random.fold_in(state.noise_key, EVALUATION)
    tested = evaluate(task.model, state.variables, x_test, settings.objective, key=key)
    steps = len(metrics.loss)
    line: dict[str, float] = {"epoch": step // steps, "step": step, "seconds": round(seconds, 4)}
    _check_finite(metrics, tested, line, writer)
    n = len(x_train) if order is None else len(order)
    fitted = train.summary(settings.objective, metrics, n, settings.batch_size)
    return state, line | named_metrics(fitted, tested)


def named_metrics(fitted: dict[str, float], tested: dict[str, float]) -> dict[str, float]:
    """Returns the metrics of an epoch as a history names them.

    Each name is one string however many lines of many seeds have it.
    """
    found = {f"train_{name}": value for name, value in fitted.items()}
    found |= {f"test_{name}": value for name, value in tested.items() if name != "n"}
    return {sys.intern(name): value for name, value in found.items()}


def check_data(settings: TrainConfig, x: data.Samples, orders: np.ndarray | None = None) -> None:
    """Raises InputError where the objective or the orders do not fit the training data."""
    if settings.objective.likelihood == "bernoulli" and isinstance(x, np.ndarray):
        low, high = (0, 1) if x.dtype == np.uint8 else (float(x.min()), float(x.max()))
        if low < 0 or high > 1:
            raise InputError(
                f"the bernoulli likelihood needs data in [0, 1], got [{low:.4g}, {high:.4g}]: "
                "rescale the data, or use likelihood 'gaussian'."
            )
    if orders is None:
        return
    orders = np.asarray(orders)
    if orders.ndim != 2 or len(orders) < settings.epochs or orders.dtype.kind not in "iu":
        raise InputError(
            f"orders must be integers [epochs={settings.epochs}, n], got {orders.dtype} "
            f"{list(orders.shape)}."
        )
    if orders.size == 0 or orders.min() < 0 or orders.max() >= len(x):
        raise InputError(f"orders must index {len(x)} samples, 0 to {len(x) - 1}.")


def should_stop(settings: TrainConfig, history: History) -> bool:
    """Whether early stopping ends training after `history`."""
    rule = settings.early_stopping
    if rule is None or not history:
        return False
    values = [line[rule.metric] for line in history]
    return len(values) - 1 - int(np.argmin(values)) >= rule.patience


def _check_finite(
    metrics: train.Metrics,
    tested: dict[str, float],
    line: dict[str, float],
    writer: checkpoint.Writer | None,
) -> None:
    """Raises where a training loss is not finite, or where the last step broke the parameters."""
    bad = train.first_bad_step(metrics)
    steps = len(metrics.loss)
    if bad is None and math.isfinite(tested["loss"]):
        return
    at = steps - 1 if bad is None else bad
    what = "the parameters became non-finite" if bad is None else "the loss became non-finite"
    latest = None if writer is None else writer.latest()
    kept = "no checkpoint precedes it" if latest is None else f"checkpoint {latest} is kept"
    raise DivergedError(
        f"{what} at step {line['step'] - steps + at + 1} (epoch {line['epoch']}, step {at + 1} of "
        f"{steps}); {kept}. A lower learning rate or clip_norm may help."
    )
