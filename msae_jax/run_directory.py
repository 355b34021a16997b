"""The files of a run beside its checkpoints: `config.json`, `metrics.jsonl`, `seeds.json`.

`seeds.json` lists the members of a run of many seeds; the run of one has none. Where several
processes run together, the first one writes.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from msae_jax import config, distributed
from msae_jax.config import TrainConfig
from msae_jax.errors import InputError
from msae_jax.files import replacing
from msae_jax.seeds import Member

_MEMBERS = "seeds.json"

PATIENCE = 20.0
"""Seconds; the others, where they are CPUs, wait 30 for one that does not come."""


def check(out: Path, settings: TrainConfig, *, resume: bool, many: bool) -> None:
    """Checks that a run may be written to `out`, or that the one in it may go on.

    Raises:
      InputError: it may not.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file: a run needs a directory.")
    if not out.is_dir() or not any(out.iterdir()):
        return
    if not resume:
        raise InputError(
            f"{out} is not empty: choose another --out, or --resume to go on with its run."
        )
    if (out / "config.json").exists():
        _check_same_run(out, settings)
    if many != (out / _MEMBERS).exists() and (not many or (out / "config.json").exists()):
        kinds = ("one seed", "many seeds")
        raise InputError(
            f"{out} holds a run of {kinds[not many]} and cannot go on as one of {kinds[many]}: "
            "choose another --out."
        )


def make(out: Path, settings: TrainConfig, members: Sequence[Member] | None = None) -> None:
    """Makes the directory with its configuration and, of many, its members."""
    if not distributed.is_main():
        return
    out.mkdir(parents=True, exist_ok=True)
    if members is not None:
        content = json.dumps([asdict(member) for member in members], indent=1)
        _write(out / _MEMBERS, content + "\n")
    _write(out / "config.json", json.dumps(config.to_dict(settings), indent=2) + "\n")


def check_seen(out: Path) -> None:
    """Checks that this process sees a run where the first one has made it.

    Raises:
      InputError: it does not after `PATIENCE` seconds, which a network's file system may take.
    """
    end = time.monotonic() + PATIENCE
    while not (out / "config.json").exists():
        for folder in (out.parent, out):
            with contextlib.suppress(OSError):
                os.listdir(folder)  # a network's file system looks again
        if time.monotonic() > end:
            raise InputError(
                f"{out} is not the directory that process 0 made: --out must name one that all "
                "processes see."
            )
        time.sleep(0.1)


def read_config(run: Path) -> TrainConfig:
    """Reads the configuration of a run directory.

    Raises:
      InputError: it is not there, or not a configuration.
    """
    path = run / "config.json"
    try:
        return config.from_dict(TrainConfig, json.loads(path.read_text()))
    except FileNotFoundError:
        raise InputError(f"{run} is not a run directory: it has no config.json.") from None
    except (json.JSONDecodeError, TypeError) as error:
        raise InputError(f"{path} is not a configuration: {error}.") from error


def read_members(run: Path) -> list[Member] | None:
    """Reads the members of a run directory; None where it is the run of one seed.

    Raises:
      InputError: the file is damaged.
    """
    path = run / _MEMBERS
    try:
        return [Member(**entry) for entry in json.loads(path.read_text())]
    except FileNotFoundError:
        return None
    except (json.JSONDecodeError, TypeError) as error:
        raise InputError(f"{path} does not list members: {error}.") from error


def _check_same_run(out: Path, settings: TrainConfig) -> None:
    saved, wanted = (
        json.loads(json.dumps(config.to_dict(c))) for c in (read_config(out), settings)
    )
    changed = config.differences(saved, wanted)
    changed.pop("checkpoint_every", None)  # the same training
    if settings.optimizer.schedule == "constant":
        changed.pop("epochs", None)  # more epochs of the same run; a schedule would change shape
    if changed:
        listed = "; ".join(f"{k} was {a!r}, is {b!r}" for k, (a, b) in changed.items())
        raise InputError(f"{out} holds another run and cannot be resumed so: {listed}.")


def _write(path: Path, text: str) -> None:
    with replacing(path, overwrite=True) as temporary:
        temporary.write_text(text)


class Log:
    """`metrics.jsonl` of a run directory, begun anew from what the restored checkpoint knows."""

    def __init__(self, out: Path | None, lines: Sequence[dict[str, Any]]) -> None:
        self._path = None
        if out is not None and distributed.is_main():
            self._path = out / "metrics.jsonl"
            _write(self._path, "".join(json.dumps(line) + "\n" for line in lines))

    def append(self, lines: Sequence[dict[str, Any]]) -> None:
        if self._path is not None:
            with self._path.open("a") as file:
                file.writelines(json.dumps(line) + "\n" for line in lines)
