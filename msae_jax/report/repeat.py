"""How to train again what a report is about: a command line, or Python where none says it."""

from __future__ import annotations

import json
import pprint
import shlex
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from msae_jax import config
from msae_jax.config import TrainConfig, parse_assignment
from msae_jax.errors import InputError
from msae_jax.fitting import sweep
from msae_jax.fitting.loop import as_members
from msae_jax.report.configuration import base_of
from msae_jax.report.gather import Subject, fields
from msae_jax.train.seeds import Member

_FLAGS = {
    "data": "--data",
    "epochs": "--epochs",
    "batch_size": "--batch-size",
    "seed": "--seed",
    "optimizer.learning_rate": "--learning-rate",
}


def how(subject: Subject) -> str:
    """Returns a command line that trains the same, or Python code, which always can.

    The command is checked: what it says, put through what reads it, is the configuration again.
    """
    out = f"{subject.path.resolve().name}-again"
    first = subject.runs[0]
    written = assignments(first.settings)
    seeds = None if written is None else _seeds(subject)
    if written is None or seeds is None:
        return _python(subject, out)
    words = ["msae", "train", "--model", str(first.settings.model.name), *written, *seeds]
    if len(first.members) > 1 and first.checkpoint and first.checkpoint.seeds_per_batch:
        words += ["--seeds-at-once", str(first.checkpoint.seeds_per_batch)]
    return shlex.join([*words, "--out", out])


def assignments(settings: TrainConfig) -> list[str] | None:
    """Returns the options that make a configuration of the recipe of its model.

    Where the recipe is not known every field is given. None where options cannot say it.
    """
    base = base_of(settings)
    usual = {} if base is None else fields(base)
    start = TrainConfig(replace(settings.model, options={})) if base is None else base
    wanted = fields(settings)
    changes = {name: value for name, value in wanted.items() if usual.get(name, ...) != value}
    changes.pop("model.name", None)
    gone = [name for name in usual if name.startswith("model.options.") and name not in wanted]
    if base is None or gone:  # what a recipe may have beside them goes
        changes = {k: v for k, v in changes.items() if not k.startswith("model.options")}
        changes["model.options"] = dict(settings.model.options)
    elif changes.get("model.options") == {}:
        del changes["model.options"]
    words: list[str] = []
    read: dict[str, Any] = {}
    for name, value in changes.items():
        if name in _FLAGS:
            read[name] = value
            words += [_FLAGS[name], str(value) if isinstance(value, str) else json.dumps(value)]
            continue
        text = f"{_short(name)}={_as_text(value)}"
        field, found = parse_assignment(text)
        read[field] = found
        words += ["--set", text]
    try:
        same = config.override(start, read) == settings
    except InputError:
        return None
    return words if same else None


def _short(name: str) -> str:
    """Returns a field as users write it: an option of the model by its own name."""
    own = name.removeprefix("model.options.")
    return own if own != name and own not in config.to_dict(TrainConfig()) else name


def _as_text(value: Any) -> str:
    """Returns a value as `config.parse_assignment` reads it."""
    if isinstance(value, str):
        plain = parse_assignment(f"x={value}")[1]
        return str(value) if plain == value else json.dumps(value)
    return json.dumps(value)


def _seeds(subject: Subject) -> list[str] | None:
    """Returns the options for the members of all runs, or None where there are none."""
    settings, members = subject.runs[0].settings, subject.runs[0].members
    count = len({member.seed for member in members})
    plain = as_members(settings, count)
    if len(subject.runs) == 1 and members == plain:
        return [] if len(members) == 1 else ["--seeds", str(count)]
    sources = list(dict.fromkeys(member.vary for member in members))
    varied = [replace(member, vary=source) for source in sources for member in plain]
    if len(subject.runs) == 1 and members == varied:
        return ["--vary", ",".join(sources), "--seeds", str(count)]
    axes = {axis.removeprefix("model.options."): values for axis, values in _grid(subject).items()}
    try:
        groups = sweep.groups(settings, axes, count)
    except InputError:
        return None
    if not axes or _trained((g.settings, g.members) for g in groups) != _trained(
        (run.settings, run.members) for run in subject.runs
    ):
        return None
    listed = [f"{name}={_values(values)}" for name, values in axes.items()]
    if any(sweep.parse_axes([text]) != {text.partition("=")[0]: v}
           for text, v in zip(listed, axes.values(), strict=True)):  # fmt: skip
        return None
    return [word for text in listed for word in ("--sweep", text)] + ["--seeds", str(count)]


def _grid(subject: Subject) -> dict[str, list[Any]]:
    """Returns the values of each axis, in the order in which they are met."""
    every = [fields(member.config(run.settings)) for run in subject.runs for member in run.members]
    found: dict[str, list[Any]] = {}
    for axis in subject.axes:
        listed: list[Any] = []
        for values in every:
            value = values.get(axis)
            if value not in listed:
                listed.append(list(value) if isinstance(value, tuple) else value)
        found[axis] = listed
    return found


def _values(values: Sequence[Any]) -> str:
    text = json.dumps(list(values), separators=(",", ":"))
    return text if isinstance(values[0], list) else text[1:-1]


def _trained(groups: Any) -> set[str]:
    """Returns what is trained as texts that can be held against each other, in any order."""
    return {
        json.dumps(config.to_dict(member.config(settings)), sort_keys=True) + member.vary
        for settings, members in groups
        for member in members
    }


def _python(subject: Subject, out: str) -> str:
    """Returns Python code that trains every run of a subject."""
    lines = [
        "import msae_jax as mj",
        "from msae_jax.config import TrainConfig, from_dict",
        "from msae_jax.train.member import Member",
    ]
    for run in subject.runs:
        values = pprint.pformat(_plain(config.to_dict(run.settings)), sort_dicts=False, width=80)
        members = ", ".join(map(_member, run.members))
        where = out if len(subject.runs) == 1 else f"{out}/{run.path.name}"
        at_once = run.checkpoint.seeds_per_batch if run.checkpoint else None
        more = f", seeds_at_once={at_once}" if at_once and len(run.members) > 1 else ""
        lines += [
            "",
            f"settings = from_dict(TrainConfig, {values})",
            f"members = [{members}]",
            f"mj.fit(settings, seeds=members, out={where!r}{more})",
        ]
    return "\n".join(lines)


def _plain(value: Any) -> Any:
    """Returns nested values without the classes of this package, as Python writes them."""
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    return str(value) if isinstance(value, str) else value


def _member(member: Member) -> str:
    return f"Member({member.seed}, {member.vary!r}, {member.learning_rate}, {member.beta})"


def is_python(text: str) -> bool:
    """Whether `how` returned Python code."""
    return text.startswith("import ")
