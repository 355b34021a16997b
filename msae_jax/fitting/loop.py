"""The loop: trains a configuration over seeds, from the start or from where it was killed.

One seed is one member on one device. A member that has stopped early or diverged is frozen while
the others go on; members that are added to a finished run start from nothing while the finished
ones are kept. One checkpoint holds all.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from msae_jax import data
from msae_jax.config import METRICS, TrainConfig
from msae_jax.data import facts
from msae_jax.data.options import expanded
from msae_jax.errors import DivergedError, InputError
from msae_jax.fitting import checks
from msae_jax.fitting.callbacks import (
    Callback,
    Lines,
    Started,
    tell_ended,
    tell_epoch,
    tell_started,
)
from msae_jax.fitting.ensemble import Ensemble, Run
from msae_jax.fitting.initial import initial_weights
from msae_jax.fitting.members import Progress
from msae_jax.fitting.members import as_members as as_members
from msae_jax.fitting.placement import Trainer
from msae_jax.runs import checkpoint, directory
from msae_jax.runs.writer import Writer
from msae_jax.system import distributed
from msae_jax.train import TrainState
from msae_jax.train.member import Member
from msae_jax.train.seeds import make_task

OnEpoch = Callable[[dict[str, Any]], None]


def fit(
    settings: TrainConfig,
    dataset: data.Dataset | None = None,
    *,
    seeds: int | Sequence[int | Member] | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    data_dir: str | Path | None = None,
    orders: np.ndarray | None = None,
    init: Mapping[str, Any] | None = None,
    seeds_at_once: int | None = None,
    data_devices: int = 1,
    on_epoch: OnEpoch | None = None,
    callbacks: Sequence[Callback] = (),
) -> Ensemble | Run:
    """Trains one seed, or many at once.

    Args:
      settings: what to train; see `msae_jax.recipes.recipe` for the published ones.
      dataset: the data, where it is not to be loaded by `settings.data`.
      seeds: how many, from the configuration's on; or which; or members that differ otherwise too.
        None trains the configuration's own seed.
      out: the run directory. Nothing is written without one.
      resume: go on from the newest good checkpoint in `out`, if there is one. The parameters at
        the end are, bit for bit, those of a run that was never interrupted. Seeds that the run does
        not have yet are added to it.
      data_dir: a folder of IDX files, see `msae_jax.data.load`.
      orders: the order of the samples in each epoch, int `[epochs, n]`, instead of the seed's; for
        one seed.
      init: the variables that each seed starts from, float32, instead of its own; of weights in a
        file or a run, see `settings.init_from`.
      seeds_at_once: seeds that train as one batch on a device. By default one on a CPU, and on an
        accelerator as many as its memory holds.
      data_devices: devices that share each batch.
      on_epoch: called with the metrics of each epoch; of many seeds, with their means over those
        that trained.
      callbacks: what else hears of the run; `fitting.callbacks.Callback` says when, and of what.

    Returns:
      A `Run`, or with `seeds` an `Ensemble`. There, a seed that diverges is frozen and reported.

    Raises:
      InputError: `out` holds a run already, or settings, model and data do not fit.
      DivergedError: of one seed, a loss was not finite; checkpoints of the epochs before are kept.
    """

    options: dict[str, Any] = {
        "out": None if out is None else expanded(out),
        "resume": resume,
        "data_dir": data_dir,
        "orders": orders,
        "init": init,
        "seeds_at_once": seeds_at_once,
        "data_devices": data_devices,
        "on_epoch": on_epoch,
        "callbacks": callbacks,
    }
    if seeds is None:
        return fit_one(settings, dataset, **options)
    return fit_many(settings, as_members(settings, seeds), dataset, **options)


def fit_one(
    settings: TrainConfig,
    dataset: data.Dataset | None = None,
    *,
    out: str | Path | None = None,
    on_epoch: OnEpoch | None = None,
    callbacks: Sequence[Callback] = (),
    **options: Any,
) -> Run:
    """Trains the configuration's own seed; see `fit`."""
    if out is not None and len(known := checkpoint.read_members(Path(out))) > 1:
        raise InputError(f"{out} holds a run of {len(known)} seeds: say how many with seeds.")

    def on_lines(lines: list[dict[str, Any]]) -> None:
        if on_epoch is not None:
            on_epoch({name: value for name, value in lines[0].items() if name != "seed"})

    hearers = [Lines(on_lines), *callbacks]
    done = _fit(settings, [Member(settings.seed)], dataset, out, hearers, **options)
    history = done.histories[0]
    if done.diverged:
        kept = f"the weights after epoch {len(history)} are kept in {out}"
        kept = kept if history and out is not None else "no weights are kept"
        raise DivergedError(
            f"{done.diverged[0]}; {kept}. A lower learning rate or clip_norm may help."
        )
    return Run(settings, done.model, done.variables(0), history, done.messages)


def fit_many(
    settings: TrainConfig,
    members: Sequence[Member],
    dataset: data.Dataset | None = None,
    *,
    out: str | Path | None = None,
    on_epoch: OnEpoch | None = None,
    callbacks: Sequence[Callback] = (),
    **options: Any,
) -> Ensemble:
    """Trains members together; see `fit`."""

    def on_lines(lines: list[dict[str, Any]]) -> None:
        if on_epoch is not None:
            means = {name: float(np.mean([line[name] for line in lines])) for name in METRICS}
            epoch = min(line["epoch"] for line in lines)
            on_epoch(means | {"epoch": epoch, "seeds": len(lines)})

    return _fit(settings, members, dataset, out, [Lines(on_lines), *callbacks], **options)


