"""Evaluation, `embed` and `reconstruct` beside PyTorch eager: from samples in memory to NumPy."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from msae_jax import data, train
from msae_jax.bench.compare import Result, check_counts, draws, nbytes
from msae_jax.bench.operations import operations
from msae_jax.bench.turns import in_turn
from msae_jax.config import TrainConfig
from msae_jax.train import evaluation

CLOSE = 1e-3  # float32; for the nats of variational models each side draws its own noise


def bench_inference(
    settings: TrainConfig,
    *,
    steps: int | None = None,
    repeats: int = 7,
    data_dir: str | Path | None = None,
) -> list[Result]:
    """Times `evaluate`, `embed` and `reconstruct` over the test set, in turn with PyTorch's.

    The weights are the initial ones; batches hold `evaluation.BATCH_SIZE` samples on both sides.
    Each side first makes a pass that is not timed.

    Args:
      steps: how many batches a pass has, from the first sample on; by default all.
      repeats: how many passes are timed.
    """
    check_counts(steps, repeats)
    dataset = data.load(settings.data, data_dir=data_dir)
    x = np.asarray(dataset.test.x)
    x = x if steps is None else x[: steps * evaluation.BATCH_SIZE]
    size = evaluation.even_size(len(x), evaluation.BATCH_SIZE)
    task = train.make_task(settings, dataset)
    state = train.init_state(task, settings.seed, dataset.sample_shape)
    count = operations(task.model)
    decode = count.forward - count.encode
    again = decode if draws(task, state, x) else 0  # of the posterior sample
    per_sample = {
        "evaluate": count.forward + again,
        "embed": count.encode,
        "reconstruct": count.forward,
    }
    results = []
    for name, sides in _calls(settings, task, state, x, size).items():
        in_turn(sides, 1)
        seconds, last = in_turn(sides, repeats)
        ours = last.pop("ours")
        results.append(
            Result(
                task=name,
                model=settings.model.name,
                samples=len(x),
                batch_size=size,
                seconds=seconds,
                apart={side: _apart(ours, theirs) for side, theirs in last.items()},
                tolerance=CLOSE,
                failed={},
                operations=float(per_sample[name] * len(x)),
                traffic=float(x.nbytes + nbytes(state.variables) * -(-len(x) // size)),
            )
        )
    return results


def _calls(
    settings: TrainConfig, task: train.Task, state: train.TrainState, x: np.ndarray, size: int
) -> dict[str, dict[str, Callable[[], Any]]]:
    """Returns, by task and side, what is timed."""
    model, variables = task.model, state.variables
    calls: dict[str, dict[str, Callable[[], Any]]] = {
        "evaluate": {"ours": lambda: evaluation.evaluate(model, variables, x, task.objective)},
        "embed": {"ours": lambda: evaluation.embed(model, variables, x)},
        "reconstruct": {"ours": lambda: evaluation.reconstruct(model, variables, x)},
    }
    if importlib.util.find_spec("torch") is not None:
        from msae_jax.bench import torch_loops

        eager = torch_loops.Eager(torch_loops.build(settings, task, state), task, x, size)
        for name, sides in calls.items():
            sides["eager"] = getattr(eager, name)
    return calls


def _apart(ours: Any, theirs: Any) -> float:
    """Returns the largest difference, relative to our largest value or, of metrics, to theirs."""
    if isinstance(theirs, dict):
        return max(abs(ours[name] / value - 1) for name, value in theirs.items())
    return float(np.abs(ours - theirs).max() / np.abs(ours).max())
