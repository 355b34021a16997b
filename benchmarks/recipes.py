"""The published recipes, trained here and in PyTorch: does the result agree, and which is faster?

    python -m benchmarks.recipes --seeds 3 --out benchmarks/results/recipes.json

Needs the `torch` extra. Both sides train the same recipe from their own initial weights, an epoch
of one, then an epoch of the other, so that a busy machine slows both. The PyTorch side is the tuned
loop of `msae bench`: tensors in memory, batches by indexing, fused Adam; with `--dataloader` the
usual DataLoader loop is timed as well, on the first seed.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import torch
import torch.nn.functional as functional

from msae_jax import data, train
from msae_jax.bench import torch_loops
from msae_jax.config import TrainConfig
from msae_jax.recipes import published, recipe
from msae_jax.system import environment
from msae_jax.train.evaluation import BATCH_SIZE, evaluate

METRICS = {"bernoulli": ("mse", "recon_nats", "kl_nats"), "gaussian": ("mse",)}


class JaxSide:
    """Ours: an epoch is one compiled program over the set on the device."""

    def __init__(self, settings: TrainConfig, dataset: data.Dataset) -> None:
        self.settings, self.dataset = settings, dataset
        self.task = train.make_task(settings, dataset)
        self.state = train.init_state(self.task, settings.seed, dataset.sample_shape)
        self.x = jax.device_put(dataset.train.x)

    def epoch(self) -> dict[str, float]:
        size = self.settings.batch_size
        self.state, metrics = train.train_epoch(self.task, self.state, self.x, batch_size=size)
        return train.summary(self.settings.objective, metrics, len(self.x), size)

    def test_mse(self) -> float:
        model, objective = self.task.model, self.settings.objective
        return evaluate(model, self.state.variables, self.dataset.test.x, objective)["mse"]


class TorchSide:
    """PyTorch eager from its own initial weights: `torch_loops.Tuned`, or `Plain`, a DataLoader."""

    def __init__(self, settings: TrainConfig, dataset: data.Dataset, loader: bool = False) -> None:
        torch.manual_seed(settings.seed)
        task, x = train.make_task(settings, dataset), np.asarray(dataset.train.x)
        make = torch_loops.Plain if loader else torch_loops.Tuned
        self.objective, self.samples = settings.objective, len(x)
        self.loop = make(settings, task, None, x)
        test = np.asarray(dataset.test.x)
        self.test = torch_loops.Eager(self.loop.module, task, test, BATCH_SIZE)

    def epoch(self) -> dict[str, float]:
        bernoulli, beta = self.objective.likelihood == "bernoulli", self.objective.beta
        totals = torch.zeros(3, device=torch_loops.DEVICE)
        for batch, result, loss in self.loop.steps():
            with torch.no_grad():
                mse, kl = functional.mse_loss(result.recon, batch) * len(batch), torch.zeros(())
                if result.mu is not None and result.log_var is not None:
                    mu, log_var = result.mu, result.log_var
                    kl = 0.5 * (mu**2 + log_var.exp() - 1 - log_var).sum()
                totals += torch.stack([loss - beta * kl if bernoulli else mse, kl.to(mse), mse])
        recon_nats, kl_nats, mean_mse = (totals / self.samples).tolist()
        return {"recon_nats": recon_nats, "kl_nats": kl_nats, "mse": mean_mse}

    def test_mse(self) -> float:
        return self.test.evaluate()["mse"]


def _timed(side: JaxSide | TorchSide) -> tuple[float, dict[str, float]]:
    start = time.perf_counter()
    metrics = side.epoch()
    return time.perf_counter() - start, metrics


def compare(name: str, seeds: int, epochs: int | None, loader: bool) -> dict[str, Any]:
    """Trains one recipe on both sides over `seeds` seeds; returns results and seconds per epoch."""
    settings = recipe(name)
    settings = replace(settings, epochs=epochs or settings.epochs)
    dataset = data.load(settings.data)
    found: dict[str, Any] = {"model": name, "data": settings.data, "epochs": settings.epochs}
    for label in ("jax", "torch"):
        found[label] = {"test_mse": [], "recon_nats": [], "kl_nats": [], "seconds": []}
        found[label]["epochs"] = []  # of each seed, the training metrics of each epoch
    found["dataloader_seconds"] = []
    likelihood = settings.objective.likelihood
    for seed in range(seeds):
        seeded = replace(settings, seed=seed)
        sides: dict[str, JaxSide | TorchSide] = {
            "jax": JaxSide(seeded, dataset),
            "torch": TorchSide(seeded, dataset),
        }
        extra = TorchSide(seeded, dataset, loader=True) if loader and seed == 0 else None
        last: dict[str, dict[str, float]] = {}
        for label in sides:
            found[label]["epochs"].append([])
        for epoch in range(settings.epochs):
            for label, side in sides.items():
                seconds, last[label] = _timed(side)
                found[label]["epochs"][-1].append({k: last[label][k] for k in METRICS[likelihood]})
                if epoch:  # the first epoch compiles
                    found[label]["seconds"].append(round(seconds, 4))
            if extra is not None and 0 < epoch < 4:
                found["dataloader_seconds"].append(round(_timed(extra)[0], 4))
        for label, side in sides.items():
            found[label]["test_mse"].append(side.test_mse())
            if likelihood == "bernoulli":
                found[label]["recon_nats"].append(last[label]["recon_nats"])
                found[label]["kl_nats"].append(last[label]["kl_nats"])
    return found


def report(found: dict[str, Any]) -> str:
    """Returns the lines of one model: mean and spread over seeds of each side, and the speed."""

    def spread(values: list[float]) -> str:
        std = np.std(values, ddof=1) if len(values) > 1 else float("nan")
        return f"{np.mean(values):.6g} +- {std:.2g}"

    parts = [
        f"{found['model']:13} ({found['epochs']} epochs, {len(found['jax']['test_mse'])} seeds)"
    ]
    for term, unit in (
        ("test_mse", "MSE per pixel"),
        ("recon_nats", "training nats per sample"),
        ("kl_nats", "training nats per sample"),
    ):
        if found["jax"][term]:
            ours, theirs = spread(found["jax"][term]), spread(found["torch"][term])
            parts.append(f"{term} {ours}, PyTorch {theirs} ({unit})")
    if found["jax"]["seconds"]:
        jax_s, torch_s = (float(np.median(found[side]["seconds"])) for side in ("jax", "torch"))
        speed = f"{jax_s:.3g} s an epoch, PyTorch {torch_s:.3g} s: {torch_s / jax_s:.2f} times"
        if found["dataloader_seconds"]:
            plain = float(np.median(found["dataloader_seconds"]))
            speed += f"; with a DataLoader {plain:.3g} s: {plain / jax_s:.2f} times"
        parts.append(speed)
    return "\n    ".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--models", nargs="+", default=published(), choices=published())
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, help="instead of the recipe's")
    parser.add_argument("--dataloader", action="store_true")
    parser.add_argument("--out", type=Path, help="JSON; entries of other models in it are kept")
    args = parser.parse_args()
    for name in args.models:
        found = compare(name, args.seeds, args.epochs, args.dataloader)
        print(report(found), flush=True)
        if args.out is not None:
            kept = json.loads(args.out.read_text()) if args.out.exists() else {"recipes": []}
            others = [entry for entry in kept["recipes"] if entry["model"] != name]
            torch_version = {"torch": torch.__version__, "threads": torch.get_num_threads()}
            content = {
                "recipes": [*others, found],
                "environment": environment.describe_machine() | torch_version,
            }
            args.out.parent.mkdir(parents=True, exist_ok=True)
            args.out.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
