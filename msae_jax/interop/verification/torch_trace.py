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

from msae_jax.config import Objective
from msae_jax.errors import InputError
from msae_jax.interop import mapping
from msae_jax.interop.verification.trace import Arrays, Problem, Trace, Training
from msae_jax.models.torch_reference import Result

MARGIN = 10.0


def trace(module: nn.Module, problem: Problem, dtype: torch.dtype) -> Trace:
    """Returns what `module` computes in `dtype`, from the same weights and with the same noise.

    Args:
      module: called with a batch [B, C, H, W], [B, C, T] or [B, D] and noise [B, latent_dim] or
        None, returns a `torch_reference.Result`. Its weights are replaced, strictly.
    """
    batches, noise = _prepare(module, problem, dtype)
    result, evaluation = _activations(module.eval(), problem, batches[0], None)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    _, training = _activations(module.train(), problem, batches[0], noise[0])
    module.load_state_dict(before)  # batch norm has counted that call

    settings = problem.weights.config
    optimizer = torch.optim.Adam(module.parameters(), lr=settings.optimizer.learning_rate)
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


def best_conditioned(module: nn.Module, problem: Problem) -> int:
    """Returns the number of the batch on which float32 says most about the gradients.

    Gradients jump where the input of a ReLU is zero, and near a minimum they are small differences
    of large numbers. Batches on which a layer's output comes closer to zero than `MARGIN` times
    PyTorch's own float32 error there are passed over. Of the rest it is the batch on which its
    float32 gradients are nearest to the float64 ones; if none is left, the one that comes least
    close to zero.
    """
    single, exact = (_observed(module, problem, dtype) for dtype in (torch.float32, torch.float64))

    def quality(i: int) -> tuple[float, float]:
        outputs = [name for name in exact[i][0] if name.startswith("output")]
        nearest = min(margin(exact[i][0][name], single[i][0][name]) for name in outputs)
        pairs = [(single[i][1][name], array) for name, array in exact[i][1].items()]
        sizes = [float(np.linalg.norm(b)) for _, b in pairs]
        floor = max(1e-6 * math.hypot(*sizes), 1e-300)  # of zero, no error is relative
        apart = [float(np.linalg.norm(a - b)) for a, b in pairs]
        error = max(d / max(size, floor) for d, size in zip(apart, sizes, strict=True))
        return min(nearest, MARGIN), -error

    return max(range(len(problem.batches)), key=quality)


def _observed(
    module: nn.Module, problem: Problem, dtype: torch.dtype
) -> list[tuple[Arrays, Arrays]]:
    """Returns the layers' inputs and outputs, and the gradients, of every batch."""
    batches, noise = _prepare(module.train(), problem, dtype)
    observed = []
    for batch in batches:
        _, seen = _activations(module, problem, batch, noise[0])
        module.zero_grad()
        objective(problem.weights.config.objective, module(batch, noise[0]), batch).backward()
        observed.append((seen, {name: _array(p.grad) for name, p in module.named_parameters()}))
    return observed


def margin(exact: np.ndarray, single: np.ndarray) -> float:
    """Returns the smallest value that is not zero, in units of the largest error."""
    size, error = np.abs(exact), np.abs(exact - single).max()
    return float(size[size > 0].min(initial=np.inf) / max(error, np.finfo(np.float64).tiny))


def _prepare(module: nn.Module, problem: Problem, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Puts the weights into `module`; returns batches and noise, all in `dtype`."""
    variables = problem.weights.variables
    tensors = mapping.to_state_dict(problem.entries, variables, "the weights")
    module.to(dtype)
    module.load_state_dict({k: torch.from_numpy(v.copy()) for k, v in tensors.items()}, strict=True)
    channels = problem.batches.ndim > 3  # of images and of series of several channels
    arranged = np.moveaxis(problem.batches, -1, 2) if channels else problem.batches
    batches = torch.from_numpy(np.ascontiguousarray(arranged)).to(dtype)
    return batches, torch.from_numpy(problem.noise.copy()).to(dtype)


def objective(settings: Objective, result: Result, x: Tensor) -> Tensor:
    """Returns the loss of a batch, written with PyTorch's own losses."""
    pixels, reduction = x[0].numel(), settings.reduction
    x = x if result.target is None else result.target
    if settings.likelihood == "bernoulli":
        assert result.logits is not None
        total = F.binary_cross_entropy_with_logits(result.logits, x, reduction="sum")
    elif settings.likelihood != "gaussian":
        raise InputError(f"PyTorch has no objective for the likelihood {settings.likelihood!r}.")
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
