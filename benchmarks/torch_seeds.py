"""Trains seeds of one model as a PyTorch user would who wants them soon: one process of several.

    python benchmarks/torch_seeds.py JOB.json SEED [SEED ...]

Needs torch and numpy alone; `benchmarks/many_seeds.py` writes the job and starts a process a core,
each with its share of the seeds. One thread, samples in memory, batches by index, fused Adam, a
test after each epoch. What it writes, for each seed: weights, and the test error of each epoch.
"""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

PACKAGE = Path(__file__).resolve().parents[1] / "msae_jax"  # the folder may be a link


def without_jax() -> None:
    """Lets the modules of PyTorch be imported without what their packages import.

    A PyTorch user has them in a file of their own, and does not wait for JAX.
    """
    for name, folder in {"msae_jax": PACKAGE, "msae_jax.models": PACKAGE / "models"}.items():
        package = types.ModuleType(name)
        package.__path__ = [str(folder)]
        sys.modules[name] = package


def samples(path: str, channels: bool) -> Tensor:
    """Returns samples from a file, pixels in [0, 1], channels second: [N, C, ...], or [N, D]."""
    x = np.load(path)
    unit = np.divide(x, 255, dtype=np.float32) if x.dtype == np.uint8 else x
    unit = np.moveaxis(unit, -1, 1) if channels else unit.reshape(len(unit), -1)
    return torch.from_numpy(np.ascontiguousarray(unit))


def loss_of(job: dict[str, Any], result: Any, x: Tensor) -> Tensor:
    """Returns the loss of a batch: of squared errors or of bits, and with a posterior its KL."""
    x = x if result.target is None else result.target
    if job["likelihood"] == "bernoulli":
        total, each = F.binary_cross_entropy_with_logits(result.logits, x, reduction="sum"), 1.0
    else:
        total, each = 0.5 * F.mse_loss(result.recon, x, reduction="sum"), 2.0
    if result.mu is not None:
        mu, log_var = result.mu, result.log_var
        total = total - job["beta"] * 0.5 * torch.sum(1 + log_var - mu.pow(2) - log_var.exp())
    if job["likelihood"] == "bernoulli" and job["reduction"] == "sum":
        return total
    if job["reduction"] != "mean":
        raise ValueError(f"no {job['likelihood']} loss for the reduction {job['reduction']!r}")
    return total * each / x.numel()


def main() -> None:
    job, seeds = json.loads(Path(sys.argv[1]).read_text()), sys.argv[2:]
    torch.set_num_threads(1)
    without_jax()
    module = torch.load(job["module"], weights_only=False)
    x, x_test = (samples(job[part], job["channels"]) for part in ("train", "test"))
    size = job["batch_size"]
    with torch.inference_mode():
        mu = module.eval()(x[:2]).mu
    for seed in seeds:
        torch.manual_seed(int(seed))
        for layer in module.modules():
            if hasattr(layer, "reset_parameters"):
                layer.reset_parameters()
        rate = job["learning_rate"]
        optimizer = torch.optim.Adam(module.parameters(), lr=rate, fused=True)
        errors = []
        for _ in range(job["epochs"]):
            module.train()
            for part in torch.randperm(len(x)).split(size):
                batch = x[part]
                noise = None if mu is None else torch.randn(len(part), mu.shape[1])
                optimizer.zero_grad(set_to_none=True)
                loss_of(job, module(batch, noise), batch).backward()
                optimizer.step()
            module.eval()
            total = 0.0
            with torch.inference_mode():
                for batch in x_test.split(500):
                    result = module(batch)
                    held = batch if result.target is None else result.target
                    total += F.mse_loss(result.recon, held).item() * len(batch)
            errors.append(total / len(x_test))
        out = Path(job["out"])
        torch.save(module.state_dict(), out / f"{seed}.pth")
        (out / f"{seed}.json").write_text(json.dumps(errors) + "\n")


if __name__ == "__main__":
    main()
