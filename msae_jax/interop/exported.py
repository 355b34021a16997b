"""A PyTorch program as a linen module, and its tensors as variables and as a state dict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from msae_jax.errors import InputError
from msae_jax.interop.files.pt2 import Program
from msae_jax.interop.files.pt2_values import Free, Graph
from msae_jax.interop.graph.computation import Computation, Outcome
from msae_jax.interop.graph.dtypes import named


class Tensors:
    """The tensors of a program; it compares by identity, as what a program is compiled for."""

    def __init__(self, program: Program) -> None:
        saved = {value.target for value in program.graph.inputs if value.kind == "parameter"}
        self.frozen = [name for name in program.state if name in saved & program.frozen]
        saved -= program.frozen
        self.order = list(program.state)
        self.dtypes = {name: array.dtype for name, array in program.state.items()}
        self.tied, self.shared = program.tied, program.shared
        self.parameters = [name for name in self.order if name in saved and name not in self.tied]
        self.buffers = [name for name in self.order if name not in saved and name not in self.tied]
        self.initial = program.state
        self.constants: dict[str, Any] = dict(program.constants)
        self.training_constants: dict[str, Any] = dict(program.training_constants)

    def variables(
        self, state: Mapping[str, np.ndarray] | None = None, source: str = ""
    ) -> dict[str, Any]:
        """Returns the values of the file, or of another state dict, as variables, dtypes unchanged.

        Args:
          source: names the state dict in errors.

        Raises:
          InputError: it lacks some of them.
        """
        values = self.initial if state is None else state
        missing = [name for name in (*self.parameters, *self.buffers) if name not in values]
        if missing:
            raise InputError(f"{source} does not fit the program; missing: {', '.join(missing)}.")
        found = {"params": nested({name: values[name] for name in self.parameters})}
        buffers = nested({name: values[name] for name in self.buffers})
        return found | ({"batch_stats": buffers} if buffers else {})

    def state_dict(self, variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Returns PyTorch's state dict of variables: its names, order and dtypes, tied ones twice.

        Raises:
          InputError: naming every variable that is missing, unexpected or of another shape.
        """
        flat = {name: np.asarray(value) for name, value in flattened(variables).items()}
        wanted = [*self.parameters, *self.buffers]
        faults = [f"{name} is missing" for name in wanted if name not in flat]
        faults += [f"{name} is unexpected" for name in flat if name not in wanted]
        for name in wanted:
            shape = self.initial[name].shape
            if name in flat and flat[name].shape != shape:
                faults.append(f"{name} is {list(flat[name].shape)}, expected {list(shape)}")
        if faults:
            raise InputError(f"the variables do not fit the program: {'; '.join(faults)}.")
        return {
            name: flat[self.tied.get(name, name)].astype(self.dtypes[name]) for name in self.order
        }


