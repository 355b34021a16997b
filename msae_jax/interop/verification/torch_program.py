"""What PyTorch computes of a `.pt2`'s graph on given batches: the other half of a verification.

Needs the `torch` extra. PyTorch reads the file itself, but for its sample inputs, which it would
unpickle: they are left out.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

from msae_jax.interop.exported import Exported
from msae_jax.interop.files.pt2 import TRAINING
from msae_jax.interop.verification import torch_trace
from msae_jax.interop.verification.program_trace import (
    DROPOUT,
    INNER,
    Drawn,
    Draws,
    Problem,
    names_of,
)
from msae_jax.interop.verification.trace import Trace, Training
from msae_jax.models.torch_reference import Result

_FLAGS = ("training", "train", "use_input_stats")
_FLOATS = (torch.float32, torch.float64)


class Programs:
    """The programs in a file as PyTorch has them, for evaluation and for training."""

    def __init__(self, path: Path, module: Exported) -> None:
        from torch.export.pt2_archive._package import load_pt2

        found = load_pt2(_without_samples(path)).exported_programs
        training = found.pop(TRAINING, None)
        [evaluation] = found.values()
        self.training = evaluation if training is None else training
        self.evaluation = evaluation
        self.module = module

    def of(self, train: bool) -> Any:
        return self.training if train else self.evaluation


def _without_samples(path: Path) -> io.BytesIO:
    """Returns a file without its sample inputs, which are a pickle and could run code."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(buffer, "w") as target:
        for info in source.infolist():
            data = b"" if "/data/sample_inputs/" in info.filename else source.read(info)
            target.writestr(zipfile.ZipInfo(info.filename), data)
    buffer.seek(0)
    return buffer


class _Observer(fx.Interpreter):
    """Computes a graph in one floating dtype, is told what is drawn, and keeps each value."""

    def __init__(self, graph: fx.GraphModule, dtype: torch.dtype, draws: Draws, train: bool):
        super().__init__(graph, garbage_collect_values=False)
        self.dtype, self.draws, self.train = dtype, draws, train
        self.seen: dict[str, Any] = {}
        self.arrays: dict[str, np.ndarray] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = self._value(n)
        if n.op == "call_function":
            self.seen[n.name] = value
            if isinstance(value, Tensor) and value.is_floating_point():
                self.arrays[n.name] = to_array(value)  # now: a view of a parameter would change
        return value

    def _value(self, n: fx.Node) -> Any:
        if n.op != "call_function" or not hasattr(n.target, "_schema"):
            return super().run_node(n)
        name = n.target._schema.name.removeprefix("aten::")
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        given = self._drawn(n)
        if name == "rrelu" and self.train and given is not None:
            x = args[0]
            return x * torch.where(x < 0, given / x, 1).detach()  # the slopes that were drawn
        if name in DROPOUT and self.train and given is not None:
            mask = (given != 0).to(self.dtype) / (1 - float(args[1]))
            return (args[0] * mask, mask != 0) if name == "native_dropout" else args[0] * mask
        if given is not None and name not in DROPOUT:
            return given
        names = [argument.name for argument in n.target._schema.arguments]
        named = dict(zip(names, args, strict=False)) | kwargs
        for key, value in named.items():
            if isinstance(value, torch.dtype) and value in _FLOATS:
                named[key] = self.dtype
            # a norm without running statistics has those of the batch in evaluation, too
            kept = "running_mean" in named and named["running_mean"] is None
            if key in _FLAGS and not self.train and not kept:
                named[key] = False
            if key in INNER and isinstance(value, float):
                named[key] = 0.0
        positional = [
            named.pop(argument.name)
            for argument in n.target._schema.arguments
            if not argument.kwarg_only and argument.name in named
        ]
        assert callable(n.target)
        return n.target(*positional, **named)

    def _drawn(self, n: fx.Node) -> Tensor | None:
        names = [n.name, *(user.name for user in n.users if user.op == "call_function")]
        found = next((self.draws[name] for name in names[:1] if name in self.draws), None)
        if found is None and n.target is torch.ops.aten.native_dropout.default:
            firsts = [user for user in n.users if user.args[1:] == (0,)]
            found = self.draws.get(firsts[0].name) if firsts else None
        return None if found is None else torch.from_numpy(found.copy()).to(self.dtype)


