"""A published seed: PyTorch's draws of initial weights and order, trained by PyTorch or by us.

    python -m benchmarks.published_seed superres             by PyTorch; two minutes on two cores
    python -m benchmarks.published_seed superres --ours 6    by us; two minutes each
    python -m benchmarks.published_seed superres --ours 6 --vary order

Needs the `torch` extra. `torch.manual_seed`, the model, Adam, and a DataLoader that shuffles, as in
the published notebook. Of ours the first is as drawn, and the others begin with weights that differ
by rounding; or, with `--vary order`, all take the samples in orders of their own. On a GPU, or with
another release of PyTorch, arithmetic rounds otherwise again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch.utils.data import DataLoader, TensorDataset

from msae_jax import data, train
from msae_jax.bench import torch_loops
from msae_jax.config import TrainConfig
from msae_jax.interop import mapping
from msae_jax.models import find_layout
from msae_jax.recipes import published, recipe
from msae_jax.train import evaluation

MODELS = [name for name in published() if not name.startswith("vae")]  # their noise moves the order

Curve = Iterator[tuple[float, float]]


def by_torch(settings: TrainConfig, dataset: data.Dataset, seed: int) -> Curve:
    """Yields each epoch's training loss and test MSE."""
    task = train.make_task(settings, dataset)
    torch.manual_seed(seed)
    loop = torch_loops.Plain(settings, task, None, np.asarray(dataset.train.x))
    x_test = np.asarray(dataset.test.x)
    test = torch_loops.Eager(loop.module, task, x_test, evaluation.BATCH_SIZE)
    for _ in range(settings.epochs):
        yield loop.epoch(), test.evaluate()["mse"]


def by_us(settings: TrainConfig, dataset: data.Dataset, seed: int, vary: str, number: int) -> Curve:
    """Yields each epoch's training loss and test MSE."""
    task = train.make_task(settings, dataset)
    x = jnp.asarray(dataset.train.x)
    torch.manual_seed(seed)
    weights = torch_loops.build(settings, task).state_dict()
    loader = DataLoader(TensorDataset(torch.arange(len(x))), settings.batch_size, shuffle=True)
    entries = mapping.table(find_layout(settings.model.name), task.model)
    arrays = {key: value.cpu().numpy() for key, value in weights.items()}
    params = mapping.to_variables(entries, arrays, "the module")["params"]
    if number and vary == "rounding":
        rng = np.random.default_rng(number)
        one = np.float32(1)  # give or take a unit or two in its last place
        params = jax.tree.map(
            lambda a: a * (one + np.float32(6e-8 * rng.normal(size=a.shape))), params
        )
    state = train.init_state(task, settings.seed, dataset.sample_shape)
    state = state.replace(params=jax.tree.map(jnp.asarray, params))
    for epoch in range(settings.epochs):
        order = np.concatenate([batch.numpy() for (batch,) in loader])
        if vary == "order":
            order = np.random.default_rng([number, epoch]).permutation(len(x))
        state, metrics = train.train_epoch(
            task, state, x, jnp.asarray(order, jnp.int32), batch_size=settings.batch_size
        )
        terms = evaluation.per_sample(task.model, state.variables, dataset.test.x, task.objective)
        tested = evaluation.summary(task.objective, terms, dataset.sample_shape)
        yield float(np.asarray(metrics.loss, np.float64).mean()), tested["mse"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--ours", type=int, metavar="COUNT", help="train in JAX, so many times")
    parser.add_argument("--vary", choices=("rounding", "order"), help="of ours [rounding]")
    parser.add_argument("--out", type=Path, help="append a line of JSON an epoch")
    args = parser.parse_args()
    if args.ours is None and args.vary is not None:
        parser.error("--vary needs --ours COUNT")
    if args.ours is not None and args.ours < 1:
        parser.error(f"--ours must be at least 1, got {args.ours}")
    vary = args.vary or "rounding"
    settings = recipe(args.model)
    dataset = data.load(settings.data)
    for number in range(args.ours or 1):
        name = f"ours, {vary} {number}" if args.ours else f"torch {torch.__version__}"
        if args.ours:
            curve = by_us(settings, dataset, args.seed, vary, number)
        else:
            curve = by_torch(settings, dataset, args.seed)
        for epoch, (loss, mse) in enumerate(curve, start=1):
            said = f"training loss {loss:.6f}, test MSE {mse:.6f} per value"
            print(f"{name}, epoch {epoch}: {said}", flush=True)
            if args.out is not None:
                line: dict[str, Any] = {"run": name, "seed": args.seed, "epoch": epoch}
                with args.out.open("a") as file:
                    print(json.dumps(line | {"train_loss": loss, "test_mse": mse}), file=file)


if __name__ == "__main__":
    main()
