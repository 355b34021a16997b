"""What is in a file of weights or a run directory, whether or not it is one of our models'."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from msae_jax.errors import InputError
from msae_jax.interop import cards, mapping, program_inspection
from msae_jax.interop.files import pth, sources, state_dict, tensor_files
from msae_jax.interop.files.storages import Tensor, Unsupported
from msae_jax.interop.recognition import Match, described, is_near, recognise
from msae_jax.runs import checkpoint
from msae_jax.system.names import is_program

MAX_TEXT = 80  # characters shown of a value
_OPTIMIZERS = {  # what the state of one parameter has, of torch.optim
    "Adam": {"exp_avg", "exp_avg_sq"},
    "SGD with momentum": {"momentum_buffer"},
    "RMSprop": {"square_avg"},
    "Adagrad": {"sum"},
}
_SETTINGS = ("lr", "weight_decay", "momentum", "eps", "alpha")


def inspect(path: str | Path) -> dict[str, Any]:
    """Returns what is in a file of weights or a run directory, as JSON has it. Runs no code of it.

    Of every state dict: where it is (`key`), its tensors (`name`, `shape`, `dtype`, `bytes`, and
    `shares` with the name of an earlier tensor in the same memory), the number of values, the model
    of ours that it is of (`model`) or what speaks against the nearest one (`against`). Further the
    states of optimizers and the other values of the file, and what to do next (`next`).

    Raises:
      InputError: it is no such file or directory, or it cannot be read.
    """
    path = Path(path)
    if cards.is_card(path):
        return _safetensors(path / cards.WEIGHTS)
    if path.is_dir():
        return _run(path)
    if is_program(str(path)):
        return program_inspection.inspect_program(path)
    if tensor_files.is_safetensors(path):
        return _safetensors(path)
    return _pytorch(path)


def as_text(found: Mapping[str, Any]) -> str:
    """Returns what `inspect` found as lines for a terminal, not yet `errors.printable`."""
    size = f", {found['bytes']:,} bytes" if "bytes" in found else ""
    lines = [f"{found['file']}: {found['format']}{size}"]
    if "data" in found:
        model, seeds = found["model"], found["seeds"]
        lines.append(
            f"model {model['name']} {_options(model['options'])}trained on {found['data']}"
        )
        lines.append(f"checkpoint {found['checkpoint']}, {len(seeds)} seeds: {_some(seeds)}")
    if "program" in found:
        lines += program_inspection.lines_of(dict(found))
    for one in found["state_dicts"]:
        lines += ["", *_lines_of(one)]
    for one in found["optimizers"]:
        settings = ", ".join(f"{name}={value}" for name, value in one["settings"].items())
        lines += ["", f"optimizer at {one['key']}: {one['kind']}, the states of "]
        lines[-1] += f"{one['parameters']} parameters; {settings}"
    if found["other"]:
        lines += ["", "values beside tensors"]
        lines += [f"  {name}: {text}" for name, text in found["other"].items()]
    return "\n".join([*lines, "", "next", *(f"  {line}" for line in found["next"])])


def _lines_of(one: Mapping[str, Any]) -> list[str]:
    """Returns the lines of one state dict."""
    where = f"state dict at {one['key']}" if one["key"] else "state dict"
    lines = [f"{where}: {len(one['tensors'])} tensors, {one['values']:,} values"]
    width = max((len(tensor["name"]) for tensor in one["tensors"]), default=0)
    for tensor in one["tensors"]:
        shape = "" if tensor["shape"] is None else f"{tensor['shape']!s:20} "
        shares = f"  the memory of {tensor['shares']}" if "shares" in tensor else ""
        lines.append(f"  {tensor['name']:{width}}  {shape}{tensor['dtype']}{shares}")
    if one.get("model"):
        prefix = f", without {one['prefix']!r} before its keys" if one["prefix"] else ""
        options = _options(one["model"]["options"])
        lines.append(f"  fits model {one['model']['name']} {options}by keys and shapes{prefix}")
    elif one.get("against"):
        lines.append(f"  no model: {one['against']}")
    return lines


def _options(options: Mapping[str, Any]) -> str:
    return (
        f"({', '.join(f'{name}={value}' for name, value in options.items())}) " if options else ""
    )


def _some(seeds: list[int]) -> str:
    return ", ".join(map(str, seeds[:8])) + (", ..." if len(seeds) > 8 else "")


def _run(path: Path) -> dict[str, Any]:
    opened = checkpoint.load_all(path)
    model, settings = opened.config["model"], opened.config
    first = opened.members[0]
    tensors = [
        {"name": "/".join(name), **_array(leaf[0])}
        for name, leaf in mapping.leaves(opened.variables)
    ]
    return {
        "file": str(path),
        "format": "run directory of msae_jax",
        "model": {"name": model["name"], "options": model["options"]},
        "data": settings["data"],
        "seeds": [member["seed"] for member in opened.members],
        "checkpoint": opened.number,
        "versions": opened.versions,
        "state_dicts": [
            {"key": "", "tensors": tensors, "values": _values(tensors), "seed": first["seed"]}
        ],
        "optimizers": [],
        "other": {},
        "next": ["msae evaluate", "msae embed", "msae convert to a .pth", "msae train --resume"],
    }


def _safetensors(path: Path) -> dict[str, Any]:
    arrays = tensor_files.read_safetensors(path)
    tensors = [{"name": name, **_array(array)} for name, array in arrays.items()]
    note = tensor_files.read_note(path)
    found = {"key": "", "tensors": tensors, "values": _values(tensors)}
    found |= _taken_for(path, arrays, note)
    return _of_file(path, "safetensors", [found], [], {"note": note} if note else {})


def _pytorch(path: Path) -> dict[str, Any]:
    with pth.opened(path) as (source, size):
        listed = []
        for key, tensors in state_dict.state_dicts(source.value).items():
            entries = _described(tensors)
            found = {"key": key, "tensors": entries, "values": _values(entries)}
            try:
                chosen, _ = state_dict.find_state_dict(source.value, key)
            except InputError as error:
                listed.append(found | {"model": None, "against": f"it {error}"})
                continue
            listed.append(found | _taken_for(path, sources.arrays(source, chosen, size), None))
        optimizers = [
            {"key": key, **_optimizer(state)}
            for key, state in state_dict.optimizers(source.value).items()
        ]
        other = _other(source.value)
        checked = "" if source.checked else ", without checksums"
        return _of_file(path, f"{source.format}{checked}", listed, optimizers, other)


def _of_file(
    path: Path, format: str, listed: list[dict], optimizers: list[dict], other: dict[str, str]
) -> dict[str, Any]:
    return {
        "file": str(path),
        "format": format,
        "bytes": path.stat().st_size,
        "state_dicts": listed,
        "optimizers": optimizers,
        "other": other,
        "next": _next(path, listed),
    }


def _described(tensors: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns the tensors of a state dict, with what memory they share."""
    found: list[dict[str, Any]] = []
    first: dict[tuple, str] = {}
    for name, item in tensors.items():
        if isinstance(item, Unsupported):
            found.append({"name": name, "shape": None, "dtype": item.kind, "bytes": 0})
        elif isinstance(item, Tensor):
            shape, dtype = list(item.shape), str(item.dtype)
            entry = {"name": name, "shape": shape, "dtype": dtype, "bytes": item.nbytes}
            place = (item.storage.key, item.storage.start)
            if item.nbytes and place in first:
                entry["shares"] = first[place]
            first.setdefault(place, name)
            found.append(entry)
    return found