class Exported(nn.Module):
    """A program that computes what its PyTorch module computes, in PyTorch's layout.

    Its variables are `params` and, for the persistent buffers and the parameters that PyTorch does
    not train (`requires_grad=False`), `batch_stats`, nested by PyTorch's dotted names. Of tensors
    that PyTorch ties, the first name is the one variable.

    Attributes:
      computation: the graph. tensors: its parameters, buffers and constants; `init` gives these.
      training: the graph in training mode, where it is another.
    """

    computation: Computation
    tensors: Tensors
    training: Computation | None = None

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """The shape of one sample of the first input.

        Raises:
          InputError: sizes other than the batch's are free.
        """
        sizes = self.computation.graph.metas[self.computation.graph.user_inputs[0].name].sizes[1:]
        if any(isinstance(size, Free) for size in sizes):
            raise InputError(
                f"{self.computation.source} fixes no shape of a sample; export it with only the "
                "batch size free (dynamic_shapes=({0: Dim.AUTO},))."
            )
        return tuple(size for size in sizes if isinstance(size, int))

    def __call__(
        self,
        *inputs: jax.Array,
        key: jax.Array | None = None,
        train: bool = False,
    ) -> Any:
        """Computes the program; returns the tuple of its outputs.

        Args:
          key: of what it draws at random; without one, normal distributions are at their mean.
          train: whether it is computed as it was exported, or by the graph of training mode where
            there is one. Else a program exported for training is evaluated: no dropout, and
            normalised by the running statistics.
        """
        return self.computed(inputs, key=key, train=train).outputs

    def computed(self, inputs: tuple[Any, ...], *, train: bool = False, **how: Any) -> Outcome:
        """Computes the program; see `Computation.run`. New values of buffers are kept."""
        if self.is_initializing():
            for collection, tree in self.start().items():
                for name, value in tree.items():
                    self.put_variable(collection, name, jax.tree.map(jnp.asarray, value))
        flat = flattened(self.variables)
        values = self.constants(train) | flat
        values |= {name: flat[first] for name, first in self.tensors.tied.items()}
        found = self.graph_for(train).run(values, inputs, train=train, **how)
        if self.is_mutable_collection("batch_stats") and not self.is_initializing():
            self._keep(found.buffers)
        return found

    def graph_for(self, train: bool) -> Computation:
        """Returns the graph of a mode."""
        return self.training if train and self.training is not None else self.computation

    def constants(self, train: bool) -> dict[str, Any]:
        """Returns the constants of the graph of a mode."""
        own = train and self.training is not None
        return self.tensors.training_constants if own else self.tensors.constants

    def start(self) -> dict[str, Any]:
        """Returns the variables that `init` gives: those of the file."""
        return self.tensors.variables()

    def _keep(self, buffers: Mapping[str, jax.Array]) -> None:
        kept = flattened({"batch_stats": self.variables.get("batch_stats", {})})
        for name, value in buffers.items():
            name = self.tensors.tied.get(name, name)
            if name in kept:
                dtype = jax.dtypes.canonicalize_dtype(kept[name].dtype)
                kept[name] = value.astype(dtype)
        for name, tree in nested(kept).items():
            self.put_variable("batch_stats", name, tree)


def example_inputs(graph: Graph, batch: int | None = None) -> list[jax.ShapeDtypeStruct]:
    """Returns the shapes and dtypes of the inputs, free sizes being those of the export.

    Args:
      batch: instead of the export's, for the free size that the first axis of the first input has.
    """
    free = batch_symbol(graph)
    found = []
    for value in graph.user_inputs:
        sizes = []
        for size in graph.metas[value.name].sizes if value.name in graph.metas else ():
            if isinstance(size, Free):
                chosen = batch if size == free and batch is not None else size.hint
                sizes.append(2 if chosen is None else chosen)
            else:
                sizes.append(size)
        dtype = named(None, graph.metas[value.name].dtype if value.name in graph.metas else "int64")
        found.append(jax.ShapeDtypeStruct(tuple(sizes), dtype))
    return found


def batch_symbol(graph: Graph) -> Free | None:
    """Returns the free size on the first axis of the first input, None where that is fixed."""
    first = graph.metas[graph.user_inputs[0].name].sizes
    return first[0] if first and isinstance(first[0], Free) else None


def flattened(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the arrays of variables by dotted name."""

    def walk(tree: Mapping[str, Any], prefix: str) -> dict[str, Any]:
        found = {}
        for name, value in tree.items():
            path = f"{prefix}.{name}" if prefix else name
            found.update(walk(value, path) if isinstance(value, Mapping) else {path: value})
        return found

    return {
        name: value
        for collection in ("params", "batch_stats")
        for name, value in walk(variables.get(collection, {}), "").items()
    }


def nested(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Returns arrays by dotted name as a tree."""
    tree: dict[str, Any] = {}
    for name, value in arrays.items():
        node = tree
        *parents, leaf = name.split(".")
        for part in parents:
            node = node.setdefault(part, {})
            if not isinstance(node, dict):
                raise InputError(f"a tensor and a module are both named {part!r} in {name!r}.")
        node[leaf] = value
    return tree
