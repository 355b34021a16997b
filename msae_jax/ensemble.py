"""Runs one training configuration over many seeds, or from where it was killed.

The loop of `msae_jax.run`, over members instead of one state: a member that has stopped early or
diverged is frozen while the others go on, and members added to a finished run start from nothing
while the finished ones are kept. One checkpoint holds all.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np

from msae_jax import (
    checkpoint,
    config,
    data,
    distributed,
    run_directory,
    seeds,
)
from msae_jax.config import METRICS, TrainConfig
from msae_jax.errors import InputError
from msae_jax.history import History
from msae_jax.member_progress import Progress, named
from msae_jax.run import OnEpoch, Run, check_data
from msae_jax.run import fit as fit_one
from msae_jax.seeds import Member


class Ensemble(NamedTuple):
    """A finished run of many seeds.

    Attributes:
      config: shared by all members, but for what `members` say.
      weights: parameters and batch statistics of all members, NumPy, with a leading member axis.
      histories: of each member, one dict an epoch, as in `Run`.
      diverged: by index of the member, what happened; its history ends before that epoch.
      messages: what a resumed run found damaged.
      versions: of the packages that trained it; of those that began it, where it was resumed.
    """

    config: TrainConfig
    model: nn.Module
    members: list[Member]
    weights: dict[str, Any]
    histories: list[History]
    diverged: dict[int, str]
    messages: list[str]
    versions: dict[str, str]

    def only(self, seeds: Collection[int]) -> Ensemble:
        """Returns the members of these seeds."""
        rows = [i for i, member in enumerate(self.members) if member.seed in seeds]
        return self._replace(
            members=[self.members[i] for i in rows],
            weights=jax.tree.map(lambda a: a[rows], self.weights),
            histories=[self.histories[i] for i in rows],
            diverged={k: self.diverged[i] for k, i in enumerate(rows) if i in self.diverged},
        )

    def variables(self, index: int) -> dict[str, Any]:
        """Returns the Flax variables of one member."""
        weights = jax.tree.map(lambda a: a[index], self.weights)
        return {name: tree for name, tree in weights.items() if tree}

    def metrics(self, name: str) -> np.ndarray:
        """Returns a metric `[members, epochs]`; NaN after a member's last epoch."""
        epochs = max(map(len, self.histories), default=0)
        found = np.full((len(self.members), epochs), np.nan)
        for row, history in zip(found, self.histories, strict=True):
            row[: len(history)] = [line[name] for line in history]
        return found

    def final(self, name: str = "test_mse") -> np.ndarray:
        """Returns a metric of each member's last epoch `[members]`; NaN where it diverged."""
        return np.array(
            [
                math.nan if i in self.diverged else history[-1][name]
                for i, history in enumerate(self.histories)
            ]
        )

    def rows(self) -> list[dict[str, Any]]:
        """Returns a table, a row a member: what sets it apart, epochs, `diverged`, last metrics."""
        return [
            {"member": i, **named(member)}
            | {"epochs": len(history), "diverged": self.diverged.get(i)}
            | ({} if i in self.diverged or not history else _metrics_only(history[-1]))
            for i, (member, history) in enumerate(zip(self.members, self.histories, strict=True))
        ]


def _metrics_only(line: dict[str, float]) -> dict[str, float]:
    return {k: v for k, v in line.items() if k.startswith(("train_", "test_"))}


def as_members(settings: TrainConfig, members: int | Sequence[int | Member]) -> list[Member]:
    """Returns the members that a number of seeds, or a list of seeds or members, stands for.

    A number counts from the configuration's seed.

    Raises:
      InputError: none, or one twice.
    """
    if isinstance(members, int):
        if members < 1:
            raise InputError(f"seeds must be at least 1, got {members}.")
        members = range(settings.seed, settings.seed + members)
    listed = [m if isinstance(m, Member) else Member(int(m)) for m in members]
    if not listed:
        raise InputError("no seeds given.")
    doubled = sorted({m.seed for m in listed if listed.count(m) > 1})
    if doubled:
        raise InputError(f"seeds given twice: {doubled}.")
    return listed


def fit(
    settings: TrainConfig,
    dataset: data.Dataset | None = None,
    *,
    seeds: int | Sequence[int | Member] | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    data_dir: str | Path | None = None,
    seeds_at_once: int | None = None,
    data_devices: int = 1,
    on_epoch: OnEpoch | None = None,
    **one_seed: Any,
) -> Ensemble | Run:
    """Trains one seed (`msae_jax.run.fit`, which takes `one_seed`), or with `seeds` many at once.

    Args:
      settings, dataset, out, data_dir: see `msae_jax.run.fit`.
      seeds: how many, from the configuration's on; or which; or members that differ otherwise too.
      resume: go on with the run in `out`; seeds that it does not have yet are added to it.
      seeds_at_once: seeds that train as one batch on a device; measured where it is None.
      data_devices: devices that share each batch.
      on_epoch: called with each epoch's metrics, their means over the seeds that trained.

    Returns:
      A `Run`, or an `Ensemble` of many seeds. A seed that diverges is frozen and reported there.
    """
    if seeds is None:
        if seeds_at_once is not None or data_devices != 1:
            raise InputError("seeds_at_once and data_devices need seeds (seeds=1 for one seed).")
        return fit_one(
            settings,
            dataset,
            out=out,
            resume=resume,
            data_dir=data_dir,
            on_epoch=on_epoch,
            **one_seed,
        )
    if one_seed:
        raise InputError(f"{', '.join(one_seed)}: for one seed only.")
    members = as_members(settings, seeds)
    return fit_many(
        settings,
        members,
        dataset,
        out=None if out is None else Path(out),
        resume=resume,
        data_dir=data_dir,
        seeds_at_once=seeds_at_once,
        data_devices=data_devices,
        on_epoch=on_epoch,
    )


