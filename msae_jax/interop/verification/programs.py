"""Verifies that JAX computes and trains a `.pt2` program as PyTorch does."""

from __future__ import annotations

import base64
import importlib.util
from pathlib import Path
from typing import Any

import jax
import numpy as np

from msae_jax.config import Objective
from msae_jax.errors import InputError
from msae_jax.interop.autoencoder import Autoencoder
from msae_jax.interop.exported import Exported, batch_symbol, example_inputs
from msae_jax.interop.files.pt2 import Program, read_pt2
from msae_jax.interop.files.tensor_files import arrays_in
from msae_jax.interop.graph.computation import Computation
from msae_jax.interop.programs import assumed, roles_of
from msae_jax.interop.pt2 import notes
from msae_jax.interop.torch_files import float32
from msae_jax.interop.verification import program_trace
from msae_jax.interop.verification.certificate import Certificate, Check
from msae_jax.interop.verification.choices import BATCH, CANDIDATES, STEPS, first_passing
from msae_jax.interop.verification.comparison import compare
from msae_jax.interop.verification.program_trace import Problem, Tracer

LEARNING_RATE = 1e-3
RECORDED = "recorded.safetensors.base64"
"""What `export-torch` writes into a file: inputs `input_0`, ..., and what PyTorch makes of them."""


def verify_program(
    path: Path,
    model: Autoencoder,
    samples: np.ndarray | None,
    data_name: str | None,
    subject: dict[str, Any],
    conditions: dict[str, Any],
) -> Certificate:
    """Returns the certificate of a `.pt2`.

    Without PyTorch: that every operator is known, the round trip, finite values, and the outputs
    that `export-torch` recorded. With it also outputs, every node, loss, gradients, buffers, and
    one and ten steps of Adam.

    Args:
      model: the program, with the roles that the user names.
      samples: `[N, ...]` of the data set `data_name`, as the program has them; by default drawn
        from U(0, 1).

    Raises:
      InputError: as `load_pt2` says; or the program is not of float32 or float64, or has nothing
        that could be compared.
    """
    program = read_pt2(path)
    module = Exported(model.computation, model.tensors, model.training)
    values = [roles_of(model, train) for train in (False, True)]
    graph = module.computation.graph
    kinds = {node.operator for node in graph.nodes}
    subject |= {
        "verified against": f"the graph of {path.name}, {len(graph.nodes)} nodes of {len(kinds)} "
        f"operators, written by PyTorch {program.torch_version}",
        "parameters": sum(program.state[name].size for name in module.tensors.parameters),
    }
    if values[0]:
        taken = assumed(model)
        if taken is not None:
            subject["assumed"] = taken
    if any(array.dtype == np.float64 for array in program.state.values()):
        conditions["precision of the file"] = "float64, compared in float32, to which it is rounded"
    conditions["notes"] = "; ".join(notes(module)) or "none"
    facts = _facts(program, module)
    if importlib.util.find_spec("torch") is None:
        conditions["PyTorch"] = "not installed: the graph is not computed with it"
        return Certificate(subject, conditions, facts)
    import torch

    problem, said = _problem(module, (values[0], values[1]), samples, data_name)
    conditions["PyTorch"] = f"{torch.__version__}, CPU"
    conditions |= said
    checks, tried = _against_torch(problem)
    if len(tried) > 1:
        conditions["data"] += (
            f"; the {len(tried)}. choice of the later batches: on those before only what follows "
            "the first step was out of tolerance"
        )
    return Certificate(subject, conditions, facts, checks)


def _facts(program: Program, module: Exported) -> dict[str, tuple[bool, str]]:
    back = module.tensors.state_dict(module.tensors.variables())
    same = list(back) == list(program.state) and all(
        back[k].dtype == v.dtype and back[k].tobytes() == v.tobytes()
        for k, v in program.state.items()
    )
    bad = [
        name
        for name, array in program.state.items()
        if array.dtype.kind in "fV" and not np.isfinite(array.astype(np.float32)).all()
    ]
    found = {
        "round trip": (same, f"state dict of {len(back)} tensors, names, order, bits"),
        "finite": (not bad, f"NaN or infinite in {', '.join(bad)}" if bad else "all values"),
    }
    if RECORDED in program.extra:
        found["recorded outputs"] = _recorded(program, module)
    return found


def _decoded(text: bytes) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return b""  # no safetensors either, which the reader says