def _fit(
    settings: TrainConfig,
    members: Sequence[Member],
    dataset: data.Dataset | None,
    out: str | Path | None,
    callbacks: Sequence[Callback],
    *,
    resume: bool = False,
    data_dir: str | Path | None = None,
    orders: np.ndarray | None = None,
    init: Mapping[str, Any] | None = None,
    seeds_at_once: int | None = None,
    data_devices: int = 1,
) -> Ensemble:
    """Trains members; see `fit`."""
    checks.check_callbacks(callbacks)
    out = None if out is None else Path(out)
    options = {"seeds_at_once": seeds_at_once, "data_devices": data_devices, "resume": resume}
    checks.check_devices(settings, members, options | {"out": None if out is None else str(out)})
    with contextlib.ExitStack() as stack:
        known: list[Member] = []
        if out is not None:
            stack.enter_context(directory.writing(out))
            distributed.wait_for_all("run directory locked")
            checkpoint.check_may_write(out, settings, resume=resume)
            known = checkpoint.read_members(out)
            members = [*known, *(m for m in members if m not in known)]
            distributed.wait_for_all("run directory checked")
        dataset = _loaded(settings, dataset, data_dir)
        checks.check_orders(settings, dataset.train.x, orders, len(members))
        task = make_task(settings, dataset, members)
        checks.check_range(settings, task, dataset)
        checks.warn_of_precision(settings)
        initial = initial_weights(settings, task, dataset, init)
        if initial is not None and len(known) < len(members):
            initial.of(members)  # or its error, before anything is written
        known_data = None if out is None else facts.of(dataset)
        progress = Progress(settings, members, task, dataset.sample_shape, initial, known_data)
        messages: list[str] = []
        writer = None
        if out is not None:
            if not known:
                progress.shapes(members[:1])  # or the model's error, before anything is written
            directory.make(out, settings, members)
            distributed.wait_for_all("run directory made")
            directory.check_seen(out)
            writer = Writer(out, settings, dataset.sample_shape)
            stack.callback(writer.close)
            messages = _restore(progress, writer, out)
        epochs = tuple(map(len, progress.histories))
        tell_started(callbacks, Started(settings, tuple(members), epochs, out))
        rows = progress.unfinished()
        if rows:
            trainer = progress.trainer(rows, dataset, seeds_at_once, data_devices)
            _train(progress, trainer, rows, orders, writer, directory.Log(out), callbacks)
    done = _finished(progress, messages)
    tell_ended(callbacks, done)
    return done


def _finished(progress: Progress, messages: list[str]) -> Ensemble:
    assert progress.arrays is not None
    return Ensemble(
        progress.settings,
        progress.task.model,
        list(progress.members),
        progress.arrays.weights,
        progress.histories,
        progress.diverged,
        messages,
        progress.versions,
    )


def _loaded(
    settings: TrainConfig, dataset: data.Dataset | None, data_dir: str | Path | None
) -> data.Dataset:
    if dataset is None:
        streaming = settings.pipeline == "streaming"
        return data.load(settings.data, data_dir=data_dir, streaming=streaming)
    checks.check_dataset(dataset)
    return dataset


def _restore(progress: Progress, writer: Writer, out: Path) -> list[str]:
    """Goes on from the newest good checkpoint, if there is one; returns what was damaged.

    Raises:
      InputError: it was trained under another configuration, because `config.json` was changed, or
        on other data.
    """

    def template(content: Mapping[str, Any]) -> TrainState:
        saved = [checkpoint.as_member(entry) for entry in content["members"]]
        return progress.shapes(saved)

    restored = writer.restore(template)
    if restored is None:
        return []
    arrays, saved, messages = restored
    directory.check_same(out, saved.config, progress.settings)
    if saved.facts is not None and progress.facts is not None:
        changed = facts.changed(saved.facts, progress.facts)
        if changed is not None:
            raise InputError(f"{out}: {changed}. Restore them, or train in another --out.")
    progress.restore(arrays, saved)
    directory.Log(out).write(progress.lines())  # whatever became of the file
    return messages


def _train(
    progress: Progress,
    trainer: Trainer,
    rows: Sequence[int],
    orders: np.ndarray | None,
    writer: Writer | None,
    log: directory.Log,
    callbacks: Sequence[Callback],
) -> None:
    """Trains the members at `rows` until all have finished."""
    settings = progress.settings
    log.write(progress.lines())
    rounds = 0
    while unfinished := progress.unfinished():
        order = None if orders is None else orders[len(progress.histories[rows[0]])]
        outcomes = trainer.epoch([row in unfinished for row in rows], order)
        lines = progress.add(outcomes, rows, trainer, order)
        rounds += 1
        last = not progress.unfinished()
        log.check_in_place()
        if writer is not None and (last or rounds % settings.checkpoint_every == 0):
            progress.save(writer, rows, trainer.arrays())
        if last:
            progress.finish(rows, trainer.arrays())
        log.append(lines)
        if lines:
            trained = [row for row in unfinished if row not in progress.diverged]
            held = None if last else trainer.arrays()
            of_row = functools.partial(progress.variables, rows=rows, arrays=held)
            tell_epoch(callbacks, lines, trained, of_row)
    log.write(progress.lines())  # in the order of epochs, however often the run was resumed