def fit_many(
    settings: TrainConfig,
    members: Sequence[Member],
    dataset: data.Dataset | None = None,
    *,
    out: Path | None = None,
    resume: bool = False,
    data_dir: str | Path | None = None,
    seeds_at_once: int | None = None,
    data_devices: int = 1,
    on_epoch: OnEpoch | None = None,
) -> Ensemble:
    """Trains many members; see `fit`."""
    if seeds_at_once is not None and seeds_at_once < 1:
        raise InputError(f"seeds_at_once must be at least 1, got {seeds_at_once}.")
    _check_agreement(
        config.to_dict(settings)
        | {
            "seeds": _in_short(members),
            "out": None if out is None else str(out),
            "resume": resume,
            "seeds_at_once": seeds_at_once,
            "data_devices": data_devices,
        }
    )
    if out is not None:
        run_directory.check(out, settings, resume=resume, many=True)
        known = run_directory.read_members(out) or []
        members = [*known, *(m for m in members if m not in known)]
        distributed.wait_for_all("run directory checked")
    streaming = settings.pipeline == "streaming"
    if streaming and (jax.process_count() > 1 or data_devices > 1):
        raise InputError("pipeline 'streaming' trains on one device; use 'resident' on several.")
    seeds.make_mesh(data_devices, members=len(members))  # refuses what cannot be, in time
    if dataset is None:
        dataset = data.load(settings.data, data_dir=data_dir, streaming=streaming)
    check_data(settings, dataset.train.x)
    shape = dataset.sample_shape
    progress = Progress(settings, members, seeds.make_task(settings, dataset, members), shape)
    messages: list[str] = []
    writer = None
    if out is not None:
        run_directory.make(out, settings, members)
        distributed.wait_for_all("run directory made")
        run_directory.check_seen(out)
        writer = checkpoint.Writer(out, settings, shape)
    try:
        if writer is not None:
            messages = progress.restore(writer)
        log = run_directory.Log(out, progress.lines())
        rows = progress.unfinished()
        trainer = progress.trainer(rows, dataset, seeds_at_once, data_devices) if rows else None
        rounds = 0
        while trainer is not None and (todo := progress.unfinished()):
            lines = progress.add(trainer.epoch([row in todo for row in rows]), rows, dataset)
            rounds += 1
            last = not progress.unfinished()
            if writer is not None and (last or rounds % settings.checkpoint_every == 0):
                progress.save(writer, rows, trainer.items())
            if last:
                progress.finish(rows, trainer.items())
            log.append(lines)
            if on_epoch is not None and lines:
                on_epoch(_mean_line(lines))
    finally:
        if writer is not None:
            writer.close()
    assert progress.items is not None
    return Ensemble(
        settings,
        progress.task.model,
        list(members),
        progress.items.weights,
        progress.histories,
        progress.diverged,
        messages,
        progress.versions,
    )


def _check_agreement(started: dict[str, Any]) -> None:
    """Checks that all processes were started alike: each would train seeds of its own kind.

    Raises:
      InputError: they were not; by all of them.
    """
    if jax.process_count() == 1:
        return
    own = json.dumps(started, default=lambda value: getattr(value, "__qualname__", str(value)))
    first, *others = map(json.loads, distributed.of_all(own))
    for i, other in enumerate(others, 1):
        found = config.differences(first, other)
        if found:
            listed = "; ".join(f"{k} is {a!r} and {b!r}" for k, (a, b) in found.items())
            raise InputError(
                f"processes 0 and {i} were not started alike: {listed}. Give all the same options."
            )


def _in_short(members: Sequence[Member]) -> str:
    first, last = members[0].seed, members[-1].seed
    if list(members) == list(map(Member, range(first, last + 1))):
        return f"{first} to {last}"
    return ", ".join(" ".join(f"{k} {v}" for k, v in named(m).items()) for m in members)


def _mean_line(lines: Sequence[dict[str, Any]]) -> dict[str, float]:
    found = {name: float(np.mean([line[name] for line in lines])) for name in METRICS}
    return found | {"epoch": min(line["epoch"] for line in lines), "seeds": len(lines)}