def _array(array: np.ndarray) -> dict[str, Any]:
    return {"shape": list(array.shape), "dtype": str(array.dtype), "bytes": array.nbytes}


def _values(tensors: list[dict[str, Any]]) -> int:
    return sum(int(np.prod(t["shape"])) for t in tensors if t["shape"] is not None)


def _taken_for(path: Path, arrays: dict[str, np.ndarray], note: str | None) -> dict[str, Any]:
    """Returns which of our models a state dict is of, or what speaks against the nearest."""
    try:
        inner, match = recognise(arrays, None, note, str(path))
    except InputError as error:  # several fit
        return {"model": None, "against": str(error)}
    if match.fits:
        model = {"name": match.config.name, "options": dict(match.config.options)}
        prefix = next(iter(arrays)).removesuffix(next(iter(inner)))
        return {"model": model, "prefix": prefix}
    return {"model": None, "against": _against(match, len(arrays))}


def _against(match: Match, count: int) -> str:
    if not is_near(match, count):
        return "it is of none of our models"
    faults = "; ".join(
        f"{kind}: {', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}"
        for kind, names in match.faults.items()
        if names
    )
    return f"{described('it', match.config)} does not fit; {faults}"


def _optimizer(state: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what a `torch.optim` state dict says of its optimizer."""
    states = [item for item in state_dict.items_of(state["state"]).values() if type(item) is dict]
    keys = set(states[0]) if states else set()
    kind = next((name for name, wanted in _OPTIMIZERS.items() if wanted <= keys), "unknown")
    groups = [g for g in state_dict.items_of(state["param_groups"]).values() if type(g) is dict]
    settings = {
        name: value
        for name, value in (groups[0] if groups else {}).items()
        if name in _SETTINGS and type(value) in (int, float)
    }
    return {"kind": kind, "parameters": len(states), "settings": settings}


def _other(value: object) -> dict[str, str]:
    """Returns the values beside tensors that the file has at its top, each cut short."""
    return {
        name: repr(item)[:MAX_TEXT]
        for name, item in state_dict.items_of(value).items()
        if isinstance(item, str | int | float | bool | None)
    }


def _next(path: Path, listed: list[dict]) -> list[str]:
    """Returns what a user may do with the file."""
    found = []
    for one in listed:
        chosen = f" --key {one['key']}" if len(listed) > 1 and one["key"] else ""
        if one["model"] is not None:
            found.append(f"msae evaluate {path}{chosen}; msae convert {path} RUN{chosen}")
        elif one["against"].startswith("several") or "Say which with --model" in one["against"]:
            found.append(f"msae convert {path} RUN{chosen} --model NAME")
    return found or [
        "with the code of its model: msae export-torch module.py:Class --weights FILE "
        "--input-shape ... --out model.pt2; see docs/how-to/programs.md",
        "or its model needs a table: `register(name, class, Layout(...))` and --model "
        "package.module:Class; see docs/tutorials/own-model-and-data.md",
    ]
