"""Names of models, likelihoods, data sets and studies: registered ones, and `package.module:name`.

A registered name stands for what `register` was given. `package.module:name` is an object of the
user's own, which is imported. A file, such as the configuration in a run directory, may hold such a
name too, and its author may be a stranger: `from_file` marks it, and a marked name is never
imported. What the user types in the call takes its place.
"""

from __future__ import annotations

import importlib
from collections.abc import Collection, Mapping, MutableMapping
from typing import Any, TypeVar

from msae_jax.errors import InputError, unknown_name

T = TypeVar("T")

_OPTIONS = {"model": "--model", "data set": "--data", "likelihood": "--likelihood"}
_IN_PYTHON = {
    "model": "model={!r}",
    "data set": "data.load({!r})",
    "likelihood": "Objective({!r})",
}


class FromFile(str):
    """A `package.module:name` that was read from a file: equal to its text, but not imported."""

    __slots__ = ()


def is_own(name: str) -> bool:
    """Whether `name` is a `package.module:name`."""
    return ":" in name


def is_program(name: str) -> bool:
    """Whether `name` is the path of a program of PyTorch's, which is a model by itself."""
    return name.endswith(".pt2")


def from_file(kind: str, name: str, named: Collection[str | None] = ()) -> str:
    """Returns a name that a file holds, marked where its import could run a stranger's code.

    The models and likelihoods inside this package need no mark: they are classes and records that
    are looked up. A data set is a function that is called, so that each of those is marked.

    Args:
      named: the names that the user gives in this call; those are not marked.
    """
    ours = kind != "data set" and name.startswith("msae_jax.")
    plain = not is_own(name) or is_program(name)  # a program is data, whatever its path
    return name if plain or ours or name in named else FromFile(name)


def check_named(by_kind: Mapping[str, str]) -> None:
    """Checks that no name is marked (`from_file`): no file alone may name code that runs.

    Args:
      by_kind: names by their kind: `model`, `data set`, `likelihood`.

    Raises:
      InputError: one is marked; the error says what to add to the call.
    """
    marked = {kind: str(name) for kind, name in by_kind.items() if isinstance(name, FromFile)}
    if marked:
        listed = ", ".join(f"the {kind} {name!r}" for kind, name in marked.items())
        options = " ".join(f"{_OPTIONS[kind]} {name}" for kind, name in marked.items())
        calls = ", ".join(_IN_PYTHON[kind].format(name) for kind, name in marked.items())
        raise InputError(
            f"the run names {listed}: such code runs only if you name it, too. If you trust it, "
            f"add {options} (in Python: {calls})."
        )


def find(kind: str, name: str, known: Mapping[str, T]) -> T | Any:
    """Returns what a name stands for: the registered object, or the one that is imported.

    Args:
      kind: what the errors call it, such as `model`.
      known: the registered objects by name.

    Raises:
      InputError: the name is not registered, cannot be imported, or comes from a file.
    """
    if not is_own(name):
        if name not in known:
            raise unknown_name(kind, name, known)
        return known[name]
    check_named({kind: name})
    module_name, _, attribute = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # a module of the user's can raise anything
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"cannot import {kind} {name!r}: {reason}.") from error
    try:
        return getattr(module, attribute)
    except AttributeError:
        raise InputError(
            f"cannot import {kind} {name!r}: the module {module_name!r} has no {attribute!r}."
        ) from None


def wrong_kind(kind: str, name: str, found: Any, expected: str) -> InputError:
    """Returns the error for a name that stands for something else."""
    return InputError(f"{kind} {name!r} is of type {type(found).__name__}, expected {expected}.")


def add(kind: str, name: str, value: T, known: MutableMapping[str, T]) -> None:
    """Registers `value` by a name.

    Raises:
      InputError: the name is taken, or holds a colon.
    """
    if name in known:
        raise InputError(f"a {kind} named {name!r} exists already; choose another name.")
    if is_own(name):
        raise InputError(f"a registered name has no colon, got {name!r}.")
    known[name] = value
