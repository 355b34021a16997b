"""PyTorch at the published seed: the draws of initial weights and order of the published loop.

    python benchmarks/published_seed.py superres --seed 42    about two minutes on two CPU cores

Needs the `torch` extra. `torch.manual_seed`, the model, Adam, and a DataLoader that shuffles, as in
the published notebook; on a GPU, or with another release of PyTorch, the numbers are others.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch

from msae_jax import data, train
from msae_jax.bench import torch_loops
from msae_jax.inference import BATCH_SIZE
from msae_jax.recipes import RECIPES, recipe


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model", choices=list(RECIPES))
    parser.add_argument("--seed", type=int, default=42)
    args = parser.parse_args()
    settings = recipe(args.model)
    dataset = data.load(settings.data)
    task = train.make_task(settings, dataset)
    torch.manual_seed(args.seed)
    loop = torch_loops.Plain(settings, task, None, np.asarray(dataset.train.x))
    test = torch_loops.Eager(loop.module, task, np.asarray(dataset.test.x), BATCH_SIZE)
    for epoch in range(1, settings.epochs + 1):
        loss, mse = loop.epoch(), test.evaluate()["mse"]
        print(f"epoch {epoch}: training loss {loss:.6f}, test MSE {mse:.6f} per value", flush=True)


if __name__ == "__main__":
    main()
