"""What the graph of a `.pt2` file is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Ref:
    """A value that an input or an earlier node has."""

    name: str


@dataclass(frozen=True, slots=True)
class Setting:
    """An argument about how tensors are kept: kind is `dtype`, `layout`, `format` or `device`."""

    kind: str
    value: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An argument of a kind that this library does not read."""

    kind: str


@dataclass(frozen=True, slots=True)
class Meta:
    """What is known of a tensor: its dtype, and its sizes; a free size is a `Free`."""

    dtype: str
    sizes: tuple[int | Free, ...]


@dataclass(frozen=True, slots=True)
class Free:
    """A size that is not fixed: an expression of symbols, and its value at export, if noted."""

    expression: str
    hint: int | None

    @property
    def is_symbol(self) -> bool:
        """Whether the expression is a symbol alone."""
        return self.expression.startswith("Symbol(") and self.expression.count("(") == 1


Output = str | None | tuple[str | None, ...]
"""Where a node's value goes: a name; several where the value is a list; None where nowhere."""


@dataclass(frozen=True, slots=True)
class Node:
    """One operation.

    Attributes:
      name: of the node. operator: e.g. `aten.conv2d.default`.
      arguments: by the operator's own names. Values are `Ref`, `Setting`, `Unreadable`, None,
        numbers, strings, and tuples of these.
      outputs: one or several.
      module: the dotted path of the user's module that it stems from; "" for the outermost.
      module_class: that module's class.
    """

    name: str
    operator: str
    arguments: dict[str, Any]
    outputs: tuple[Output, ...]
    module: str
    module_class: str

    @property
    def values(self) -> tuple[str, ...]:
        """The names of the values that it makes."""
        parts = [part if isinstance(part, tuple) else (part,) for part in self.outputs]
        return tuple(name for part in parts for name in part if name is not None)


@dataclass(frozen=True, slots=True)
class Input:
    """An input: kind is `parameter`, `buffer`, `constant`, `user` or `fixed`.

    Attributes:
      name: of the value in the graph. target: the dotted name of a parameter, buffer or constant.
      persistent: whether a buffer is in the state dict. value: of a `fixed` input.
    """

    kind: str
    name: str
    target: str = ""
    persistent: bool = True
    value: Any = None


@dataclass(frozen=True, slots=True)
class Result:
    """An output: kind is `user`, or `buffer` for the new value of the buffer `target`."""

    kind: str
    value: Any
    target: str = ""


@dataclass(frozen=True, slots=True)
class Graph:
    """A program without branches: nodes in the order of computation.

    Attributes:
      metas: of each tensor, by the name of the value.
      modules: the dotted path of each of the user's modules, in their order.
    """

    inputs: tuple[Input, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[Result, ...]
    metas: dict[str, Meta]
    modules: tuple[str, ...]

    @property
    def user_inputs(self) -> tuple[Input, ...]:
        return tuple(value for value in self.inputs if value.kind == "user")

    @property
    def output_names(self) -> tuple[str | None, ...]:
        """The values of the user's outputs by their numbers, None for one that is no tensor."""
        values = [result.value for result in self.outputs if result.kind == "user"]
        return tuple(value.name if isinstance(value, Ref) else None for value in values)
