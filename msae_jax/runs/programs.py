"""The copy that a run keeps of the `.pt2` program that is its model.

Where a run directory is opened, its model is this copy, whatever path its configuration has: the
run can be moved, and no file beside it is read.
"""

from __future__ import annotations

import filecmp
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from msae_jax.config import TrainConfig
from msae_jax.system.files import replacing
from msae_jax.system.names import is_program

PROGRAM = "model.pt2"


def keep(run: Path, settings: TrainConfig) -> None:
    """Copies the program of a configuration into its run directory, if its model is one."""
    name = settings.model.name
    if is_program(name) and not is_kept(run, name):
        with replacing(run / PROGRAM, overwrite=True) as temporary:
            shutil.copyfile(name, temporary)


def is_kept(run: Path, name: str) -> bool:
    """Whether the program at a path is the one that a run has."""
    own, other = run / PROGRAM, Path(name)
    return own.is_file() and other.is_file() and filecmp.cmp(own, other, shallow=False)


def of_run(run: Path, settings: TrainConfig) -> TrainConfig:
    """Returns a configuration with a run's own copy as its model, if its model is a program."""
    if not is_program(settings.model.name):
        return settings
    return replace(settings, model=replace(settings.model, name=str(run / PROGRAM)))


def of_record(run: Path, values: Mapping[str, Any]) -> dict[str, Any]:
    """`of_run` of a configuration as nested dicts."""
    model = values.get("model")
    if not isinstance(model, Mapping) or not is_program(str(model.get("name"))):
        return dict(values)
    return {**values, "model": {**model, "name": str(run / PROGRAM)}}
