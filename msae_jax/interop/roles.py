"""What a program's values are to an autoencoder: reconstruction, latent, posterior.

A role is named by an output's number, by the dotted path of one of the user's modules (the value
that this module returns), or by a value's own name in the graph. Without a name it is recognised
where the graph leaves no doubt:

- `recon`: the one output with as many values a sample as the input, and not the input itself;
- `mu`, `log_var`: of the one sum mu + eps exp(log_var / 2) in the graph, eps drawn from N(0, I)
  (Kingma and Welling, "Auto-Encoding Variational Bayes", 2013);
- `z`: the narrowest value that everything from the input to the reconstruction passes through. Of
  several as narrow, it is the one that the program returns; else the last one of the user's first
  module, if another module takes it up.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from msae_jax.errors import InputError
from msae_jax.interop.files.pt2_values import Free, Graph, Meta, Ref
from msae_jax.interop.graph.table import VIEWS, find
from msae_jax.interop.posterior import posterior

ROLES = ("recon", "z", "mu", "log_var", "logits")


def resolved(graph: Graph, named: Mapping[str, int | str], source: str) -> dict[str, str]:
    """Returns the value in the graph of each role that is named or certain.

    Args:
      named: by role, an output's number, a module's path or a value's name.

    Raises:
      InputError: there is no such role, output, module or value.
    """
    found = {role: value_named(graph, role, name, source) for role, name in named.items()}
    if "recon" not in found and "logits" not in found:
        recon = _reconstruction(graph)
        if recon is None:
            return found
        found["recon"] = recon
    named_of = {"mu", "log_var"} & set(found)
    known = {} if len(named_of) == 2 else posterior(graph)
    if any(known.get(role) != found[role] for role in named_of):
        known = {}  # what is named is no part of the posterior that the graph shows
    sampled = known.pop("z", None)
    found = known | found
    if "z" not in found:
        target = found.get("logits", found.get("recon", ""))
        passed = cuts(graph, target)
        # of a posterior, its sample; where this is evaluated at the mean, that is the mean
        certain = [name for name in (sampled, found.get("mu")) if name in passed]
        z = certain[0] if certain else found.get("mu") if known else _latent(graph, target)
        z = found.get("mu") if z is None else z
        found |= {} if z is None else {"z": z}
    return found


def value_named(graph: Graph, role: str, name: int | str, source: str) -> str:
    """Returns the value that a name of a role stands for.

    Raises:
      InputError: it stands for none.
    """
    outputs = graph.output_names
    if type(name) not in (int, str) or (type(name) is int and name < 0):
        raise InputError(f"{role} is an output's number from 0, or a name, got {name!r}.")
    name = str(name)
    if name.isdecimal():
        if int(name) < len(outputs) and (output := outputs[int(name)]) is not None:
            return output
        raise InputError(
            f"{source} has the outputs 0 to {len(outputs) - 1}; {role} is given as {name}."
        )
    returned = _returned(graph, name)
    if len(returned) == 1:
        return returned[0]
    if returned:
        raise InputError(
            f"{source}: the module {name} returns several values: say --set {role}= one of "
            f"{', '.join(returned)}."
        )
    if name in graph.metas:
        return name
    paths = sorted({node.module for node in graph.nodes if node.module})
    raise InputError(
        f"{source} has no output, module or value {name!r} for {role}; its modules are "
        f"{', '.join(paths) or 'none'}."
    )


def _returned(graph: Graph, module: str) -> list[str]:
    """Returns the values that a module makes and what is outside of it uses."""
    made = {v for n in graph.nodes if _is_in(n.module, module) for v in n.values}
    outside = [node for node in graph.nodes if not _is_in(node.module, module)]
    used = {r for node in outside for value in node.arguments.values() for r in refs(value)}
    used |= {r for result in graph.outputs if result.kind == "user" for r in refs(result.value)}
    return [v for n in graph.nodes for v in n.values if v in made & used and v in graph.metas]


def cuts(graph: Graph, target: str) -> list[str]:
    """Returns the values through which alone `target` hangs on the input, in order.

    What only reads a value's shape does not hang on it. A value changed in place is another one
    from then on, by the name that the change returns.
    """
    nodes = _Reads.of(graph)
    needed = nodes.needed(target)
    reached = {value.name for value in graph.user_inputs}
    last_use = {name: 0 for name in reached}
    relevant: list[tuple[int, list[str]]] = []
    for place, reads, values in nodes.listed:
        if not any(name in reached for name in reads):
            continue
        reached.update(values)
        mine = [name for name in values if name in needed]
        if not mine:
            continue
        for name in reads:
            if name in last_use:
                last_use[name] = place
        last_use |= dict.fromkeys(mine, place)
        relevant.append((place, mine))
    found, furthest = [], max((last_use[v.name] for v in graph.user_inputs), default=0)
    for place, mine in relevant:
        if furthest <= place and len(mine) == 1:
            found.append(mine[0])
        furthest = max(furthest, *(last_use[name] for name in mine))
    return found


class _Reads(NamedTuple):
    """Place, what is read, and what is made, of each node; names are as `cuts` says."""

    listed: list[tuple[int, list[str], list[str]]]

    @classmethod
    def of(cls, graph: Graph) -> _Reads:
        current: dict[str, str] = {}
        listed = []
        for place, node in enumerate(graph.nodes, start=1):
            if node.operator.startswith("aten.sym_"):
                continue
            names = [name for value in node.arguments.values() for name in refs(value)]
            reads = [current.get(name, name) for name in names]
            values = list(node.values)
            if find(node.operator)[1] and names and values:
                current |= {old: values[0] for old, now in _aliases(current, names[0])}
            listed.append((place, reads, values))
        return cls(listed)

    def needed(self, target: str) -> set[str]:
        """Returns the values that `target` is computed from, itself included."""
        found = {target}
        for _, reads, values in reversed(self.listed):
            if found.intersection(values):
                found.update(reads)
        return found


def _aliases(current: Mapping[str, str], name: str) -> list[tuple[str, str]]:
    """Returns the names that stand for the same value as `name`, and that value."""
    now = current.get(name, name)
    return [(name, now), *((old, value) for old, value in current.items() if value == now)]


def _reconstruction(graph: Graph) -> str | None:
    if len(graph.user_inputs) != 1:
        return None
    meta = graph.metas.get(graph.user_inputs[0].name)
    width = _width(meta, meta)
    if width is None or meta is None:
        return None
    given = {value.name for value in graph.user_inputs}  # many modules return their input, too
    outputs = [name for name in graph.output_names if name is not None and name not in given]
    alike = [
        name
        for name in outputs
        if name in graph.metas
        and graph.metas[name].dtype == meta.dtype
        and _width(graph.metas[name], meta) == width
    ]
    same = [name for name in alike if graph.metas[name] == meta]
    return alike[0] if len(alike) == 1 else same[0] if len(same) == 1 else None


def _width(meta: Meta | None, of_input: Meta | None) -> int | None:
    """Returns how many values a sample has; None where the first axis is not that of samples, or
    another is free."""
    if meta is None or of_input is None or not meta.sizes or not of_input.sizes:
        return None
    if meta.sizes[0] != of_input.sizes[0] or any(isinstance(n, Free) for n in meta.sizes[1:]):
        return None
    return math.prod(n for n in meta.sizes[1:] if isinstance(n, int))


def _latent(graph: Graph, recon: str) -> str | None:
    """Returns the narrowest of the `cuts`, None where that is not certain."""
    of_input = graph.metas.get(graph.user_inputs[0].name) if graph.user_inputs else None
    widths = {
        name: _width(graph.metas.get(name), of_input)
        for name in cuts(graph, recon)
        if name in graph.metas and graph.metas[name].dtype.startswith(("float", "bfloat"))
    }
    known = {name: width for name, width in widths.items() if width is not None}
    whole = _width(of_input, of_input)
    if not known or whole is None or min(known.values()) >= whole:
        return None
    made = {name: node for node in graph.nodes for name in node.values}
    tied = [name for name, width in known.items() if width == min(known.values())]
    returned = [name for name in tied if name in graph.output_names]
    if len(returned) == 1:
        return returned[0]
    apart = [name for i, name in enumerate(tied) if i == 0 or made[name].operator not in VIEWS]
    tops = [made[name].module.partition(".")[0] for name in apart]
    if len(apart) == 1:
        return apart[0]
    after = list(widths)[list(widths).index(tied[-1]) + 1 :]
    following = made[after[0]].module.partition(".")[0] if after else ""
    if not tops[0] or (len(set(tops)) == 1 and following == tops[0]):
        return None
    return [name for name, top in zip(apart, tops, strict=True) if top == tops[0]][-1]


def _is_in(path: str, module: str) -> bool:
    return path == module or path.startswith(f"{module}.")


def refs(value: object) -> list[str]:
    """Returns the names of the values in an argument."""
    if isinstance(value, tuple):
        return [name for part in value for name in refs(part)]
    return [value.name] if isinstance(value, Ref) else []
