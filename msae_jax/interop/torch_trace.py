"""What a model computes on given batches, in PyTorch: the other half of a verification.

Needs the `torch` extra.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from msae_jax.config import Objective, OptimizerConfig
from msae_jax.errors import InputError
from msae_jax.interop import mapping
from msae_jax.interop.torch_models import Result
from msae_jax.interop.trace import Arrays, Problem, Trace, Training


def trace(module: nn.Module, problem: Problem, dtype: torch.dtype) -> Trace:
    """Returns what `module` computes in `dtype`, from the same weights and with the same noise.

    Args:
      module: called with a batch [B, C, H, W] or [B, D] and noise [B, latent_dim] or None, returns
        a `torch_models.Result`. Its weights are replaced, strictly.
    """
    batches, noise = _prepare(module, problem, dtype)
    result, evaluation = _activations(module.eval(), problem, batches[0], None)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    _, training = _activations(module.train(), problem, batches[0], noise[0])
    module.load_state_dict(before)  # batch norm has counted that call

    settings = problem.weights.config
    optimizer = make_adam(settings.optimizer, module)
    losses, gradients, after = [], {}, {}
    for i in range(len(batches)):
        optimizer.zero_grad()
        loss = objective(settings.objective, module(batches[i], noise[i]), batches[i])
        loss.backward()
        losses.append(loss.item())
        if i == 0:
            gradients = {n: _array(p.grad) for n, p in module.named_parameters()}
        optimizer.step()
        if i + 1 in problem.checkpoints:
            after[i + 1] = _training(module, optimizer)
    outputs = {k: _array(v) for k, v in result._asdict().items() if v is not None}
    return Trace(outputs, evaluation, training, np.array(losses), gradients, after)


def furthest_from_zero(module: nn.Module, problem: Problem) -> int:
    """Returns the number of the batch on which no layer's output comes as close to zero."""
    batches, noise = _prepare(module, problem, torch.float64)
    margins = []
    for batch in batches:
        _, seen = _activations(module.train(), problem, batch, noise[0])
        outputs = [np.abs(a) for name, a in seen.items() if name.startswith("output")]
        margins.append(min(a[a > 0].min(initial=np.inf) for a in outputs))
    return int(np.argmax(margins))


def _prepare(module: nn.Module, problem: Problem, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Puts the weights into `module`; returns batches and noise, all in `dtype`."""
    variables = problem.weights.variables
    tensors = mapping.to_state_dict(problem.entries, variables, "the weights")
    module.to(dtype)
    module.load_state_dict({k: torch.from_numpy(v.copy()) for k, v in tensors.items()}, strict=True)
    images = problem.batches.ndim == 5
    arranged = np.moveaxis(problem.batches, -1, 2) if images else problem.batches
    batches = torch.from_numpy(np.ascontiguousarray(arranged)).to(dtype)
    return batches, torch.from_numpy(problem.noise.copy()).to(dtype)


def make_adam(settings: OptimizerConfig, module: nn.Module) -> torch.optim.Adam:
    """Returns PyTorch's Adam with its defaults.

    Raises:
      InputError: the configuration is not plain Adam.
    """
    if settings != OptimizerConfig("adam", settings.learning_rate):
        raise InputError(f"training is verified with plain Adam, got {settings}.")
    return torch.optim.Adam(module.parameters(), lr=settings.learning_rate)


def objective(settings: Objective, result: Result, x: Tensor) -> Tensor:
    """Returns the loss of a batch, written with PyTorch's own losses."""
    pixels, reduction = x[0].numel(), settings.reduction
    if settings.likelihood == "bernoulli":
        assert result.logits is not None
        total = F.binary_cross_entropy_with_logits(result.logits, x, reduction="sum")
    else:
        total = 0.5 * F.mse_loss(result.recon, x, reduction="sum")
        if reduction != "mean":
            total = total + 0.5 * x.numel() * math.log(2 * math.pi)
    if result.mu is not None and result.log_var is not None:
        mu, log_var = result.mu, result.log_var
        kl = -0.5 * torch.sum(1 + log_var - mu.pow(2) - log_var.exp())
        total = total + settings.beta * kl
    if reduction == "sum":
        return total
    if reduction == "batchmean":
        return total / len(x)
    return total / len(x) / (pixels if settings.likelihood == "bernoulli" else pixels / 2)


def _activations(
    module: nn.Module, problem: Problem, x: Tensor, noise: Tensor | None
) -> tuple[Result, Arrays]:
    """Runs the module once; returns its result, and what its forward hooks saw, in that order."""
    seen: Arrays = {}

    def hook(name: str) -> Callable[..., None]:
        def record(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            seen[f"input of {name}"] = _array(inputs[0])
            seen[f"output of {name}"] = _array(output)

        return record

    names = [layer.torch for layer in problem.layers]
    handles = [module.get_submodule(n).register_forward_hook(hook(n)) for n in names]
    with torch.no_grad():
        result = module(x, noise)
    for handle in handles:
        handle.remove()
    return result, seen


def _training(module: nn.Module, optimizer: torch.optim.Adam) -> Training:
    states = {name: optimizer.state[p] for name, p in module.named_parameters()}
    return Training(
        {key: _array(value) for key, value in module.state_dict().items()},
        {name: _array(state["exp_avg"]) for name, state in states.items()},
        {name: _array(state["exp_avg_sq"]) for name, state in states.items()},
    )


def _array(tensor: Tensor | None) -> np.ndarray:
    assert tensor is not None
    return tensor.detach().cpu().numpy().copy()
