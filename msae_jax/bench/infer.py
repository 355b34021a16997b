"""Evaluation, `embed` and `reconstruct` beside PyTorch eager: from samples in memory to NumPy."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np

from msae_jax import data, inference, train
from msae_jax.bench.compare import Result, check_counts, in_turn, nbytes
from msae_jax.bench.operations import operations
from msae_jax.config import TrainConfig

CLOSE = 1e-3  # float32; the nats of variational models are of noise that each side draws for itself

Call = Callable[[], Any]


def bench_inference(
    settings: TrainConfig,
    *,
    steps: int | None = None,
    repeats: int = 7,
    data_dir: str | None = None,
) -> list[Result]:
    """Times passes over the test set, in turn with PyTorch's: what `msae` does with weights.

    Weights are those before the first step, batches of `inference.BATCH_SIZE` on both sides. Each
    side first makes a pass that is not counted.

    Args:
      steps: batches of a pass, of the first samples; all by default.
      repeats: passes that are timed.

    Returns:
      Of `evaluate`, `embed` and `reconstruct`.
    """
    check_counts(steps, repeats)
    dataset = data.load(settings.data, data_dir=data_dir)
    x = np.asarray(dataset.test.x)
    x = x if steps is None else x[: steps * inference.BATCH_SIZE]
    size = inference.even_size(len(x), inference.BATCH_SIZE)
    task = train.make_task(settings, dataset)
    state = train.init_state(task, settings.seed, dataset.sample_shape)
    model, variables = task.model, state.variables
    calls: dict[str, dict[str, Call]] = {
        "evaluate": {"ours": lambda: inference.evaluate(model, variables, x, task.objective)},
        "embed": {"ours": lambda: inference.embed(model, variables, x)},
        "reconstruct": {"ours": lambda: inference.reconstruct(model, variables, x)},
    }
    if importlib.util.find_spec("torch") is not None:
        from msae_jax.bench import torch_loops

        eager = torch_loops.Eager(torch_loops.build(settings, task, state), task, x, size)
        for name, sides in calls.items():
            sides["eager"] = getattr(eager, name)
    count = operations(model)
    again = count.forward - count.encode if hasattr(model, "posterior") else 0  # a sample decoded
    per_sample = {
        "evaluate": count.forward + again,
        "embed": count.encode,
        "reconstruct": count.forward,
    }
    results = []
    for name, sides in calls.items():
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
                traffic=float(x.nbytes + nbytes(variables) * -(-len(x) // size)),
            )
        )
    return results


def _apart(ours: Any, theirs: Any) -> float:
    """Returns the largest difference of two arrays in units of our largest value, or of metrics."""
    if isinstance(theirs, dict):
        return max(abs(ours[name] / value - 1) for name, value in theirs.items())
    return float(np.abs(ours - theirs).max() / np.abs(ours).max())