def trace(programs: Programs, problem: Problem, drawn: Drawn, dtype: torch.dtype) -> Trace:
    """Returns what PyTorch computes in `dtype`, from the same weights and with the same draws."""
    state = State(programs, problem, dtype)
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
    outputs |= {role: evaluated.seen[name] for role, name in problem.roles[0].items()}
    return Trace(
        {name: to_array(y) for name, y in outputs.items() if y.is_floating_point()},
        _layers(evaluated.arrays, problem.module, False),
        _layers(trained.arrays, problem.module, True),
        np.array(steps),
        gradients,
        after,
    )


class _Ran:
    def __init__(self, observer: _Observer, outputs: list[Any]) -> None:
        self.seen, self.arrays, self.outputs = observer.seen, observer.arrays, outputs


class State:
    """Parameters and buffers in one dtype, and the runs that use them."""

    def __init__(self, programs: Programs, problem: Problem, dtype: torch.dtype) -> None:
        self.programs, self.problem, self.dtype = programs, problem, dtype
        self.params = {k: self._tensor(v).requires_grad_() for k, v in problem.params.items()}
        self.buffers = {k: self._tensor(v) for k, v in problem.buffers.items()}

    def _tensor(self, array: Any) -> Tensor:
        found = torch.from_numpy(np.array(array))
        return found.to(self.dtype) if found.is_floating_point() else found

    def run(self, number: int, train: bool, draws: Draws) -> _Ran:
        """Computes a batch; in training the buffers take their new values."""
        program = self.programs.of(train)
        tied = self.problem.module.tensors.tied
        inputs = iter(self.problem.batches[number])
        args: list[Any] = []
        places: dict[int, str] = {}
        for spec in program.graph_signature.input_specs:
            name = tied.get(spec.target, spec.target)
            if name in self.params:
                args.append(self.params[name])
            elif name in self.buffers:
                places[len(args)] = name
                args.append(self.buffers[name].clone())
            elif spec.target is not None:
                args.append(self._constant(program, spec.target))
            elif hasattr(spec.arg, "value") and type(spec.arg).__name__ == "ConstantArgument":
                args.append(spec.arg.value)
            else:
                args.append(self._tensor(next(inputs)))
        observer = _Observer(program.graph_module, self.dtype, draws, train)
        found = list(observer.run(*args))
        user = [
            value
            for value, spec in zip(found, program.graph_signature.output_specs, strict=True)
            if spec.kind.name == "USER_OUTPUT"
        ]
        if train:
            for place, name in places.items():  # changed in place
                self.buffers[name] = args[place].detach()
            for value, spec in zip(found, program.graph_signature.output_specs, strict=True):
                if spec.kind.name == "BUFFER_MUTATION":
                    self.buffers[tied.get(spec.target, spec.target)] = value.detach()
        return _Ran(observer, user)

    def _constant(self, program: Any, name: str) -> Any:
        value = program.constants.get(name)
        value = program.state_dict[name] if value is None else value
        return value.to(self.dtype) if value.is_floating_point() else value

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
        parts = {role: ran.seen[name].flatten(1) for role, name in roles.items()}
        if "recon" not in parts:
            parts["recon"] = torch.sigmoid(parts["logits"])
        parts.setdefault("z", parts["recon"])
        return torch_trace.objective(self.problem.objective, Result(**parts), x)


def outputs_at_means(program: Any, inputs: tuple[Tensor, ...]) -> dict[int, Tensor]:
    """Returns the outputs of an exported program, with normal draws at their means."""
    zeros = {
        node.name: np.zeros([_hint(n) for n in node.meta["val"].shape], np.float32)
        for node in program.graph.nodes
        if "randn" in str(node.target)
    }
    given = iter(inputs)
    held = dict(program.state_dict) | dict(program.constants)
    args = [
        next(given) if spec.target is None else held[spec.target]
        for spec in program.graph_signature.input_specs
    ]
    dtype = next((x.dtype for x in inputs if x.is_floating_point()), torch.float32)
    found = _Observer(program.graph_module, dtype, zeros, train=True).run(*args)
    specs = program.graph_signature.output_specs
    user = [y for y, spec in zip(found, specs, strict=True) if spec.kind.name == "USER_OUTPUT"]
    return {number: y for number, y in enumerate(user) if isinstance(y, Tensor)}


def _hint(size: Any) -> int:
    return size if isinstance(size, int) else int(size.node.hint)


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
