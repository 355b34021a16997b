"""PyTorch's sides of the bench of a `.pt2`: its own graph, eager and by `torch.compile`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from msae_jax.interop.verification import torch_trace
from msae_jax.interop.verification.program_trace import Problem
from msae_jax.interop.verification.torch_program import Programs
from msae_jax.models.torch_reference import Result

Call = Callable[[], float]


def sides(path: Path, problem: Problem, *, compiled: bool) -> dict[str, Call]:
    """Returns, by task and side, a call that makes a pass or an epoch and returns its mean."""
    batches = [[torch.from_numpy(x) for x in batch] for batch in problem.batches]
    calls: dict[str, Call] = {}
    for name in ("eager", "compiled") if compiled else ("eager",):
        programs = Programs(path, problem.module)
        forward, training = (_Graph(programs.of(train), problem) for train in (False, True))
        optimizer = torch.optim.Adam(list(training.parameters()), lr=problem.learning_rate)
        if name == "compiled":
            for each in (forward, training):
                each.graph = torch.compile(each.graph)
        calls[f"forward {name}"] = _forward(forward, batches)
        calls[f"train {name}"] = _training(training, optimizer, batches, problem)
    return calls


class _Graph(torch.nn.Module):
    """A program whose buffers get their new values after the graph, which autograd asks for."""

    def __init__(self, program: Any, problem: Problem) -> None:
        super().__init__()
        self.graph = program.graph_module
        self._inputs = program.graph_signature.input_specs
        self._outputs = program.graph_signature.output_specs
        self._tied = problem.module.tensors.tied
        self._learned = {
            name: torch.nn.Parameter(torch.from_numpy(np.array(array)))
            for name, array in problem.params.items()
        }
        held = dict(program.constants) | dict(program.state_dict)
        self._held = {name: tensor for name, tensor in held.items() if name not in self._learned}
        for number, parameter in enumerate(self._learned.values()):
            self.register_parameter(f"p{number}", parameter)

    def forward(self, *inputs: Tensor) -> list[Any]:
        given = iter(inputs)
        args = []
        for spec in self._inputs:
            name = self._tied.get(spec.target, spec.target)
            if name is None:
                args.append(next(given))
            else:
                args.append(self._learned[name] if name in self._learned else self._held[name])
        outputs = self.graph(*args)
        user = []
        for value, spec in zip(outputs, self._outputs, strict=True):
            if spec.kind.name == "BUFFER_MUTATION":
                self._held[self._tied.get(spec.target, spec.target)] = value.detach()
            else:
                user.append(value)
        return user


def _forward(module: Any, batches: list[list[Tensor]]) -> Call:
    def call() -> float:
        total = 0.0
        with torch.no_grad():
            for batch in batches:
                total += float(np.mean(_first_float(_outputs(module(*batch))).numpy()))
        return total

    return call


def _training(
    module: Any, optimizer: torch.optim.Adam, batches: list[list[Tensor]], problem: Problem
) -> Call:
    names = problem.module.graph_for(True).graph.output_names
    places = {role: names.index(name) for role, name in problem.roles[1].items() if name in names}

    def call() -> float:
        losses = []
        for batch in batches:
            optimizer.zero_grad(set_to_none=True)
            outputs = _outputs(module(*batch))
            if {"recon", "logits"} & set(places):
                parts = {role: outputs[place].flatten(1) for role, place in places.items()}
                parts.setdefault("recon", parts.get("logits", outputs[0]))
                parts.setdefault("z", parts["recon"])
                loss = torch_trace.objective(
                    problem.objective, Result(**parts), batch[0].flatten(1)
                )
            else:
                each = [y.square().mean() for y in outputs if y.is_floating_point()]
                loss = torch.stack(each).sum()
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        return float(torch.stack(losses).mean())

    return call


def _outputs(found: Any) -> list[Tensor]:
    flat = torch.utils._pytree.tree_leaves(found)
    return [y for y in flat if isinstance(y, Tensor)]


def _first_float(outputs: list[Tensor]) -> Tensor:
    return next((y for y in outputs if y.is_floating_point()), outputs[0])
