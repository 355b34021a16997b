"""What PyTorch computes of a `.pt2`'s graph on given batches: the other half of a verification.

Needs the `torch` extra.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, fx

from msae_jax.interop.exported import Exported
from msae_jax.interop.files.pt2_values import Graph, Node
from msae_jax.interop.verification import torch_trace
from msae_jax.interop.verification.program_trace import (
    DROPOUT,
    RANDOM,
    Drawn,
    Draws,
    Problem,
    names_of,
)
from msae_jax.interop.verification.torch_graph import graph_module
from msae_jax.interop.verification.trace import Trace, Training
from msae_jax.models.torch_reference import Result


class Observer:
    """Computes a program's graph in one floating dtype, and keeps each value by its name.

    What a node draws at random it is told; a node that drops is given the mask.
    """

    def __init__(self, graph: Graph, train: bool, dtype: torch.dtype) -> None:
        self.graph, self.train, self.dtype = graph, train, dtype
        self._module = graph_module(graph, train=train, dtype=dtype, inner_dropout=False)
        # the nodes of both graphs are in one order, and in ours their values have names
        calls = [n for n in self._module.graph.nodes if n.op == "call_function"]
        calls = [n for n in calls if n.target is not _getitem]
        self._nodes = dict(zip([n.name for n in calls], graph.nodes, strict=True))

    def run(self, args: list[Any], draws: Draws) -> _Ran:
        run = _Run(self, draws)
        return _Ran(run.values, run.arrays, list(run.run(*args)))


_getitem = operator.getitem


class _Ran(NamedTuple):
    values: dict[str, Any]
    arrays: dict[str, np.ndarray]
    outputs: list[Any]


class _Run(fx.Interpreter):
    def __init__(self, observer: Observer, draws: Draws) -> None:
        super().__init__(observer._module, garbage_collect_values=False)
        self._observer, self._draws = observer, draws
        self.values: dict[str, Any] = {}
        self.arrays: dict[str, np.ndarray] = {}

    def run_node(self, n: fx.Node) -> Any:
        node = self._observer._nodes.get(n.name)
        value = super().run_node(n) if node is None else self._computed(n, node)
        if node is not None and node.outputs:  # an assertion has none
            self._keep(node, value)
        return value

    def _keep(self, node: Node, value: Any) -> None:
        listed = node.outputs[0] if len(node.outputs) == 1 else node.outputs
        parts = (
            zip(listed, value, strict=False) if isinstance(listed, tuple) else ((listed, value),)
        )
        for name, part in parts:
            if not isinstance(name, str):
                continue
            self.values[name] = part
            if isinstance(part, Tensor) and part.is_floating_point():
                # now: a view of a parameter would change with it
                self.arrays[name] = to_array(part)

    def _computed(self, n: fx.Node, node: Node) -> Any:
        drawn = next((self._draws[name] for name in node.values if name in self._draws), None)
        kind = node.operator.split(".")[1].removesuffix("_") if "." in node.operator else ""
        if drawn is None or kind not in (*RANDOM, *DROPOUT):
            return super().run_node(n)
        given = torch.from_numpy(drawn.copy())
        given = given.to(self._observer.dtype if given.is_floating_point() else torch.int64)
        if kind in RANDOM:
            return given
        args, _ = self.fetch_args_kwargs_from_env(n)
        if not self._observer.train:
            return super().run_node(n)
        if kind == "rrelu":
            x = args[0]
            return x * torch.where(x < 0, given / x, 1).detach()  # the slopes that were drawn
        rate = float(args[1])
        if not rate or (len(args) > 2 and args[2] is False):  # drops nothing
            return super().run_node(n)
        mask = (given != 0).to(self._observer.dtype) / (1 - rate if rate < 1 else 1)
        return (args[0] * mask, mask != 0) if kind == "native_dropout" else args[0] * mask


def trace(problem: Problem, drawn: Drawn, dtype: torch.dtype) -> Trace:
    """Returns what PyTorch computes in `dtype`, from the same weights and with the same draws."""
    state = State(problem, dtype)
    evaluated = state.run(0, False, drawn.evaluation)
    before = {name: tensor.clone() for name, tensor in state.buffers.items()}
    trained = state.run(0, True, drawn.training[0])
    state.buffers = before
    optimizer = torch.optim.Adam(list(state.params.values()), lr=problem.learning_rate)
    steps, gradients, after = [], {}, {}
    for number in range(len(problem.batches)):
        loss, grads = state.gradients(number, drawn.training[number])
        steps.append(loss)
        for name, parameter in state.params.items():
            parameter.grad = grads[name]
        if number == 0:
            gradients = {name: to_array(grad) for name, grad in grads.items()}
        optimizer.step()
        if number + 1 in problem.checkpoints:
            after[number + 1] = _training(state, optimizer)
    outputs = {str(i): y for i, y in enumerate(evaluated.outputs) if isinstance(y, Tensor)}
    outputs |= {role: evaluated.values[name] for role, name in problem.roles[0].items()}
    return Trace(
        {name: to_array(y) for name, y in outputs.items() if y.is_floating_point()},
        _layers(evaluated.arrays, problem.module, False),
        _layers(trained.arrays, problem.module, True),
        np.array(steps),
        gradients,
        after,
    )


class State:
    """Parameters and buffers in one dtype, and the runs that use them."""

    def __init__(self, problem: Problem, dtype: torch.dtype) -> None:
        self.problem, self.dtype = problem, dtype
        self._observers = [
            Observer(problem.module.graph_for(train).graph, train, dtype) for train in (False, True)
        ]
        self.params = {k: self._tensor(v).requires_grad_() for k, v in problem.params.items()}
        self.buffers = {k: self._tensor(v) for k, v in problem.buffers.items()}

    def _tensor(self, array: Any) -> Tensor:
        found = torch.from_numpy(np.array(array))
        return found.to(self.dtype) if found.is_floating_point() else found

    def run(self, number: int, train: bool, draws: Draws) -> _Ran:
        """Computes a batch; in training the buffers take their new values."""
        observer = self._observers[train]
        tensors = self.problem.module.tensors
        inputs = iter(self.problem.batches[number])
        args: list[Any] = []
        places: dict[int, str] = {}
        for value in observer.graph.inputs:
            name = tensors.tied.get(value.target, value.target)
            if value.kind == "user":
                args.append(self._tensor(next(inputs)))
            elif value.kind == "fixed":
                args.append(value.value)
            elif name in self.params:
                args.append(self.params[name])
            elif name in self.buffers:
                places[len(args)] = name
                args.append(self.buffers[name].clone())
            else:
                args.append(self._tensor(self.problem.module.constants(train)[value.target]))
        ran = observer.run(args, draws)
        pairs = list(zip(ran.outputs, observer.graph.outputs, strict=True))
        if train:
            for place, name in places.items():  # changed in place
                self.buffers[name] = args[place].detach()
            for value, result in pairs:
                if result.kind == "buffer":
                    self.buffers[tensors.tied.get(result.target, result.target)] = value.detach()
        return ran._replace(outputs=[value for value, result in pairs if result.kind == "user"])

    def gradients(self, number: int, draws: Draws) -> tuple[float, dict[str, Tensor]]:
        """Returns the loss of a batch and its gradients; unused parameters have zeros."""
        ran = self.run(number, True, draws)
        loss = self._loss(ran, number)
        grads = torch.autograd.grad(loss, list(self.params.values()), allow_unused=True)
        found = zip(self.params.items(), grads, strict=True)
        return loss.item(), {k: torch.zeros_like(p) if g is None else g for (k, p), g in found}

    def _loss(self, ran: _Ran, number: int) -> Tensor:
        roles = self.problem.roles[1]
        if not roles:
            outputs = [y for y in ran.outputs if isinstance(y, Tensor) and y.is_floating_point()]
            total: Tensor = torch.stack([y.square().mean() for y in outputs]).sum()
            return total
        x = self._tensor(self.problem.batches[number][0]).flatten(1)
        parts = {role: ran.values[name].flatten(1) for role, name in roles.items()}
        if "recon" not in parts:
            parts["recon"] = torch.sigmoid(parts["logits"])
        parts.setdefault("z", parts["recon"])
        return torch_trace.objective(self.problem.objective, Result(**parts), x)


def _layers(
    arrays: Mapping[str, np.ndarray], module: Exported, train: bool
) -> dict[str, np.ndarray]:
    names = names_of(module.graph_for(train).graph)
    return {names[name]: array for name, array in arrays.items() if name in names}


def _training(state: State, optimizer: torch.optim.Adam) -> Training:
    moments = {name: optimizer.state[p] for name, p in state.params.items()}
    tensors = state.params | state.buffers
    return Training(
        {name: to_array(tensor) for name, tensor in tensors.items()},
        {name: to_array(moment["exp_avg"]) for name, moment in moments.items()},
        {name: to_array(moment["exp_avg_sq"]) for name, moment in moments.items()},
    )


def to_array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy().copy()
