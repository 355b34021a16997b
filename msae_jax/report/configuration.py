"""The configuration of what a report is about, beside the recipe of its model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msae_jax.config import TrainConfig
from msae_jax.errors import InputError
from msae_jax.recipes import recipe
from msae_jax.report.gather import Subject, fields
from msae_jax.system.html import Html, element, joined, shown, table

_MARK = "●"


def base_of(settings: TrainConfig) -> TrainConfig | None:
    """Returns the recipe of a model; None where its code would have to run, or is not there."""
    try:
        return recipe(settings.model.name)
    except InputError:
        return None


def section(subjects: Sequence[Subject]) -> Html:
    """Returns a table of all fields, a column a subject, marked where it is not the recipe's."""
    columns = [_column(subject) for subject in subjects]
    listed = list(dict.fromkeys(field for column in columns for field in column))
    rows = [
        [name, *(column.get(name, "") for column in columns)] for name in sorted(listed, key=_place)
    ]
    marked = sum(isinstance(cell, Html) for row in rows for cell in row)
    unknown = [s.name for s in subjects if base_of(s.runs[0].settings) is None]
    told = f"{_MARK} marks what differs from the recipe of the model: {marked} of {len(rows)}."
    if not marked:
        told = "Every value is that of the recipe of the model."
    if unknown:
        names = ", ".join(unknown)
        told += f" The recipe of {names} is not known here: TrainConfig's defaults stand for it."
    head = ["field", *(subject.name for subject in subjects)]
    return joined([element("p", told), table(head, rows)])


def _place(field: str) -> tuple[int, str]:
    first = field.split(".")[0]
    order = ("model", "data", "epochs", "batch_size", "seed", "optimizer", "objective")
    return (order.index(first) if first in order else len(order), "" if "." not in field else field)


def _column(subject: Subject) -> dict[str, Any]:
    """Returns the values of a subject by field; as `Html` where they are not the recipe's."""
    first = subject.runs[0]
    listed = [fields(member.config(run.settings)) for run in subject.runs for member in run.members]
    base = base_of(first.settings) or TrainConfig(model=first.settings.model)
    usual = fields(base)
    found: dict[str, Any] = {}
    for name in dict.fromkeys(name for values in listed for name in values):
        values = list(dict.fromkeys(said(each[name]) for each in listed if name in each))
        here = ", ".join(values)
        if name == "seed":
            found[name] = here if len(values) <= 8 else f"{values[0]} to {values[-1]}"
            continue
        same = len(values) == 1 and name in usual and values[0] == said(usual[name])
        then = f"recipe: {said(usual[name])}" if name in usual else "recipe: the model's default"
        changed = joined([_MARK, " ", here, " ", element("small", f"({then})")])
        found[name] = here if same else element("strong", changed)
    return found


def said(value: Any) -> str:
    """Returns a value of a configuration as people read it."""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(said, value))}]"
    return "none" if value in ({}, "") else shown(value)
