"""Training timed beside PyTorch's loops: same model, weights, samples, batches and steps."""

from __future__ import annotations

import importlib.util
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import jax
import numpy as np

from msae_jax import data, models, train
from msae_jax.bench.operations import operations
from msae_jax.bench.peaks import Peaks
from msae_jax.bench.turns import in_turn
from msae_jax.config import Objective, OptimizerConfig, TrainConfig
from msae_jax.errors import InputError
from msae_jax.system import environment

AGREE, AGREE_NOISY = 0.01, 0.05
"""How far the sides' mean losses of one epoch may be apart, relative to ours. The second is for
variational models, where each side draws its own noise."""


class Side(Protocol):
    """One implementation of training; its weights stay on its device between epochs."""

    def epoch(self, order: np.ndarray | None = None) -> float:
        """Trains an epoch in an order of the samples, or shuffled; returns its mean loss."""


class Ours:
    """An epoch as one compiled program over the samples on the device."""

    def __init__(
        self, settings: TrainConfig, task: train.Task, state: train.TrainState, x: np.ndarray
    ) -> None:
        self._task, self._batch = task, settings.batch_size
        self._state = jax.tree.map(jax.numpy.copy, state)  # an epoch takes its buffers
        self._x = jax.device_put(x)

    def epoch(self, order: np.ndarray | None = None) -> float:
        indices = None if order is None else jax.numpy.asarray(order)
        self._state, metrics = train.train_epoch(
            self._task, self._state, self._x, indices, batch_size=self._batch
        )
        return float(np.asarray(metrics.loss).mean())


