"""Pages of the reference that are written from the code: commands, configuration, Python API."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
import types
import typing
from collections.abc import Iterator, Sequence
from typing import Any

import griffe
import typer

import msae_jax
from msae_jax import config
from msae_jax.cli import app

GROUPS = {
    "Train and evaluate": ("train", "find-lr", "evaluate", "embed", "reconstruct", "list"),
    "Compare and reproduce": ("compare", "tune", "reproduce", "replay", "bench"),
    "Generate": ("sample",),
    "Series": ("detect", "augment"),
    "Exchange with PyTorch": ("inspect", "convert", "verify", "export-torch", "apply"),
}
"""The commands in the order of a reader; those that no group names come last."""


def pages() -> dict[str, str]:
    """Returns the text of each page by its path below the folder of the pages."""
    return {
        "reference/command-line.md": command_line(),
        "reference/configuration.md": configuration(),
        **api(),
    }


def command_line() -> str:
    """Returns the page of every command with its arguments and options."""
    root: Any = typer.main.get_command(app)
    commands = dict(root.commands)
    parts = [
        "# Command line",
        "This page is generated from the code. Every command prints the same with `--help`. "
        "Options may be given in any order. Bad input is one line and exit status 2.",
        "## msae",
        _paragraphs(root.help),
        _options([p for p in root.params if p.name != "help"]),
    ]
    grouped = {name for names in GROUPS.values() for name in names}
    rest = tuple(name for name in commands if name not in grouped)
    for title, names in {**GROUPS, "Export and show": rest}.items():
        known = [name for name in names if name in commands]
        if known:
            parts += [f"## {title}", *(_command(name, commands[name]) for name in known)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _command(name: str, command: Any) -> str:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and p.name != "help"]
    words = [_argument(p) for p in arguments]
    words += [f"{p.opts[0]} {_kind(p)}".strip() for p in options if p.required]
    usage = " ".join(["msae", name, *words, "[OPTIONS]"])
    parts = [f"### {name}", _paragraphs(command.help), f"```text\n{usage}\n```"]
    if arguments:
        rows = [f"| `{_argument(p)}` | {_cell(p.help)} |" for p in arguments]
        parts.append("\n".join(["| argument | meaning |", "|---|---|", *rows]))
    return "\n\n".join([*parts, _options(options)])


def _argument(parameter: Any) -> str:
    name = (parameter.metavar or parameter.name).upper()
    name = f"{name}..." if parameter.nargs == -1 else name
    return name if parameter.required else f"[{name}]"


def _options(options: Sequence[Any]) -> str:
    if not options:
        return ""
    rows = ["| option | meaning | default |", "|---|---|---|"]
    for p in options:
        names = ", ".join([*p.opts, *p.secondary_opts])
        text = re.sub(r"\s*\[([^\[\]]+)\]$", "", p.help or "")
        told = re.search(r"\[([^\[\]]+)\]$", p.help or "")
        default = "required" if p.required else told[1] if told else _default(p)
        repeated = " May be repeated." if p.multiple else ""
        rows.append(f"| `{f'{names} {_kind(p)}'.strip()}` | {_cell(text + repeated)} | {default} |")
    return "\n".join(rows)


def _default(parameter: Any) -> str:
    value = parameter.default
    if isinstance(value, bool):
        return "yes" if value else ""
    return "" if value is None or value == [] else f"`{value}`"


def _kind(parameter: Any) -> str:
    """Returns the word for an option's value, such as NUMBER; nothing for one without a value."""
    hint = parameter.type_descriptor.annotation
    for part in typing.get_args(hint) or (hint,):
        if part is bool:
            return ""
        if part in (int, float):
            return "NUMBER"
    return "PATH" if "Path" in str(hint) else "TEXT"


def configuration() -> str:
    """Returns the page of every field of the configuration, with default and meaning."""
    parts = [
        "# Configuration",
        "This page is generated from the dataclasses of `msae_jax.config`. `--set FIELD=VALUE` "
        "sets any field by its dotted name: `--set optimizer.momentum=0.9`. A name that is no "
        "field here is a field of the model: `--set latent_dim=32`. A model's recipe may differ "
        "from these defaults (`msae_jax.recipe(NAME)` returns it); `config.json` in a run "
        "directory holds all values that were used.",
    ]
    sections: tuple[tuple[str, type], ...] = (
        ("", config.TrainConfig),
        ("model.", config.ModelConfig),
        ("objective.", config.Objective),
        ("optimizer.", config.OptimizerConfig),
        ("adversarial.", config.Adversarial),
        ("early_stopping.", config.EarlyStopping),
    )
    for prefix, cls in sections:
        parts.append(f"## {cls.__name__}")
        parts.append(_paragraphs((inspect.getdoc(cls) or "").partition("\nAttributes:")[0]))
        parts.append(_fields(prefix, cls))
    metrics = "\n".join(
        ["| metric | meaning | unit |", "|---|---|---|"]
        + [
            f"| `{name}` | {_cell(m.words)} | {_cell(m.unit)} |"
            for name, m in config.METRICS.items()
        ]
    )
    parts += [
        "## Metrics",
        "`best_metric`, `early_stopping.metric` and `msae compare --metric` take these names. "
        "Lower is better for each.",
        metrics,
    ]
    return "\n\n".join(parts) + "\n"


