"""A `.pt2` beside PyTorch: its own graph, eager and compiled, forward and training."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from msae_jax.bench.compare import AGREE, AGREE_NOISY, Result, check_counts, nbytes
from msae_jax.bench.turns import in_turn
from msae_jax.config import Objective, OptimizerConfig
from msae_jax.errors import InputError
from msae_jax.interop.autoencoder import Autoencoder
from msae_jax.interop.exported import batch_symbol
from msae_jax.interop.files.pt2 import read_pt2
from msae_jax.interop.programs import roles_of
from msae_jax.interop.pt2 import fields
from msae_jax.interop.torch_files import float32
from msae_jax.interop.verification import program_trace
from msae_jax.interop.verification.program_trace import Problem
from msae_jax.system.compiling import jit_inference, jit_training
from msae_jax.train.optimizer import make_optimizer

LEARNING_RATE = 1e-3
STEPS = 50

Call = Callable[[], float]


def bench_program(
    path: str | Path,
    *,
    batch_size: int = 16,
    steps: int | None = None,
    repeats: int = 7,
    compiled: bool = True,
) -> list[Result]:
    """Times a program's forward pass and its training, in turn with PyTorch's.

    A pass is `steps` batches of noise, from arrays of each framework's own to the mean size of the
    first output; ours is one compiled program, as is our epoch. An epoch is as many steps of Adam
    on the squared error of the reconstruction, with the KL term where the posterior is known, or of
    a program that is no autoencoder on the mean square of its outputs.
    Each side first makes one that is not timed.

    Args:
      batch_size: where the program leaves it free.
      steps: 50 by default. compiled: whether to try `torch.compile`.

    Raises:
      InputError: as `load_pt2` says.
    """
    check_counts(steps, repeats)
    if batch_size < 1:
        raise InputError(f"--batch-size is a number from 1, got {batch_size}.")
    module = Autoencoder(**fields(read_pt2(path), str(path)))
    problem = _problem(module, batch_size, steps or STEPS)
    sides = _ours(problem)
    if importlib.util.find_spec("torch") is not None:
        from msae_jax.bench import torch_programs

        sides |= torch_programs.sides(problem, compiled=compiled)
    return [_timed(problem, task, sides, repeats, str(path)) for task in ("forward", "train")]


def _problem(module: Autoencoder, batch_size: int, steps: int) -> Problem:
    variables = jax.tree.map(float32, module.tensors.variables())
    params, buffers = program_trace.split(module, variables)
    graph = module.computation.graph
    if not graph.user_inputs or not module.tensors.parameters:
        lacking = "inputs" if not graph.user_inputs else "parameters that are trained"
        raise InputError(f"{module.computation.source} has no {lacking}: nothing to time.")
    free = batch_symbol(graph) is not None
    batches = program_trace.noise(graph, batch_size if free else None, steps)
    evaluation, training = (_told(module, train) for train in (False, True))
    likelihood = "bernoulli" if "logits" in training else "gaussian"
    return Problem(
        module,
        params,
        buffers,
        batches,
        (evaluation, training),
        Objective(likelihood),
        LEARNING_RATE,
        (),
    )


def _told(module: Autoencoder, train: bool) -> dict[str, str]:
    """Returns the roles of outputs, which both sides see; log_var only beside mu."""
    outputs = module.graph_for(train).graph.output_names
    found = {k: v for k, v in roles_of(module, train).items() if v in outputs}
    whole = {"mu", "log_var"} <= set(found)
    found = {k: v for k, v in found.items() if whole or k not in ("mu", "log_var")}
    return found if {"recon", "logits"} & set(found) else {}


def _ours(problem: Problem) -> dict[str, Call]:
    """Returns our calls by task and side: a pass, and an epoch as one compiled program."""
    x = [jnp.asarray(np.stack(arrays)) for arrays in zip(*problem.batches, strict=True)]
    params = jax.tree.map(jnp.asarray, problem.params)
    buffers = jax.tree.map(jnp.asarray, problem.buffers)
    optimizer = make_optimizer(OptimizerConfig(learning_rate=problem.learning_rate), 1)
    step = program_trace.step_of(problem, optimizer)

    @jit_inference
    def run(x: Any) -> jax.Array:
        def one(batch: Any) -> jax.Array:
            number, *inputs = batch
            key = jax.random.fold_in(jax.random.key(0), number)
            return _first_float(_outputs(problem, False, params, buffers, inputs, key))

        return jax.lax.map(one, (jnp.arange(len(problem.batches)), *x))

    def forward() -> float:
        return sum(float(np.abs(y).mean()) for y in np.asarray(run(x)))

    @partial(jit_training, donate_argnums=0)
    def epoch(state: Any, x: Any) -> tuple[Any, jax.Array]:
        def one(state: Any, batch: Any) -> tuple[Any, jax.Array]:
            *held, key, number = state
            *held, loss, _, _ = step(*held, jax.random.fold_in(key, number), batch)
            return (*held, key, number + 1), loss

        state, losses = jax.lax.scan(one, state, x)
        return state, losses.mean()

    copied = jax.tree.map(jnp.copy, (params, buffers))
    held = [(*copied, optimizer.init(params), jax.random.key(0), jnp.zeros((), jnp.int32))]

    def trained() -> float:
        held[0], loss = epoch(held[0], x)
        return float(loss)

    return {"forward ours": forward, "train ours": trained}


def _outputs(
    problem: Problem, train: bool, params: Any, buffers: Any, inputs: Any, key: jax.Array
) -> Any:
    return program_trace.run(problem, params, buffers, key, inputs, train).outputs


def _first_float(outputs: Any) -> jax.Array:
    """Returns the first output that is of floats, or the first."""
    arrays = [y for y in outputs if hasattr(y, "dtype")]
    return next((y for y in arrays if jnp.issubdtype(y.dtype, jnp.floating)), arrays[0])


def _timed(problem: Problem, task: str, calls: dict[str, Call], repeats: int, path: str) -> Result:
    chosen = {name.partition(" ")[2]: call for name, call in calls.items() if name.startswith(task)}
    firsts: dict[str, float] = {}
    failed = {}
    for name, call in list(chosen.items()):
        try:
            firsts[name] = call()
        except Exception as error:  # torch.compile: no compiler, or an operation it cannot lower
            if name != "compiled":
                raise
            failed[name] = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
            del chosen[name]
    seconds, _ = in_turn(chosen, repeats)
    ours = firsts.pop("ours")
    graph = problem.module.graph_for(task == "train").graph
    noisy = bool(program_trace.random_nodes(graph))
    size = len(problem.batches[0][0])
    passes = len(problem.batches)
    state = nbytes((problem.params, problem.buffers))
    return Result(
        task=task,
        model=Path(path).name,
        samples=size * passes,
        batch_size=size,
        seconds=seconds,
        apart={name: abs(value - ours) / (abs(ours) or 1.0) for name, value in firsts.items()},
        tolerance=AGREE_NOISY if noisy else AGREE,
        failed=failed,
        operations=_operations(problem, task) * passes,
        traffic=float(nbytes(problem.batches) + state * passes * (6 if task == "train" else 1)),
    )


def _operations(problem: Problem, task: str) -> float:
    """Returns the operations of a batch as the compiler counts them; 3 times that in training."""
    run = jax.jit(partial(_outputs, problem, task == "train"))
    lowered = run.lower(problem.params, problem.buffers, problem.batches[0], jax.random.key(0))
    cost = lowered.cost_analysis() or {}
    return float(cost.get("flops", 0.0)) * (3 if task == "train" else 1)
