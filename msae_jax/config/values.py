"""A configuration as nested dicts of JSON values, changed field by field, and back."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from msae_jax.config.tree import TrainConfig
from msae_jax.errors import InputError, unknown_name

T = TypeVar("T")


def to_dict(config: Any) -> dict[str, Any]:
    """Returns the configuration as nested dicts of JSON values."""
    return dataclasses.asdict(config)


def from_dict(cls: type[T], values: Mapping[str, Any]) -> T:
    """Builds the configuration class `cls` from nested dicts.

    Raises:
      InputError: a field that `cls` does not have, one that it needs, or a value that it refuses.
    """
    hints = _hints(cls, values)
    needed = [
        f.name
        for f in dataclasses.fields(cls)  # type: ignore[arg-type]
        if f.default is f.default_factory is dataclasses.MISSING and f.name not in values
    ]
    if needed:
        listed = ", ".join(map(repr, needed))
        raise InputError(f"incomplete configuration: {cls.__name__} needs {listed}.")
    return cls(**{name: _field(name, hints[name], value) for name, value in values.items()})


def _hints(cls: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the types of the fields of `cls`, which must have all that `values` names."""
    hints = typing.get_type_hints(cls)
    known = [f.name for f in dataclasses.fields(cls)]
    for name in values:
        if name not in known:
            raise unknown_name(f"field of {cls.__name__}", name, known)
    return hints


def _field(name: str, hint: Any, value: Any) -> Any:
    part = _part(name, hint, value)
    if part is not None:
        return from_dict(part, value)
    if hint is str and not isinstance(value, str):
        raise InputError(f"{name} must be text, got {value!r}.")
    return value


def _part(name: str, hint: Any, value: Any) -> type | None:
    """Returns the class of a field that has fields of its own; None of any other, or of None."""
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    for option in options:
        if dataclasses.is_dataclass(option) and value is not None:
            if not isinstance(value, Mapping):
                raise InputError(f"{name} has fields of its own, set those; got {value!r}.")
            return option  # type: ignore[return-value]
    return None


def dotted(cls: type, values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns some fields of `cls`, given as nested dicts, by dotted name, as `override` has them.

    The values are not checked: others may take their place.

    Raises:
      InputError: a field that `cls` does not have.
    """
    hints = _hints(cls, values)
    found: dict[str, Any] = {}
    for name, value in values.items():
        part = _part(prefix + name, hints[name], value)
        if part is not None:
            found |= dotted(part, value, f"{prefix}{name}.")
        elif isinstance(value, Mapping):
            found |= {f"{prefix}{name}.{key}": each for key, each in value.items()}
        else:
            found[prefix + name] = value
    return found


def differences(a: Mapping[str, Any], b: Mapping[str, Any], prefix: str = "") -> dict[str, tuple]:
    """Returns `{dotted field: (value in a, value in b)}` of every field that differs."""
    found: dict[str, tuple] = {}
    for name in sorted({*a, *b}):
        left, right = a.get(name), b.get(name)
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            found |= differences(left, right, f"{prefix}{name}.")
        elif left != right:
            found[prefix + name] = (left, right)
    return found


def override(settings: TrainConfig, changes: Mapping[str, Any]) -> TrainConfig:
    """Returns `settings` with fields replaced by dotted name, e.g. `optimizer.learning_rate`.

    A name that is no field of `TrainConfig` is an option of the model: `latent_dim` is
    `model.options.latent_dim`. Naming a field of `early_stopping` turns it on.

    Raises:
      InputError: a field that does not exist, or a value that it refuses.
    """
    values = to_dict(settings)
    top = {f.name for f in dataclasses.fields(TrainConfig)}
    for name, value in changes.items():
        first, *rest = name.split(".")
        *parents, leaf = [first, *rest] if first in top else ["model", "options", *name.split(".")]
        node = values
        for parent in parents:
            if not isinstance(node.get(parent), dict):
                node[parent] = {}
            node = node[parent]
        node[leaf] = value
    return from_dict(TrainConfig, values)


def parse_assignment(text: str) -> tuple[str, Any]:
    """Splits `field=value`; the value is JSON where it parses as such, else a string.

    Raises:
      InputError: there is no `=`.
    """
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise InputError(f"expected FIELD=VALUE, got {text!r}.")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value
