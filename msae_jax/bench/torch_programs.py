"""PyTorch's sides of the bench of a `.pt2`: its own graph, eager and by `torch.compile`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from msae_jax.interop.graph.table import CHANGES, find
from msae_jax.interop.verification import torch_trace
from msae_jax.interop.verification.program_trace import Problem
from msae_jax.interop.verification.torch_graph import graph_module
from msae_jax.models.torch_reference import Result

Call = Callable[[], float]


def sides(problem: Problem, *, compiled: bool) -> dict[str, Call]:
    """Returns, by task and side, a call that makes a pass or an epoch and returns its mean."""
    batches = [[torch.from_numpy(x) for x in batch] for batch in problem.batches]
    calls: dict[str, Call] = {}
    for name in ("eager", "compiled") if compiled else ("eager",):
        forward, training = (_Graph(problem, train) for train in (False, True))
        optimizer = torch.optim.Adam(list(training.parameters()), lr=problem.learning_rate)
        if name == "compiled":
            for each in (forward, training):
                each.graph = torch.compile(each.graph)
        calls[f"forward {name}"] = _forward(forward, batches)
        calls[f"train {name}"] = _training(training, optimizer, batches, problem)
    return calls


class _Graph(torch.nn.Module):
    """A program whose buffers get their new values after the graph, which autograd asks for."""

    def __init__(self, problem: Problem, train: bool) -> None:
        super().__init__()
        graph = problem.module.graph_for(train).graph
        self.graph: Any = graph_module(graph, train=train, dtype=torch.float32)
        self._inputs, self._outputs = graph.inputs, graph.outputs
        # autograd refuses a buffer that is changed in place after it was used
        self._copies = any(find(n.operator)[1] or n.operator in CHANGES for n in graph.nodes)
        self._tied = problem.module.tensors.tied
        self._learned = {k: torch.nn.Parameter(_tensor(v)) for k, v in problem.params.items()}
        held = problem.module.constants(train) | problem.buffers
        self._held = {name: _tensor(array) for name, array in held.items()}
        for number, parameter in enumerate(self._learned.values()):
            self.register_parameter(f"p{number}", parameter)

    def forward(self, *inputs: Tensor) -> list[Any]:
        given = iter(inputs)
        if self._copies:
            self._held = {name: tensor.clone() for name, tensor in self._held.items()}
        args: list[Any] = []
        for value in self._inputs:
            name = self._tied.get(value.target, value.target)
            if value.kind == "user":
                args.append(next(given))
            elif value.kind == "fixed":
                args.append(value.value)
            else:
                args.append(self._learned[name] if name in self._learned else self._held[name])
        user = []
        for value, result in zip(self.graph(*args), self._outputs, strict=True):
            if result.kind == "buffer":
                self._held[self._tied.get(result.target, result.target)] = value.detach()
            else:
                user.append(value)
        return user


def _tensor(array: Any) -> Tensor:
    found = torch.from_numpy(np.array(array))
    return found.float() if found.is_floating_point() else found


def _forward(module: Any, batches: list[list[Tensor]]) -> Call:
    def call() -> float:
        total = 0.0
        with torch.no_grad():
            for batch in batches:
                total += float(np.abs(_first_float(module(*batch)).numpy()).mean())
        return total

    return call


def _training(
    module: Any, optimizer: torch.optim.Adam, batches: list[list[Tensor]], problem: Problem
) -> Call:
    names = problem.module.graph_for(True).graph.output_names
    places = {role: names.index(name) for role, name in problem.roles[1].items()}

    def call() -> float:
        losses = []
        for batch in batches:
            optimizer.zero_grad(set_to_none=True)
            outputs = module(*batch)
            if places:
                parts = {role: outputs[place].flatten(1) for role, place in places.items()}
                parts.setdefault("recon", parts.get("logits", outputs[0]))
                parts.setdefault("z", parts["recon"])
                loss = torch_trace.objective(
                    problem.objective, Result(**parts), batch[0].flatten(1)
                )
            else:
                each = [y.square().mean() for y in _floats(outputs)]
                loss = torch.stack(each).sum()
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        return float(torch.stack(losses).mean())

    return call


def _floats(outputs: list[Any]) -> list[Tensor]:
    return [y for y in outputs if isinstance(y, Tensor) and y.is_floating_point()]


def _first_float(outputs: list[Any]) -> Tensor:
    """Returns the first output that is of floats, or the first."""
    tensors = [y for y in outputs if isinstance(y, Tensor)]
    return next(iter(_floats(outputs)), tensors[0])
