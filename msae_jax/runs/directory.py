"""The files of a run beside its checkpoints: `config.json`, `seeds.json`, `metrics.jsonl`.

`seeds.json` lists the members of the run and holds a digest of itself and of `config.json`. Where
one of them is damaged, what a checkpoint says under its own digest counts instead
(`checkpoint.read_config`, `checkpoint.read_members`). `metrics.jsonl` has a line an epoch of a
member, and is written anew from the checkpoint when a run goes on. Where several processes run
together, the first one writes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import filelock

from msae_jax import config
from msae_jax.config import TrainConfig
from msae_jax.data import catalog
from msae_jax.errors import InputError
from msae_jax.runs import programs
from msae_jax.system import distributed, names
from msae_jax.system.files import replacing
from msae_jax.train.seeds import Member

CONFIG, SEEDS, METRICS, LOCK = "config.json", "seeds.json", "metrics.jsonl", ".lock"

PATIENCE = 20.0
"""Seconds until a process that does not see the run directory of process 0 gives up. Processes on
CPUs wait 30 seconds for one that does not come."""


@contextlib.contextmanager
def writing(out: Path) -> Iterator[None]:
    """Makes this process the only one that writes to the run directory `out`, and makes the folder.

    The system ends the lock of a process that dies. Where nothing has been written when an error
    leaves the block, the folders that were made go again.

    Raises:
      InputError: `out` is a file, or another process writes to it.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file: a run needs a directory.")
    if not distributed.is_main():
        yield
        return
    made = [folder for folder in (out, *out.parents) if not folder.exists()]
    out.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(out / LOCK)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise InputError(
            f"another process is writing to {out}: wait until it ends, or choose another --out."
        ) from None
    try:
        yield
    finally:
        if not (out / CONFIG).exists():
            (out / LOCK).unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # something else is in there by now
                for folder in made:
                    folder.rmdir()
        lock.release()


def check_empty(out: Path, *, resume: bool) -> None:
    """Checks that there is nothing in `out` beside the lock, or that a run in it is to go on.

    Raises:
      InputError: there is.
    """
    if not resume and any(path.name != LOCK for path in out.iterdir()):
        raise InputError(
            f"{out} is not empty: choose another --out, or --resume to go on with its run."
        )


def check_same(where: Path, saved: Mapping[str, Any], settings: TrainConfig) -> None:
    """Checks that training under `settings` goes on with what was trained under `saved`.

    Raises:
      InputError: it would be another training; all differences are listed.
    """
    # fields that `saved` lacks have their defaults
    before = programs.of_run(where, config.from_dict(TrainConfig, saved))
    if programs.is_kept(where, settings.model.name):
        settings = programs.of_run(where, settings)
    changed = config.differences(*(json.loads(_as_json(each)) for each in (before, settings)))
    changed.pop("checkpoint_every", None)  # the same training
    if settings.optimizer.schedule == "constant":
        changed.pop("epochs", None)  # more epochs of the same run; a schedule would change shape
    if changed:
        listed = "; ".join(f"{k} was {a!r}, is {b!r}" for k, (a, b) in changed.items())
        raise InputError(f"{where} holds another run and cannot be resumed so: {listed}.")


def make(out: Path, settings: TrainConfig, members: Sequence[Member]) -> None:
    """Writes the configuration and the members of a run."""
    if distributed.is_main():
        programs.keep(out, settings)
        text = _as_json(settings) + "\n"
        listed = [asdict(member) for member in members]
        content = {"members": listed, "sha256": _digest(listed, text.encode())}
        _write(out / SEEDS, json.dumps(content, indent=1) + "\n")
        _write(out / CONFIG, text)


def check_seen(out: Path) -> None:
    """Checks that this process sees a run where the first one has made it.

    Raises:
      InputError: it does not after `PATIENCE` seconds, which a network's file system may take.
    """
    end = time.monotonic() + PATIENCE
    while not (out / CONFIG).exists():
        for folder in (out.parent, out):
            with contextlib.suppress(OSError):
                os.listdir(folder)  # a network's file system looks again
        if time.monotonic() > end:
            raise InputError(
                f"{out} is not the directory that process 0 made: --out must name one that all "
                "processes see."
            )
        time.sleep(0.1)


def read_config(run: Path, named: Collection[str | None] = ()) -> TrainConfig:
    """Reads `config.json` as it is; see `opened_config`, and `checkpoint.read_config`.

    Raises:
      InputError: it is not there, or not a configuration.
    """
    path = run / CONFIG
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{run} is not a run directory: it has no {CONFIG}.") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not a configuration: {error}.") from error
    if not isinstance(values, dict):
        raise InputError(f"{path} is not a configuration: it holds {type(values).__name__}.")
    try:
        return opened_config(programs.of_record(run, values), named)
    except (TypeError, InputError) as error:
        raise InputError(f"{path} is not a configuration: {error}") from error


