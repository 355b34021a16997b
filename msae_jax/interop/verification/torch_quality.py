"""How much float32 says about the gradients of a program's batch. Needs the `torch` extra."""

from __future__ import annotations

import math

import numpy as np
import torch

from msae_jax.interop.verification import torch_trace
from msae_jax.interop.verification.program_trace import Drawn, Problem
from msae_jax.interop.verification.torch_program import State, to_array


def quality(problem: Problem, drawn: Drawn, number: int) -> tuple[float, float]:
    """Returns how much float32 says about the gradients of a batch; see `best_conditioned`."""
    single, exact = (
        _observed(problem, drawn, number, dtype) for dtype in (torch.float32, torch.float64)
    )
    margin = min(
        (torch_trace.margin(exact[0][k], single[0][k]) for k in exact[0]), default=math.inf
    )
    sizes = {k: float(np.linalg.norm(g)) for k, g in exact[1].items()}
    floor = max(1e-6 * math.hypot(*sizes.values()), 1e-300)
    apart = (
        float(np.linalg.norm(single[1][k] - g)) / max(sizes[k], floor) for k, g in exact[1].items()
    )
    return min(margin, torch_trace.MARGIN), -max(apart, default=0.0)


def _observed(
    problem: Problem, drawn: Drawn, number: int, dtype: torch.dtype
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Returns what activations with a kink are given, and the gradients, of a batch."""
    state = State(problem, dtype)
    ran = state.run(number, True, drawn.training[0])
    nodes = problem.module.graph_for(True).graph.nodes
    kinks = [n.arguments["self"].name for n in nodes if "relu" in n.operator]
    state = State(problem, dtype)
    _, grads = state.gradients(number, drawn.training[0])
    return (
        {name: to_array(ran.values[name]) for name in kinks if name in ran.values},
        {name: to_array(grad) for name, grad in grads.items()},
    )
