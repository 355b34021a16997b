"""A configuration that the user gives as a file: TOML or JSON, or a run's own `config.json`."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msae_jax import config, recipes
from msae_jax.config import TrainConfig
from msae_jax.errors import InputError
from msae_jax.runs import directory
from msae_jax.system import names

_READERS = {".toml": tomllib.loads, ".json": json.loads}


def run_of(path: Path) -> Path | None:
    """Returns the run directory whose own `config.json` this is; None of any other file."""
    own = path.name == directory.CONFIG and (path.parent / directory.SEEDS).is_file()
    return path.parent if own else None


def read(path: Path, model: str | None, changes: Mapping[str, Any]) -> TrainConfig:
    """Returns the configuration that a file describes; its tables are the parts of `TrainConfig`.

    What it leaves out follows the recipe of its model.

    Args:
      model: of the command line, instead of the file's.
      changes: of the command line, by dotted field; they win over the file.

    Raises:
      InputError: the file cannot be read, names a field that does not exist or a value that it
        refuses, or names code of somebody's that the command line does not name, too.
    """
    told = _fields(path)
    name = told.pop("model.name", None)
    if not isinstance(name, str | None):
        raise InputError(f"{path}: model.name must be text, got {name!r}.")
    given = [model, changes.get("data"), changes.get("objective.likelihood")]
    chosen = model or names.from_file("model", name or "msae", given)
    try:
        settings = config.override(recipes.recipe(chosen), {**told, **changes})
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return directory.opened_config(config.to_dict(settings), given)


def _fields(path: Path) -> dict[str, Any]:
    """Returns what the file says by dotted field."""
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"{path}: expected a configuration in a .toml or .json file.")
    try:
        values = reader(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not {path.suffix[1:].upper()}: {error}.") from error
    if not isinstance(values, dict):
        raise InputError(
            f"{path}: expected the fields of a configuration, got {type(values).__name__}."
        )
    try:
        return config.dotted(TrainConfig, values)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
