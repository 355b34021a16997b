"""Records what `msae replay sines` starts from and is compared with. Needs the `torch` extra.

    python -m msae_jax.experiments.record_replay            about four minutes on two CPU cores

Follows the published script: `torch.manual_seed(42)`; both models are constructed, multi-scale
first; a shuffling `DataLoader`, batch 64; then 20 epochs of multi-scale, then 20 of the baseline,
with Adam, learning rate 1e-3. Every draw, the loaders' own included, comes from that one generator.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, TensorDataset

from msae_jax import data, models
from msae_jax.config import ModelConfig
from msae_jax.experiments.replay import MODELS, RECORD
from msae_jax.files import replacing
from msae_jax.interop import torch_models
from msae_jax.recipes import recipe
from msae_jax.run import fit

SEEDS = 8


def record() -> dict[str, np.ndarray]:
    """Returns the arrays of the record, by name; see `replay.Record`."""
    torch.manual_seed(42)
    modules = {name: torch_models.build(name, models.build(ModelConfig(name))) for name in MODELS}
    found = {
        f"{name}/weights/{key}": value.numpy().copy()
        for name, module in modules.items()
        for key, value in module.state_dict().items()
    }
    dataset = data.load("sines")
    for name, module in modules.items():
        curve, orders, mse = train(module, dataset, recipe(name).epochs)
        found |= {f"{name}/curve": curve, f"{name}/orders": orders, f"{name}/mse": mse}
        curves, errors = spread(name, dataset)
        found |= {f"{name}/seed_curves": curves, f"{name}/seed_mse": errors}
    found["torch"] = np.array(torch.__version__)
    return found


def train(
    module: torch.nn.Module, dataset: data.Dataset, epochs: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Trains as the published script does.

    Returns:
      The loss of each epoch, the order of the samples in each, uint16 [epochs, N], the test MSE.
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
        orders.append(np.concatenate(order).astype(np.uint16))
    with torch.no_grad():
        test = torch.from_numpy(np.asarray(dataset.test.x))
        mse = torch.nn.functional.mse_loss(module(test).recon, test).item()
    return np.array(curve), np.stack(orders), np.array(mse)


def spread(name: str, dataset: data.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Returns the curves [SEEDS, epochs] and test MSEs [SEEDS] of our own runs over seeds."""
    histories = [fit(replace(recipe(name), seed=seed), dataset).history for seed in range(SEEDS)]
    curves = [[line["train_loss"] for line in history] for history in histories]
    return np.array(curves), np.array([history[-1]["test_mse"] for history in histories])


def main() -> None:
    target = Path(__file__).with_name(RECORD)
    if target.exists():
        raise SystemExit(f"{target} exists: delete it to record anew.")
    arrays: dict[str, Any] = record()
    with replacing(target) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)
    print(target)


if __name__ == "__main__":
    main()
