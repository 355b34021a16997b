"""How a model's PyTorch namesake names and arranges its weights: tables of plain data.

A `Layout` stands beside the model it describes; `msae_jax.interop.mapping` walks any of them, both
ways. It says where a PyTorch layer's weights are in the Flax variables, what kind of layer it is,
and which linear layers read or write a flattened grid: PyTorch flattens channels first, (C, H, W)
or (C, T), and these models channels last, so that the rows or columns there are permuted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, NamedTuple

Shapes = Mapping[str, tuple[int, ...]]
"""The shape of each tensor of a PyTorch state dict, by key."""

Kind = Literal["linear", "conv", "conv_transpose", "batch_norm", "lstm", "attention"]


class Layer(NamedTuple):
    """One layer with weights.

    Attributes:
      torch: the prefix of its keys in the state dict, e.g. `encoder.0`.
      flax: the path of its module, e.g. `encoder/linear_0`.
      kind: of `msae_jax.models.layers`, whose kernels are [*K, I, O]: PyTorch's are (O, I, *K) for
        `linear` and `conv`, (I, O, *K) for `conv_transpose`; none is flipped. Those of `lstm` and
        `attention` are of `msae_jax.models.recurrent`, and transposed like `linear`.
      flatten_in, flatten_out: of a linear layer whose inputs or outputs are a flattened grid, the
        shape of that grid: (H, W, C) or (T, C).
    """

    torch: str
    flax: str
    kind: Kind = "linear"
    flatten_in: tuple[int, ...] | None = None
    flatten_out: tuple[int, ...] | None = None


class Layout(NamedTuple):
    """A model's table, and how to read its sizes off a state dict.

    Attributes:
      layers: the table of a model of given sizes, in the order of PyTorch's state dict.
      sizes: the fields of the model that produce given shapes. For keys that are not this model's
        it may raise LookupError, ValueError, TypeError or ArithmeticError.
    """

    layers: Callable[[Any], tuple[Layer, ...]]
    sizes: Callable[[Shapes], dict[str, Any]] = lambda shapes: {}


def mlp(torch: Iterable[str], flax: str) -> tuple[Layer, ...]:
    """Returns the layers of a `msae_jax.models.layers.Mlp` at path `flax`."""
    return tuple(Layer(key, f"{flax}/linear_{i}") for i, key in enumerate(torch))


def numbered(shapes: Shapes, pattern: str, start: int, step: int = 1) -> list[str]:
    """Returns the prefixes `pattern.format(start)`, one step further, ... as long as they exist."""
    found: list[str] = []
    while f"{(key := pattern.format(start + step * len(found)))}.weight" in shapes:
        found.append(key)
    return found


def widths(shapes: Shapes, prefixes: Iterable[str]) -> tuple[int, ...]:
    """Returns the number of outputs of each linear or convolution layer."""
    return tuple(shapes[f"{prefix}.weight"][0] for prefix in prefixes)