def opened_config(values: Mapping[str, Any], named: Collection[str | None] = ()) -> TrainConfig:
    """Returns the configuration that a run holds, with the names of foreign code marked.

    To use a marked name is an error: its code runs only where the user names it in the same call
    (`msae_jax.system.names`).

    Args:
      named: the models, data sets and likelihoods that the user names in this call.
    """
    read = config.from_dict(TrainConfig, values)
    data = read.data
    likelihood = names.from_file("likelihood", read.objective.likelihood, named)
    return replace(
        read,
        model=replace(read.model, name=names.from_file("model", read.model.name, named)),
        data=names.from_file("data set", data, named) if catalog.names_code(data) else data,
        objective=replace(read.objective, likelihood=likelihood),
    )


def check_named(settings: TrainConfig) -> None:
    """Checks that the user names all foreign code that training or evaluation needs.

    Raises:
      InputError: a file alone does; the error lists all that is to be named.
    """
    names.check_named(
        {
            "model": settings.model.name,
            "data set": settings.data,
            "likelihood": settings.objective.likelihood,
        }
    )


def is_as_written(run: Path) -> bool:
    """Whether `config.json` is the one that `seeds.json` holds a digest of."""
    try:
        content = json.loads((run / SEEDS).read_text(encoding="utf-8"))
        expected = content["sha256"]
        return bool(_digest(content["members"], (run / CONFIG).read_bytes()) == expected)
    except (OSError, ValueError, RecursionError, LookupError, TypeError):
        return False  # of format 1, or damaged itself


def differs(run: Path, content: Mapping[str, Any]) -> str | None:
    """Returns how the record of a checkpoint differs from the run that it lies in, or None.

    Nothing is said where `config.json` is not as it was written, or of format 1.
    """
    if not is_as_written(run):
        return None
    try:
        held = config.from_dict(TrainConfig, programs.of_record(run, content["config"]))
        both = held, read_config(run)
    except (InputError, TypeError) as error:
        return str(error)
    # as JSON; fields that one of them lacks have their defaults
    changed = config.differences(*(json.loads(_as_json(each)) for each in both))
    changed.pop("epochs", None)  # more of them may have been asked for since
    changed.pop("checkpoint_every", None)
    return "; ".join(f"{k} is {a!r}, the run's {b!r}" for k, (a, b) in changed.items()) or None


def read_members(run: Path) -> list[Member]:
    """Reads `seeds.json` of a run that has no checkpoint yet.

    Raises:
      InputError: it is damaged, or `config.json` is not the one that it was written with.
    """
    path = run / SEEDS
    if not path.exists():  # of format 1: a run of one seed
        return [Member(read_config(run).seed)]
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        listed = content if isinstance(content, list) else content["members"]  # of format 1
        members = [Member(**entry) for entry in listed]
    except (ValueError, RecursionError, LookupError, TypeError) as error:
        raise InputError(f"{path} does not list members: {error}.") from error
    if not isinstance(content, list) and not is_as_written(run):
        raise InputError(
            f"{path} and {CONFIG} are not as they were written, and there is no checkpoint to tell "
            "what was meant: start the run again in another --out."
        )
    return members


def _as_json(settings: TrainConfig) -> str:
    return json.dumps(config.to_dict(settings), indent=2)


def _digest(members: Any, settings: bytes) -> str:
    return hashlib.sha256(json.dumps(members).encode() + settings).hexdigest()


def _write(path: Path, text: str) -> None:
    with replacing(path, overwrite=True) as temporary:
        temporary.write_text(text, encoding="utf-8")


class Log:
    """`metrics.jsonl` of a run directory; nothing is written without one."""

    def __init__(self, out: Path | None) -> None:
        self._out = out if out is not None and distributed.is_main() else None
        self._inode = None if self._out is None else self._out.stat().st_ino

    def check_in_place(self) -> None:
        """Checks that the directory is where the run began: it would be split in two.

        Raises:
          InputError: it was moved or deleted.
        """
        if self._out is not None:
            inode = self._out.stat().st_ino if self._out.exists() else None
            if inode != self._inode:
                raise InputError(
                    f"{self._out} was moved or deleted while it trained: where it is now, --resume "
                    "goes on from its last checkpoint."
                )

    def write(self, lines: Sequence[dict[str, Any]]) -> None:
        """Replaces the whole file."""
        if self._out is not None:
            _write(self._out / METRICS, "".join(json.dumps(line) + "\n" for line in lines))

    def append(self, lines: Sequence[dict[str, Any]]) -> None:
        if self._out is not None:
            with (self._out / METRICS).open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(line) + "\n" for line in lines)
