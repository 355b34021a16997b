"""Computes a graph with JAX, node by node."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from msae_jax.errors import InputError
from msae_jax.interop.files.pt2_values import Graph, Node, Output, Ref
from msae_jax.interop.graph import layout
from msae_jax.interop.graph.context import Context, Mutated
from msae_jax.interop.graph.table import CHANGES, VIEWS, find, is_neutral, parameters, problem

Watch = Callable[[Node, Any], None]


class Outcome(NamedTuple):
    """What a run gives: the outputs, the new values of buffers by their dotted names, and by their
    names in the graph the values that were asked for, and what dropout multiplied by to make them.
    """

    outputs: tuple[Any, ...]
    buffers: dict[str, jax.Array]
    values: dict[str, Any]
    masks: dict[str, Any]


class _Step(NamedTuple):
    """A node made ready: `arguments` and `outputs` by the names of cells; `changes` are cells that
    it changes in place, by the names of its arguments."""

    node: Node
    function: Callable[..., Any]
    arguments: dict[str, Any]
    outputs: tuple[Output, ...]
    changes: dict[str, str]


class Computation:
    """A graph that JAX computes; it compares by identity, as what a program is compiled for."""

    def __init__(self, graph: Graph, source: str) -> None:
        """Makes a graph ready.

        Raises:
          InputError: naming every operator that is missing, before anything is computed.
        """
        self.graph, self.source = graph, source
        _refuse_missing(graph, source)
        self._cells: dict[str, str] = {}
        self._steps = [self._prepared(node) for node in graph.nodes]
        changed = {cell for step in self._steps for cell in step.changes.values()}
        owners = {value.name: value for value in graph.inputs}
        self._changed_buffers = {
            owners[cell].target: cell
            for cell in changed
            if cell in owners and owners[cell].kind == "buffer"
        }
        if any(c in owners and owners[c].kind == "parameter" for c in changed):
            raise InputError(f"{source} changes a parameter in place, which is not supported.")
        _refuse_seen_changes(graph, source)
        self._lasting = _lasting_draws(graph)

    def _prepared(self, node: Node) -> _Step:
        function, in_place = find(node.operator)
        assert function is not None, "refused before"
        arguments = {
            name: self._resolved(value)
            for name, value in node.arguments.items()
            if name in parameters(function) or not is_neutral(name, value)
        }
        if in_place:
            first = next(iter(node.arguments))
            cell = arguments[first].name
            for name in node.outputs:
                if isinstance(name, str):
                    self._cells[name] = cell
            return _Step(node, function, arguments, (), {first: cell})
        changes = {
            name: value.name
            for name, value in arguments.items()
            if name in CHANGES.get(node.operator, ()) and isinstance(value, Ref)
        }
        return _Step(node, function, arguments, node.outputs, changes)

    def _resolved(self, value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(self._resolved, value))
        return Ref(self._cells.get(value.name, value.name)) if isinstance(value, Ref) else value

    def run(
        self,
        tensors: Mapping[str, Any],
        inputs: tuple[Any, ...],
        *,
        key: jax.Array | None = None,
        train: bool = False,
        watch: Watch | None = None,
        kept: Collection[str] = (),
        given: Mapping[str, Any] | None = None,
    ) -> Outcome:
        """Computes the graph.

        Args:
          tensors: parameters, buffers and constants by dotted name.
          inputs: of the user, in order.
          key: of random numbers; each node folds in its number.
          train: whether the graph is computed as it was exported; else its flags of training, if
            it has any, are taken as False, and buffers stay as they are.
          watch: is told of each node and its value.
          kept: the names of values to return.
          given: values that count instead of what their nodes compute, by name.

        Raises:
          InputError: the inputs do not fit the graph, or an argument is one that is not supported.
        """
        cells = self._first_cells(tensors, inputs)
        outcome = Outcome((), {}, {name: cells[name] for name in kept if name in cells}, {})
        for number, step in enumerate(self._steps):
            own = None if key is None else jax.random.fold_in(key, number)
            asked = any(name in kept for name in _names(step.node.outputs))
            masks: list[jax.Array] | None = [] if asked else None
            value = self._computed(step, cells, Context(own, train, masks))
            if isinstance(value, Mutated):
                for name, new in value.arguments.items():
                    cells[step.changes[name]] = new
                value = value.value
            elif step.changes and not step.outputs:
                [cell] = step.changes.values()
                cells[cell] = layout.like(value, cells[cell])
                value = cells[cell]
            _bind(cells, step.outputs, value)
            for name in _names(step.node.outputs):
                cell = self._cells.get(name, name)
                if given is not None and name in given:
                    cells[cell] = given[name]
                if name in kept:
                    outcome.values[name] = layout.second(cells[cell])
                    if masks:
                        outcome.masks[name] = layout.second(layout.beside(masks[0], cells[cell]))
            if watch is not None:
                watch(step.node, layout.second(value))
        return self._outcome(cells, train, outcome)

    def _first_cells(self, tensors: Mapping[str, Any], inputs: tuple[Any, ...]) -> dict[str, Any]:
        wanted = self.graph.user_inputs
        if len(inputs) != len(wanted):
            names = ", ".join(value.name for value in wanted)
            raise InputError(
                f"{self.source} takes {len(wanted)} inputs ({names}), got {len(inputs)}."
            )
        given = iter(inputs)
        cells: dict[str, Any] = {}
        for value in self.graph.inputs:
            if value.kind == "user":
                cells[value.name] = next(given)
            elif value.kind == "fixed":
                cells[value.name] = value.value
            else:
                cells[value.name] = jnp.asarray(tensors[value.target])
        return cells

    def _computed(self, step: _Step, cells: Mapping[str, Any], context: Context) -> Any:
        node = step.node
        if node.name in self._lasting and not context.train:
            raise InputError(
                f"{self.source}: {node.operator}, the node {node.name}, draws what evaluation "
                "would not, as the dropout of AlphaDropout: export module.eval(), too "
                "(msae export-torch writes both)."
            )
        arguments = {name: _value(cells, value) for name, value in step.arguments.items()}
        if "context" in parameters(step.function):
            arguments["context"] = context
        try:
            return layout.call(node.operator, step.function, arguments)
        except Exception as error:  # a stranger's graph: whatever trips over it, it is at fault
            where = f" (module {node.module})" if node.module else ""
            reason = str(error).split("\n")[0][:300] or type(error).__name__
            raise InputError(
                f"{self.source}: {node.operator}, the node {node.name}{where}: {reason}"
            ) from error

    def _outcome(self, cells: Mapping[str, Any], train: bool, kept: Outcome) -> Outcome:
        outputs, buffers = [], {}
        for result in self.graph.outputs:
            value = layout.second(_value(cells, self._resolved(result.value)))
            if result.kind == "user":
                outputs.append(value)
            elif train:
                buffers[result.target] = value
        if train:
            changed = self._changed_buffers.items()
            buffers |= {target: layout.second(cells[cell]) for target, cell in changed}
        return kept._replace(outputs=tuple(outputs), buffers=buffers)


def _value(cells: Mapping[str, Any], value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_value(cells, part) for part in value)
    return cells[value.name] if isinstance(value, Ref) else value


def _bind(cells: dict[str, Any], outputs: tuple[Output, ...], value: Any) -> None:
    """Puts a node's value where its outputs say: one, several, or one that is a list."""
    if not outputs:
        return
    values = (value,) if len(outputs) == 1 else value
    for output, part in zip(outputs, values, strict=True):
        if isinstance(output, tuple):
            for name, piece in zip(output, part, strict=True):
                if name is not None:
                    cells[name] = piece
        elif output is not None:
            cells[output] = part


