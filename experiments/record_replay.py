"""Records what `msae replay sines` starts from and is compared with. Needs the `torch` extra.

    python -m msae_jax.experiments.record_replay            about four minutes on two CPU cores

Follows the published script: `torch.manual_seed(42)`; both models are constructed, multi-scale
first; a shuffling `DataLoader`, batch 64; then 20 epochs of multi-scale, then 20 of the baseline,
with Adam, learning rate 1e-3. Every draw, the loaders' own included, comes from that one generator.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, TensorDataset

from msae_jax import data, models
from msae_jax.config import ModelConfig
from msae_jax.experiments import torch_random
from msae_jax.experiments.replay import MODELS, RECORD, SEED
from msae_jax.fitting.loop import fit_one
from msae_jax.recipes import recipe
from msae_jax.system.files import replacing

SEEDS = 8


def record() -> dict[str, Any]:
    """Returns the losses of the record; see `replay.Record`.

    Raises:
      RuntimeError: this version of PyTorch draws other random numbers than `torch_random`.
    """
    torch.manual_seed(SEED)
    modules = {name: models.reference(name, models.build(ModelConfig(name))) for name in MODELS}
    start = {
        name: {key: value.numpy().copy() for key, value in module.state_dict().items()}
        for name, module in modules.items()
    }
    dataset = data.load("sines")
    generator = torch_random.Generator(SEED)
    for name, weights in start.items():
        shapes = {key: array.shape for key, array in weights.items()}
        drawn = torch_random.initial_weights(generator, shapes)
        _check(name, all(np.array_equal(weights[key], drawn[key]) for key in weights))
    found: dict[str, Any] = {"torch": torch.__version__}
    for name, module in modules.items():
        curve, orders, mse = train(module, dataset, recipe(name).epochs)
        samples = len(dataset.train.x)
        _check(
            name,
            all(np.array_equal(o, torch_random.epoch_order(generator, samples)) for o in orders),
        )
        curves, errors = spread(name, dataset)
        found[name] = {
            "curve": curve.tolist(),
            "mse": mse,
            "seed_curves": curves.tolist(),
            "seed_mse": errors.tolist(),
        }
    return found


def _check(name: str, same: bool) -> None:
    if not same:
        raise RuntimeError(f"{name}: this PyTorch draws other random numbers than torch_random")


def train(
    module: torch.nn.Module, dataset: data.Dataset, epochs: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """Trains as the published script does.

    Returns:
      The loss of each epoch, the order of the samples in each, [epochs, N], the test MSE.
    """
    x = torch.from_numpy(np.asarray(dataset.train.x))
    loader = DataLoader(TensorDataset(x, torch.arange(len(x))), batch_size=64, shuffle=True)
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)
    curve, orders = [], []
    for _ in range(epochs):
        losses, order = [], []
        for batch, indices in loader:
            optimizer.zero_grad()
            loss = torch.nn.functional.mse_loss(module(batch).recon, batch)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            order.append(indices.numpy())
        curve.append(np.mean(losses))
        orders.append(np.concatenate(order))
    with torch.no_grad():
        test = torch.from_numpy(np.asarray(dataset.test.x))
        mse = torch.nn.functional.mse_loss(module(test).recon, test).item()
    return np.array(curve), np.stack(orders), mse


def spread(name: str, dataset: data.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Returns the curves [SEEDS, epochs] and test MSEs [SEEDS] of our own runs over seeds."""
    histories = [
        fit_one(replace(recipe(name), seed=seed), dataset).history for seed in range(SEEDS)
    ]
    curves = [[line["train_loss"] for line in history] for history in histories]
    return np.array(curves), np.array([history[-1]["test_mse"] for history in histories])


def main() -> None:
    target = Path(__file__).with_name(RECORD)
    if target.exists():
        raise SystemExit(f"{target} exists: delete it to record anew.")
    text = json.dumps(record(), indent=1)
    with replacing(target) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
    print(target)


if __name__ == "__main__":
    main()
