"""What the dataclasses of a configuration check their values with; each raises an InputError."""

from __future__ import annotations

from collections.abc import Collection

from msae_jax.errors import InputError, unknown_name


def choice(where: str, value: str, choices: Collection[str]) -> None:
    if value not in choices:
        raise unknown_name(where, value, choices)


def at_least(where: str, value: float, low: float, *, exclusive: bool = False) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not (value > low if exclusive else value >= low):
        bound = f"greater than {low}" if exclusive else f"at least {low}"
        raise InputError(f"{where} must be {bound}, got {value!r}.")


def whole(where: str, value: int, low: int) -> None:
    if type(value) is not int or value < low:
        raise InputError(f"{where} must be a whole number, at least {low}, got {value!r}.")
