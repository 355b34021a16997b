"""Finding the state dicts in what a PyTorch checkpoint holds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from msae_jax.errors import InputError
from msae_jax.interop.files.storages import MAX_TENSORS, Tensor, Unsupported

WRAPPERS = ("state_dict", "model_state_dict", "model")
MAX_KEY = 1_000
MAX_DEPTH = 5
MAX_VALUES = 100_000
_SHOWN = 20


def find_state_dict(value: object, key: str | None = None) -> tuple[dict[str, Tensor], str]:
    """Returns a state dict in `value`, its keys free of wrappers' prefixes, and the names left out.

    Args:
      key: where it is (`state_dicts`), or several places divided by commas, to be read as one.

    Raises:
      InputError: there is none, several and no `key`, or tensors that are no arrays of numbers.
    """
    found = state_dicts(value)
    where = _chosen(found, value) if key is None else _named(found, key)
    state: dict[str, Any] = {}
    for place in where:
        prefix = f"{place.rpartition('.')[2]}." if len(where) > 1 else ""
        state |= {f"{prefix}{name}": item for name, item in found[place].items()}
    if type(state.get("_metadata")) is dict:  # an attribute that some tools save as an item
        del state["_metadata"]
    unsupported = [
        f"{_shown(name)} ({kind})"
        for name, item in state.items()
        if (kind := _unsupported(item)) is not None
    ]
    if unsupported:
        raise InputError(
            f"has tensors that are no arrays of numbers: {_list(unsupported)}. In PyTorch, "
            "replace them by dense ones (dequantize(), to_dense()), or save the model that they "
            "were made from."
        )
    tensors = {name: item for name, item in state.items() if type(item) is Tensor}
    if len(tensors) > MAX_TENSORS or max(map(len, tensors)) > MAX_KEY:
        raise ValueError(f"more than {MAX_TENSORS} tensors or keys above {MAX_KEY} characters")
    left_out = [_shown(name) for name in state if name not in tensors]
    return _without_prefixes(tensors, value), _list(left_out)


def state_dicts(value: object) -> dict[str, dict[str, Any]]:
    """Returns what holds tensors in `value`, by its place: keys and positions joined by dots.

    It is the dicts, lists and tuples with tensors in them; the place of the whole is "". The states
    of optimizers are left out, and so are lists and tuples that are a value beside tensors. Items
    of lists are named by their positions.

    Raises:
      ValueError: there are more than `MAX_VALUES` values in them.
    """
    found = {}
    for place, items in _containers(value):
        if any(type(item) in (Tensor, Unsupported) for item in items.values()):
            found[place] = items
    return found


def is_optimizer(value: object) -> bool:
    """Whether `value` is the state of an optimizer, as its `state_dict()` has it."""
    return type(value) is dict and {"state", "param_groups"} <= value.keys()


def optimizers(value: object, place: str = "", depth: int = MAX_DEPTH) -> dict[str, dict]:
    """Returns the states of optimizers in `value`, by their places (`state_dicts`)."""
    if is_optimizer(value):
        assert isinstance(value, dict)
        return {place: value}
    found: dict[str, dict] = {}
    for name, item in items_of(value).items() if depth else ():
        if type(item) in (dict, list, tuple):
            found |= optimizers(item, f"{place}.{name}" if place else name, depth - 1)
    return found


def items_of(value: object) -> dict[str, Any]:
    """Returns the items of a dict, list or tuple by name; of anything else, none."""
    if type(value) is dict:
        named = {str(key): item for key, item in value.items() if type(key) in (str, int)}
        unnamed = [key for key in value if type(key) not in (str, int)]
        if unnamed or len(named) < len(value):
            named["(a key that is no string)"] = None
        return named
    if isinstance(value, list | tuple):
        return {str(index): item for index, item in enumerate(value)}
    return {}


def _containers(value: object) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields the items of each dict, list and tuple, by its place, the outer ones first."""
    level, seen = [("", value)], 0
    for _ in range(MAX_DEPTH):
        deeper = []
        for place, outer in level:
            if is_optimizer(outer):
                continue
            items = items_of(outer)
            seen += len(items)
            if seen > MAX_VALUES:
                raise ValueError(f"it holds more than {MAX_VALUES} values")
            if items:
                yield place, items
            beside_tensors = any(type(item) is Tensor for item in items.values())
            inner = (dict,) if beside_tensors else (dict, list, tuple)
            deeper += [
                (f"{place}.{name}" if place else name, item)
                for name, item in items.items()
                if type(item) in inner
            ]
        level = deeper


def _unsupported(item: object) -> str | None:
    """Returns what kind of tensor, in an item of a state dict, is no array of numbers, if any."""
    if type(item) in (list, tuple):
        kinds = (inner.kind for inner in items_of(item).values() if type(inner) is Unsupported)
        return next(kinds, None)
    return item.kind if type(item) is Unsupported else None


def _chosen(found: Mapping[str, dict], value: object) -> list[str]:
    """Returns the place of the one state dict that can be meant."""
    usual = [place for place in found if place and set(place.split(".")) <= set(WRAPPERS)]
    places = usual or list(found)
    if len(places) == 1:
        return places
    if not places:
        if type(value) is Tensor:
            shape = list(value.shape)
            raise InputError(f"holds one tensor {shape} without a name, not a state dict.")
        if value == {}:
            raise InputError("holds an empty state dict, that of a module without parameters.")
        top = [_shown(name) for name in items_of(value)]
        raise InputError(
            f"should hold a state dict, and holds no tensors by name. Its top-level keys: "
            f"{_list(top) or 'none'}."
        )
    raise InputError(f"holds several state dicts: {_places(found)}. Say which with {_OPTION}")


_OPTION = "--key PLACE (key= in Python), or --key PLACE,PLACE to read several as one."


def _named(found: Mapping[str, dict], key: str) -> list[str]:
    """Returns the places that the user names, which must be there."""
    where = key.split(",")
    missing = [place for place in where if place not in found]
    if missing:
        raise InputError(
            f"has no state dict at {_list(map(_shown, missing))}; it holds: {_places(found)}."
        )
    return where


def _places(found: Mapping[str, dict]) -> str:
    counts = (
        (place, sum(type(item) is Tensor for item in items.values()))
        for place, items in found.items()
    )
    return _list(f"{_shown(place) or 'the top level'} ({n} tensors)" for place, n in counts)


def _without_prefixes(tensors: Mapping[str, Tensor], value: object) -> dict[str, Tensor]:
    prefixes = ["module."]
    if type(value) is dict and "pytorch-lightning_version" in value:
        prefixes.append("model.")
    keys = [re.sub(r"(^|\.)_orig_mod\.", r"\1", key) for key in tensors]
    while prefix := next((p for p in prefixes if all(key.startswith(p) for key in keys)), ""):
        keys = [key.removeprefix(prefix) for key in keys]
    if len(set(keys)) != len(keys):
        raise InputError("has keys that differ only in `_orig_mod.`, which torch.compile adds.")
    return dict(zip(keys, tensors.values(), strict=True))


def _shown(name: str) -> str:
    return ascii(name[:60])[1:-1]


def _list(names: Any) -> str:
    names = list(names)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