def _fields(prefix: str, cls: type) -> str:
    meanings, hints = _attributes(cls), typing.get_type_hints(cls)
    rows = ["| field | default | type | meaning |", "|---|---|---|---|"]
    for field in dataclasses.fields(cls):
        default = "required"
        if field.default is not dataclasses.MISSING:
            default = f"`{field.default!r}`"
        elif field.default_factory is not dataclasses.MISSING:
            made = field.default_factory()
            name = type(made).__name__
            default = (
                f"[{name}](#{name.lower()})" if dataclasses.is_dataclass(made) else f"`{made}`"
            )
        kind, meaning = _type(hints[field.name]), _cell(meanings.get(field.name, ""))
        rows.append(f"| `{prefix}{field.name}` | {default} | {kind} | {meaning} |")
    return "\n".join(rows)


def _type(hint: Any) -> str:
    if typing.get_origin(hint) is typing.Literal:
        return ", ".join(f"`{value}`" for value in typing.get_args(hint))
    if isinstance(hint, types.UnionType):
        return " or ".join(_type(part) for part in typing.get_args(hint))
    if hint is type(None):
        return "none"
    return {str: "text", int: "whole number", float: "number"}.get(hint) or getattr(
        hint, "__name__", str(hint)
    )


def _attributes(cls: type) -> dict[str, str]:
    """Returns the meaning of each field, from the section Attributes of the class's docstring."""
    text = (inspect.getdoc(cls) or "").partition("\nAttributes:\n")[2]
    found: dict[str, str] = {}
    for names, meaning in re.findall(r"^  (\w[\w, ]*): (.+(?:\n {4}.+)*)", text, re.M):
        words = " ".join(meaning.split())
        for name in names.split(", "):
            found[name] = words[0].upper() + words[1:]
    return found


def api() -> dict[str, str]:
    """Returns the pages of the public names: one of functions and classes, one for each module."""
    package = griffe.load("msae_jax", search_paths=["."])
    names, modules = [], []
    for name, (home, attribute) in msae_jax._HOME.items():
        if attribute is None:
            modules.append((name, home))
        else:
            names.append((name, f"{home}.{attribute}"))
    found = {"reference/api/names.md": _names_page(package, names)}
    for name, home in modules:
        found[f"reference/api/{name}.md"] = _module_page(name, home)
    rows = ["| name | what it is |", "|---|---|"]
    for name, home in names:
        member = _resolved(package, home)
        rows.append(f"| [`{name}`](names.md#{member.path}) | {_first_sentence(member)} |")
    for name, home in modules:
        first = _first_sentence(_resolved(package, home))
        rows.append(f"| [`{name}`]({name}.md) | {first} |")
    found["reference/api/index.md"] = (
        "# Python API\n\nThis page is generated from the code. `import msae_jax as mj` gives these "
        "names; each is loaded when it is first used, so that the import itself costs nothing.\n\n"
        + "\n".join(rows)
        + "\n"
    )
    return found


def _names_page(package: Any, names: Sequence[tuple[str, str]]) -> str:
    parts = ["# Names of msae_jax", "This page is generated from the code."]
    for name, home in names:
        member = _resolved(package, home)
        parts.append(_directive(member.path, f"msae_jax.{name}", level=2))
    return "\n\n".join(parts) + "\n"


def _module_page(name: str, home: str) -> str:
    module = importlib.import_module(f"msae_jax.{home}")
    parts = [
        f"# msae_jax.{name}",
        "This page is generated from the code.",
        _paragraphs(inspect.getdoc(module)),
    ]
    for public, member in _public(module):
        if inspect.ismodule(member):
            parts.append(f"## {public}\n\nThe module `{member.__name__}`. {_sentence(member)}")
        else:
            parts.append(_directive(f"{member.__module__}.{member.__name__}", public, level=2))
    return "\n\n".join(parts) + "\n"


def _public(module: types.ModuleType) -> Iterator[tuple[str, Any]]:
    """Yields the functions, classes and modules of `__all__`, or those that the module defines."""
    listed = getattr(module, "__all__", None)
    own = [n for n, m in vars(module).items() if getattr(m, "__module__", "") == module.__name__]
    for name in listed or [n for n in own if not n.startswith("_")]:
        member = getattr(module, name)
        if inspect.isfunction(member) or inspect.isclass(member) or inspect.ismodule(member):
            yield name, member


def _directive(path: str, heading: str, level: int) -> str:
    return f"::: {path}\n    options:\n      heading: {heading}\n      heading_level: {level}"


def _resolved(package: Any, path: str) -> Any:
    member = package[path]
    return member.final_target if member.is_alias else member


def _first_sentence(member: Any) -> str:
    return _one(member.docstring.value if member.docstring else "")


def _sentence(module: types.ModuleType) -> str:
    return _one(inspect.getdoc(module) or "")


def _one(text: str) -> str:
    first = " ".join(text.split("\n\n")[0].split())
    return _cell(re.split(r"(?<=\.) ", first)[0])


def _paragraphs(text: str | None) -> str:
    blocks = [" ".join(block.split()) for block in (text or "").split("\n\n")]
    return "\n\n".join(blocks)


def _cell(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")