@dataclass(frozen=True)
class Result:
    """The times of one task of one model: an epoch of training, or a pass over a set.

    Attributes:
      task: `train`, `evaluate`, `embed` or `reconstruct`.
      samples, batch_size: of the epoch or the pass.
      seconds: by side, the time of each repeat. Sides are `ours` and PyTorch's: in training
        `plain`, `tuned`, `compiled` and, on CUDA, `graphs`; in other tasks `eager`.
      apart: by side, how far its result is from ours, relative to ours.
      tolerance: the largest `apart` at which both still compute the same.
      failed: by side, why it could not run.
      operations: floating-point operations of the epoch or the pass; see `Operations`.
      traffic: the fewest bytes that must move: the samples are read once; each batch reads the
        parameters or, in training, reads and writes them and the optimiser's state.
      precision: of the products, ours and PyTorch's (`torch.autocast`).
    """

    task: str
    model: str
    samples: int
    batch_size: int
    seconds: dict[str, list[float]]
    apart: dict[str, float]
    tolerance: float
    failed: dict[str, str]
    operations: float
    traffic: float
    precision: str = "float32"

    def median(self, side: str = "ours") -> float:
        return statistics.median(self.seconds[side])

    @property
    def fastest(self) -> str | None:
        """The fastest of PyTorch's sides; None without PyTorch."""
        others = [side for side in self.seconds if side != "ours"]
        return min(others, key=self.median, default=None)

    @property
    def ratio(self) -> float:
        """How many times as long the fastest of PyTorch's sides takes; NaN without PyTorch."""
        return self.median(self.fastest) / self.median() if self.fastest else float("nan")

    @property
    def agree(self) -> bool:
        """Whether all sides compute the same."""
        return all(distance <= self.tolerance for distance in self.apart.values())

    def share(self, limits: Peaks) -> float:
        """The fraction of the measured matmul peak that the model's operations reach."""
        return self.operations / self.median() / 1e9 / limits.matmul

    def bandwidth_share(self, limits: Peaks) -> float:
        """The fraction of the bandwidth measured for a working set as large as a step's traffic."""
        steps = -(-self.samples // self.batch_size)
        return self.traffic / self.median() / 1e9 / limits.bandwidth(self.traffic / steps)


def nbytes(tree: Any) -> int:
    """Returns the bytes of all arrays of a tree."""
    return sum(leaf.nbytes for leaf in jax.tree.leaves(tree))


def draws(task: train.Task, state: train.TrainState, x: np.ndarray) -> bool:
    """Whether a model draws latents of its samples while it trains: whether it has a posterior."""
    batch = jax.ShapeDtypeStruct((1, *x.shape[1:]), np.float32)
    out: Any = jax.eval_shape(task.model.apply, state.variables, batch)
    return out.log_var is not None


def check_counts(steps: int | None, repeats: int) -> None:
    if repeats < 1 or (steps is not None and steps < 1):
        raise InputError(f"steps and repeats must be at least 1, got {steps} and {repeats}.")


def comparable(settings: TrainConfig) -> TrainConfig:
    """Returns settings with what PyTorch's loops have, too: Adam at their learning rate, and a loss
    of the likelihood and, at its full weight, the KL term alone."""
    own = settings.objective
    return replace(
        settings,
        objective=Objective(own.likelihood, own.reduction, own.beta),
        optimizer=OptimizerConfig(learning_rate=settings.optimizer.learning_rate),
    )


def bench(
    settings: TrainConfig,
    *,
    steps: int | None = None,
    repeats: int = 7,
    compiled: bool = True,
    data_dir: str | Path | None = None,
) -> Result:
    """Times epochs of every side in turn.

    Each side first trains an epoch that is not timed, from the same weights in the same order. It
    compiles programs and shows whether the losses agree.

    Args:
      settings: what is trained, as `comparable` has it.
      steps: how many batches an epoch has, from the first sample on; by default all.
      repeats: how many epochs are timed.
      compiled: whether to try `torch.compile`, which takes up to a minute to begin.
    """
    check_counts(steps, repeats)
    if models.record(settings.model.name).fit is not None:
        raise InputError(
            f"{settings.model.name} is fitted in closed form and has no training to time: use "
            "--task inference."
        )
    settings = comparable(settings)
    dataset = data.load(settings.data, data_dir=data_dir)
    x = np.asarray(dataset.train.x)
    x = x if steps is None else x[: steps * settings.batch_size]
    dataset = replace(dataset, train=data.Split(x))
    task = train.make_task(settings, dataset)
    state = train.init_state(task, settings.seed, dataset.sample_shape)
    sides = _sides(settings, task, state, x, compiled=compiled)
    order = np.random.default_rng(settings.seed).permutation(len(x))
    losses, failed = {}, {}
    for name, side in list(sides.items()):
        try:
            losses[name] = side.epoch(order)
        except Exception as error:  # torch.compile: no compiler, or an operation it cannot lower
            if name not in ("compiled", "graphs"):
                raise
            failed[name] = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
            del sides[name]
    sides["ours"].epoch()  # a program that shuffles by itself is another one to compile
    seconds, _ = in_turn({name: side.epoch for name, side in sides.items()}, repeats)
    ours = losses.pop("ours")
    batches = -(-len(x) // settings.batch_size)
    return Result(
        task="train",
        model=settings.model.name,
        samples=len(x),
        batch_size=settings.batch_size,
        seconds=seconds,
        apart={name: abs(loss / ours - 1) for name, loss in losses.items()},
        tolerance=AGREE_NOISY if draws(task, state, x) else AGREE,
        failed=failed,
        operations=float(operations(task.model).training * len(x)),
        traffic=float(x.nbytes + 2 * nbytes((state.params, state.opt_state)) * batches),
        precision=settings.precision,
    )


def _sides(
    settings: TrainConfig,
    task: train.Task,
    state: train.TrainState,
    x: np.ndarray,
    *,
    compiled: bool,
) -> dict[str, Side]:
    sides: dict[str, Side] = {"ours": Ours(settings, task, state, x)}
    if importlib.util.find_spec("torch") is not None:
        from msae_jax.bench import torch_loops

        sides["plain"] = torch_loops.Plain(settings, task, state, x)
        sides["tuned"] = torch_loops.Tuned(settings, task, state, x)
        if compiled:
            sides["compiled"] = torch_loops.Tuned(settings, task, state, x, compiled=True)
        if torch_loops.DEVICE == "cuda":
            sides["graphs"] = torch_loops.Graphs(settings, task, state, x)
    return sides


def table(results: Sequence[Result], limits: Peaks) -> str:
    """Returns a Markdown table of medians, with the lowest and highest of each.

    The last column says how many times as fast as PyTorch a program at the device's measured peak
    would be.
    """
    sides = list(dict.fromkeys(side for result in results for side in result.seconds))
    times = [f"{side} (s)" for side in sides]
    shares = ["times as fast", "of peak", "of bandwidth", "at most"]
    head = ["model", "task", "samples", *times, *shares]
    rows = [head, ["---"] * len(head)]
    for r in results:
        cells = []
        for side in sides:
            timed = r.seconds.get(side)
            spread = timed and f"{r.median(side):.4g} ({min(timed):.4g} to {max(timed):.4g})"
            cells.append(spread or "not run")
        share = r.share(limits)
        ratio = most = "no PyTorch"
        if r.fastest is not None:
            ratio = f"{r.ratio:.2f}" + ("" if r.agree else ", results differ")
            most = f"{r.ratio / share:.1f}"
        cells += [ratio, f"{share:.0%}", f"{r.bandwidth_share(limits):.0%}", most]
        task = r.task if r.precision == "float32" else f"{r.task}, {r.precision}"
        rows.append([r.model, task, f"{r.samples:,}", *cells])
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.append(
        f"\nSeconds: median (lowest to highest). Times as fast as the fastest of PyTorch; at most, "
        f"if nothing but matrix products took time, and those ran at the measured peak; of "
        f"bandwidth, what must move at the least, against memory of that size updated in place. "
        f"Measured peaks: {limits.matmul:.0f} GFLOP/s in float32; {limits.bandwidth(0):.0f} GB/s "
        f"in caches, {limits.bandwidth():.0f} beyond them."
    )
    return "\n".join(lines)


def to_dict(results: Sequence[Result], limits: Peaks) -> dict[str, Any]:
    """Returns results, peaks, versions and device as JSON values."""
    described = environment.describe_machine()
    if "torch" in sys.modules:
        import torch

        described |= {"torch": torch.__version__, "threads": torch.get_num_threads()}
    rows = [
        asdict(r)
        | {"fastest_torch": r.fastest, "ratio": r.ratio if r.fastest else None, "agree": r.agree}
        | {"share_of_peak": r.share(limits), "share_of_bandwidth": r.bandwidth_share(limits)}
        for r in results
    ]
    return {"results": rows, "peaks": limits._asdict(), "environment": described}
