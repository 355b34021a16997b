"""A graph of ONNX operators, and what is known of its values while it is made.

Sizes are numbers, or expressions of JAX in the batch size where that is left open.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

CODES = {  # of ONNX's TensorProto.DataType
    "float32": 1,
    "uint8": 2,
    "int8": 3,
    "int32": 6,
    "int64": 7,
    "bool": 9,
    "float16": 10,
    "float64": 11,
    "uint32": 12,
}

Sizes = tuple[Any, ...]


class Node(NamedTuple):
    """One operator of ONNX's opset 18, of the domain "".

    Attributes:
      attributes: whole numbers, floats, strings, and lists of whole numbers.
    """

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]


class Value(NamedTuple):
    """An input or an output; a size that is None is the batch size."""

    name: str
    dtype: np.dtype
    shape: tuple[int | None, ...]


class Graph(NamedTuple):
    """Nodes in an order of computation, and the arrays that they name."""

    nodes: tuple[Node, ...]
    constants: dict[str, np.ndarray]
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]


class Unsupported(Exception):  # it is caught and becomes a line of an InputError
    """An equation has no translation; the message says which case of it."""


class Tensor(NamedTuple):
    """A value of the computation: an array that is known, or a name in the graph.

    Attributes:
      source: the array or the name.
      sizes: of the source: those of `shape`, or 1 along an axis that it is repeated along. So a
        repetition is computed only where an operator does not repeat by itself.
      shape: what JAX takes the value's shape to be.
    """

    source: np.ndarray | str
    dtype: np.dtype
    sizes: Sizes
    shape: Sizes

    @property
    def array(self) -> np.ndarray | None:
        return self.source if isinstance(self.source, np.ndarray) else None


def constant(array: Any) -> Tensor:
    """Returns a value that is known."""
    array = np.asarray(array)
    return Tensor(array, array.dtype, array.shape, array.shape)


def is_one(size: Any) -> bool:
    return isinstance(size, int) and size == 1


def is_static(sizes: Sequence[Any]) -> bool:
    return all(isinstance(size, int) for size in sizes)


class Builder:
    """Collects nodes and constants.

    Attributes:
      missing: what has no translation, by the name of the primitive.
    """

    def __init__(self, batch: Any, first_input: str) -> None:
        self.nodes: list[Node] = []
        self.constants: dict[str, np.ndarray] = {}
        self.missing: dict[str, str] = {}
        self._batch, self._first_input = batch, first_input
        self._known: dict[Any, str] = {}
        self._arrays: dict[int, tuple[np.ndarray, str]] = {}  # kept, so that no id comes again
        self._count = 0

    def name(self) -> str:
        self._count += 1
        return f"v{self._count}"

    def named(self, tensor: Tensor) -> str:
        """Returns the name of a value's source; that of a constant is made here."""
        if isinstance(tensor.source, str):
            return tensor.source
        if id(tensor.source) not in self._arrays:
            array = np.array(tensor.source, order="C")
            key = (array.dtype.str, array.shape, hashlib.sha256(array.tobytes()).digest())
            if key not in self._known:
                self._known[key] = f"c{len(self.constants)}"
                self.constants[self._known[key]] = array
            self._arrays[id(tensor.source)] = (tensor.source, self._known[key])
        return self._arrays[id(tensor.source)][1]

    def node(
        self,
        operator: str,
        inputs: Sequence[Tensor | str],
        sizes: Sequence[Any],
        dtype: Any,
        *,
        shape: Sequence[Any] | None = None,
        **attributes: Any,
    ) -> Tensor:
        """Adds a node of one output and returns it.

        Args:
          shape: of the value, where the output is to be repeated to it.
        """
        names = tuple(x if isinstance(x, str) else self.named(x) for x in inputs)
        output = self.name()
        self.nodes.append(Node(operator, names, (output,), attributes))
        sizes = tuple(sizes)
        return Tensor(output, np.dtype(dtype), sizes, sizes if shape is None else tuple(shape))

    def ints(self, values: Sequence[int] | int) -> str:
        """Returns the name of a constant of int64."""
        return self.named(constant(np.array(values, np.int64)))

    def full(self, tensor: Tensor) -> Tensor:
        """Returns the value with its source as large as its shape."""
        if all(is_one(s) == is_one(n) for s, n in zip(tensor.sizes, tensor.shape, strict=True)):
            return tensor
        if tensor.array is not None and is_static(tensor.shape):
            return constant(np.broadcast_to(tensor.array, tensor.shape))
        wanted = self._as_tensor(tensor.shape)
        return self.node("Expand", [tensor, wanted], tensor.shape, tensor.dtype)

    def _as_tensor(self, shape: Sizes) -> str:
        """Returns the name of a shape, as the int64 values that operators read."""
        if is_static(shape):
            return self.ints(shape)
        if shape not in self._known:
            parts = [self._size(n) for n in shape]
            joined = self.node("Concat", parts, (len(shape),), np.int64, axis=0)
            self._known[shape] = self.named(joined)
        return self._known[shape]

    def _size(self, size: Any) -> str:
        """Returns the name of a size [1]: a number, the batch size or a multiple of it."""
        if isinstance(size, int):
            return self.ints([size])
        if size not in self._known:
            if size == self._batch:
                shape = self.node("Shape", [self._first_input], (None,), np.int64)
                found = self.node("Gather", [shape, self.ints([0])], (1,), np.int64, axis=0)
            else:
                times = size // self._batch
                if not isinstance(times, int) or times * self._batch != size:
                    raise Unsupported(f"the size {size}, which is no multiple of the batch size")
                factors = [self._size(self._batch), self.ints([times])]
                found = self.node("Mul", factors, (1,), np.int64)
            self._known[size] = self.named(found)
        return self._known[size]

    def reshape(self, tensor: Tensor, shape: Sequence[Any]) -> Tensor:
        """Returns the values in another shape, in the same order."""
        tensor, shape = self.full(tensor), tuple(shape)
        if tensor.shape == shape:
            return tensor
        if tensor.array is not None and is_static(shape):
            return constant(tensor.array.reshape(shape))
        free = sum(not isinstance(n, int) for n in shape)
        if free > 1 or (free and 0 in shape):
            raise Unsupported(f"a reshape to {list(shape)}, which has more than one free size")
        target = [n if isinstance(n, int) else -1 for n in shape]
        return self.node("Reshape", [tensor, self.ints(target)], shape, tensor.dtype)

    def transpose(self, tensor: Tensor, order: Sequence[int]) -> Tensor:
        """Returns the value with its axes in another order."""
        order = tuple(int(i) for i in order)
        if order == tuple(range(len(order))):
            return tensor
        sizes, shape = (tuple(of[i] for i in order) for of in (tensor.sizes, tensor.shape))
        if tensor.array is not None:
            return Tensor(tensor.array.transpose(order), tensor.dtype, sizes, shape)
        return self.node("Transpose", [tensor], sizes, tensor.dtype, shape=shape, perm=list(order))

    def cut(
        self,
        tensor: Tensor,
        axes: Sequence[int],
        starts: Sequence[int],
        stops: Sequence[int],
        steps: Sequence[int] | None = None,
    ) -> Tensor:
        """Returns `tensor[start:stop:step]` of some axes, whose sizes are numbers."""
        tensor, steps = self.full(tensor), [1] * len(axes) if steps is None else steps
        sizes = list(tensor.shape)
        for axis, start, stop, step in zip(axes, starts, stops, steps, strict=True):
            sizes[axis] = len(range(start, stop, step))
        given = [self.ints(list(values)) for values in (starts, stops, axes, steps)]
        return self.node("Slice", [tensor, *given], sizes, tensor.dtype)

    def cast(self, tensor: Tensor, dtype: Any) -> Tensor:
        """Returns the value in another dtype.

        Raises:
          Unsupported: ONNX has no such dtype.
        """
        dtype = np.dtype(dtype)
        if dtype == tensor.dtype:
            return tensor
        if dtype.name not in CODES:
            raise Unsupported(f"values of {dtype.name}")
        if tensor.array is not None:
            return tensor._replace(source=tensor.array.astype(dtype), dtype=dtype)
        code = CODES[dtype.name]
        return self.node("Cast", [tensor], tensor.sizes, dtype, shape=tensor.shape, to=code)


def product(sizes: Sequence[Any]) -> Any:
    """Returns the product of sizes, some of which may be free."""
    return math.prod(sizes)