def _refuse_missing(graph: Graph, source: str) -> None:
    found: Counter[str] = Counter()
    first: dict[str, str] = {}
    for node in graph.nodes:
        why = problem(node)
        if why is not None:
            what = f"{node.operator} {why}".strip()
            found[what] += 1
            first.setdefault(what, node.module or node.name)
    if found:
        listed = "; ".join(
            f"{what} ({count} node{'s' if count > 1 else ''}, first in {first[what]})"
            for what, count in sorted(found.items())
        )
        raise InputError(
            f"{source} cannot be computed: not supported are {listed}. Exporting with "
            "`.run_decompositions({})` or `.run_decompositions()` may replace them."
        )


def _refuse_seen_changes(graph: Graph, source: str) -> None:
    """Refuses a change in place that another view of the same memory would show afterwards."""
    roots: dict[str, str] = {}  # the value whose memory a value may share
    same: dict[str, str] = {}  # the value that a value is, being changed in place
    last: dict[str, int] = {}
    uses = [(i, value) for i, node in enumerate(graph.nodes) for value in node.arguments.values()]
    uses += [(len(graph.nodes), result.value) for result in graph.outputs]
    for place, value in uses:
        for name in _names(value):
            last[name] = place
    for place, node in enumerate(graph.nodes):
        names = [name for value in node.arguments.values() for name in _names(value)]
        in_place = find(node.operator)[1]
        if names and (in_place or node.operator in VIEWS):
            for name in _names(node.outputs):
                roots[name] = roots.get(names[0], names[0])
                if in_place:
                    same[name] = same.get(names[0], names[0])
        if not in_place or not names:
            continue
        root, one = roots.get(names[0], names[0]), same.get(names[0], names[0])
        others = [n for n in {*roots, root} if roots.get(n, n) == root and same.get(n, n) != one]
        if any(last.get(name, -1) > place for name in others):
            raise InputError(
                f"{source}: {node.operator}, the node {node.name}, changes in place what other "
                "nodes see through a view. Export with `.run_decompositions({})`, which takes "
                "changes in place out of the graph."
            )


def _lasting_draws(graph: Graph) -> set[str]:
    """Returns the nodes of Bernoulli numbers that are not divided by their mean.

    Of the others, the mean is 1 once they are divided: that is dropout of channels, turned off.
    """
    found = set()
    for node in graph.nodes:
        if node.operator not in ("aten.bernoulli.p", "aten.bernoulli_.p"):
            continue
        made = _names(node.outputs)
        for user in graph.nodes:
            first, *rest = [*user.arguments.values(), None]
            if not set(made) & set(_names((first, *rest))):
                continue
            divides = user.operator.removeprefix("aten.").partition(".")[0] in ("div", "div_")
            if not (divides and rest[0] == node.arguments.get("p")):
                found.add(node.name)
    return found


def _names(value: Any) -> list[str]:
    if isinstance(value, tuple):
        return [name for part in value for name in _names(part)]
    if isinstance(value, Ref):
        return [value.name]
    return [value] if isinstance(value, str) else []