def _recorded(program: Program, module: Exported) -> tuple[bool, str]:
    """Whether the outputs come out that PyTorch had when the file was written, to 1e-5."""
    count = len(module.computation.graph.user_inputs)
    held = arrays_in(_decoded(program.extra[RECORDED]), module.computation.source)
    if any(f"input_{i}" not in held for i in range(count)):
        return False, "the file lacks the inputs of what it recorded"
    inputs = [held[f"input_{i}"] for i in range(count)]
    with jax.default_matmul_precision("highest"), jax.enable_x64(True):
        outputs = jax.jit(module.apply)(module.tensors.variables(), *inputs)
    apart = []
    for number, y in enumerate(outputs):
        if not hasattr(y, "shape"):
            continue
        wanted = held.get(f"output_{number}")
        if wanted is None or wanted.shape != y.shape:
            return False, f"output {number} is not recorded, or in another shape"
        exact = np.asarray(wanted, np.float64)
        scale = np.linalg.norm(exact) or 1.0
        apart.append(float(np.linalg.norm(np.asarray(y, np.float64) - exact) / scale))
    holds = bool(apart) and all(distance <= 1e-5 for distance in apart)
    worst = max(apart, key=lambda d: (np.isnan(d), d), default=np.nan)
    return holds, f"of {len(inputs[0])} samples, {worst:.1e} off, L2 relative (1e-5)"


def _problem(
    module: Exported,
    roles: tuple[dict[str, str], dict[str, str]],
    samples: np.ndarray | None,
    data_name: str | None,
) -> tuple[Problem, dict[str, Any]]:
    """Returns what both sides are given, all candidates as its batches; and what is to be said."""
    graph = module.computation.graph
    source, dtypes = module.computation.source, {m.dtype for m in graph.metas.values()}
    odd = sorted(dtypes & {"float16", "bfloat16", "complex64", "complex128"})
    if odd:
        raise InputError(
            f"{source} computes in {', '.join(odd)}; verified are float32 and float64."
        )
    if not graph.user_inputs:
        raise InputError(f"{source} has no inputs: there is no training to verify.")
    floats = [graph.metas[name].dtype in ("float32", "float64") for name in graph.output_names
              if name in graph.metas]  # fmt: skip
    if not any(floats):
        raise InputError(f"{source} has no output of floats: there is no loss to verify.")
    plain, dropped = program_trace.without_inner_dropout(graph)
    training = module.training
    if training is not None:
        own, also = program_trace.without_inner_dropout(training.graph)
        training, dropped = Computation(own, source), dropped or also
    module = Exported(Computation(plain, source), module.tensors, training)
    variables = jax.tree.map(float32, module.tensors.variables())
    params, buffers = program_trace.split(module, variables)
    batch = BATCH if batch_symbol(graph) is not None else None
    batches = _batches(module, samples, batch)
    said = {
        "data": "uniform noise" if samples is None else data_name or "samples given",
        "loss": "the mean square of each output" if not roles[1] else
        "the squared error of the reconstruction" + (", KL" if "mu" in roles[1] else ""),
    }  # fmt: skip
    said["data"] += f", {len(batches[0][0])} a batch"
    if dropped:
        said["dropout"] = "that inside recurrent and attention layers is off on both sides"
    likelihood = "bernoulli" if "logits" in roles[1] else "gaussian"
    checkpoints = (1, STEPS)
    made = Problem(
        module, params, buffers, batches, roles, Objective(likelihood), LEARNING_RATE, checkpoints
    )
    return made, said


def _batches(
    module: Exported, samples: np.ndarray | None, batch: int | None
) -> list[list[np.ndarray]]:
    graph = module.computation.graph
    if samples is None:
        return program_trace.noise(graph, batch, CANDIDATES)
    shapes = example_inputs(graph, batch)
    count = shapes[0].shape[0]
    whole = len(samples) // count
    if len(shapes) != 1 or whole < STEPS:
        raise InputError(
            f"verification needs {STEPS * count} samples of one input, got {len(samples)}."
        )
    return [[samples[i * count : (i + 1) * count]] for i in range(min(whole, CANDIDATES))]


def _against_torch(problem: Problem) -> tuple[list[Check], list[list[int]]]:
    """Returns the checks, and the batches of each choice that was tried; see `first_passing`."""
    import torch

    from msae_jax.interop.verification import torch_program, torch_quality

    tracer = Tracer(problem)
    _, drawn = tracer.trace(problem.batches[:1])
    qualities = [torch_quality.quality(problem, drawn, i) for i in range(len(problem.batches))]
    first = max(range(len(qualities)), key=qualities.__getitem__)
    behind = program_trace.behind(problem.module.graph_for(True).graph)

    def checked(numbers: list[int]) -> list[Check]:
        chosen = problem._replace(batches=[problem.batches[i] for i in numbers])
        ours, drawn = tracer.trace(chosen.batches)
        single, exact = (
            torch_program.trace(chosen, drawn, dtype) for dtype in (torch.float32, torch.float64)
        )
        return compare(ours, single, exact, problem.learning_rate, behind)

    return first_passing(first, len(problem.batches), checked)
