"""The JSON values of a checkpoint, held against what is read of them.

Their digest says that they are as they were written, not that it was this library that wrote them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from msae_jax import config
from msae_jax.config import TrainConfig
from msae_jax.data.facts import Facts
from msae_jax.train.seeds import Member

_MEMBER = [*(field.name for field in fields(Member)), "diverged"]


def check(content: Mapping[str, Any]) -> None:
    """Checks that all values are there and have the types that are read.

    Raises:
      ValueError, LookupError, TypeError: they have not.
    """
    config.from_dict(TrainConfig, content["config"])
    members = content["members"]
    _expect("members", isinstance(members, list) and members and all(map(_is_member, members)))
    shape, columns = content["sample_shape"], content["columns"]
    _expect("sample_shape", isinstance(shape, list) and shape and all(map(_is_count, shape)))
    _expect("columns", _are_texts(columns) and "epoch" in columns)
    _expect("columns", len(set(columns)) == len(columns))
    _expect("score", content["score"] is None or _is_number(content["score"]))
    for name in ("versions", "digests", "initial"):
        named = content.get(name, {}) if name == "initial" else content[name]
        _expect(name, isinstance(named, dict) and _are_texts([*named, *named.values()]))
    at_once = content.get("seeds_per_batch", content.get("at_once"))
    _expect("seeds_per_batch", at_once is None or _is_count(at_once))
    if content.get("facts"):
        Facts.from_dict(content["facts"])


def _is_member(entry: Any) -> bool:
    numbers = [entry["learning_rate"], entry["beta"]]
    return (
        sorted(entry) == sorted(_MEMBER)
        and type(entry["seed"]) is int
        and all(number is None or _is_number(number) for number in numbers)
        and isinstance(entry["diverged"], str | None)
        and bool(Member(entry["seed"], entry["vary"]))  # or its error
    )


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 < value < 2**31


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def _are_texts(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)


def _expect(name: str, condition: Any) -> None:
    if not condition:
        raise ValueError(f"its {name!r} is not what a checkpoint holds")
