"""The study `sines` as a PyTorch user would write it: three models, many seeds, test errors.

    python -m benchmarks.torch_sines --seeds 8 --out torch.json

Needs torch and numpy alone, and shares no code with the library: `benchmarks/commands.py` times it
against `msae reproduce sines`. A DataLoader loop, one seed after another; with `--tuned` samples
stay in memory, Adam is fused, and each core trains seeds of its own with one thread.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

EPOCHS, BATCH, LENGTH = 20, 64, 128


def signals(n: int, rng: np.random.RandomState) -> torch.Tensor:
    """Sums of four sines and a trend, standardised, with a little noise: [n, 128]."""
    t = np.linspace(0, 1, LENGTH, endpoint=False)
    out = np.empty((n, LENGTH), np.float32)
    for row in out:
        signal = np.zeros(LENGTH)
        for low, high, weakest, strongest in [(0.5, 3.0, 0.5, 1.0)] * 3 + [(6, 12, 0.2, 0.8)]:
            frequency = rng.uniform(low, high)
            phase = rng.uniform(0, 2 * np.pi)
            amplitude = rng.uniform(weakest, strongest)
            signal += amplitude * np.sin(2 * np.pi * frequency * t + phase)
        signal += rng.uniform(-0.2, 0.2) * t
        signal = (signal - signal.mean()) / (signal.std() + 1e-9)
        row[:] = signal + rng.normal(0, 0.02, size=LENGTH)
    return torch.from_numpy(out)


class Baseline(nn.Module):
    def __init__(self, hidden: int = 128, latent: int = 64) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(LENGTH, hidden), nn.ReLU(), nn.Linear(hidden, latent)
        )
        self.decoder = nn.Sequential(
            nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, LENGTH)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.decoder(self.encoder(x))


class MultiScale(nn.Module):
    """A short- and a long-range encoder of 32 values each, and one decoder."""

    def __init__(self) -> None:
        super().__init__()
        self.short = self.encoder(kernel=3, dilation=1, pooled=16)
        self.long = self.encoder(kernel=7, dilation=2, pooled=8)
        self.decoder = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, LENGTH))

    @staticmethod
    def encoder(kernel: int, dilation: int, pooled: int) -> nn.Sequential:
        half = kernel // 2
        return nn.Sequential(
            nn.Unflatten(1, (1, LENGTH)),
            nn.Conv1d(1, 16, kernel, padding=half),
            nn.ReLU(),
            nn.Conv1d(16, 32, kernel, dilation=dilation, padding=dilation * half),
            nn.ReLU(),
            nn.AdaptiveAvgPool1d(pooled),
            nn.Flatten(),
            nn.Linear(32 * pooled, 128),
            nn.ReLU(),
            nn.Linear(128, 32),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.decoder(torch.cat([self.short(x), self.long(x)], dim=1))


MODELS: dict[str, Callable[[], nn.Module]] = {
    "msae": MultiScale,
    "baseline": Baseline,
    "matched parameters": lambda: Baseline(hidden=354),
}


def batches(x: torch.Tensor, tuned: bool) -> Iterator[torch.Tensor]:
    if not tuned:
        return (batch for (batch,) in DataLoader(TensorDataset(x), BATCH, shuffle=True))
    return (x[part] for part in torch.randperm(len(x)).split(BATCH))


def train(
    name: str, seed: int, x: torch.Tensor, x_test: torch.Tensor, tuned: bool
) -> tuple[float, dict[str, torch.Tensor]]:
    """Returns the test error and the weights of one seed."""
    torch.manual_seed(seed)
    model = MODELS[name]()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=tuned)
    loss_fn = nn.MSELoss()
    for _ in range(EPOCHS):
        model.train()
        for batch in batches(x, tuned):
            optimizer.zero_grad()
            loss = loss_fn(model(batch), batch)
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            error = loss_fn(model(x_test), x_test).item()
    return error, model.state_dict()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--tuned", action="store_true")
    parser.add_argument("--out", type=Path, required=True, help="JSON; the weights go beside it")
    args = parser.parse_args()
    rng = np.random.RandomState(42)
    x = signals(4000, rng)
    x_test = signals(800, rng)
    jobs = [(name, seed, x, x_test, args.tuned) for name in MODELS for seed in range(args.seeds)]
    if args.tuned:
        with multiprocessing.get_context("fork").Pool(
            os.cpu_count(), initializer=torch.set_num_threads, initargs=(1,)
        ) as pool:
            done = pool.starmap(train, jobs, chunksize=1)
    else:
        done = [train(*job) for job in jobs]
    errors: dict[str, list[float]] = {name: [] for name in MODELS}
    for (name, seed, *_), (error, weights) in zip(jobs, done, strict=True):
        errors[name].append(error)
        torch.save(weights, args.out.with_name(f"{name.replace(' ', '-')}-{seed}.pth"))
    for name, values in errors.items():
        print(f"{name}: test MSE {np.mean(values):.6f} +- {np.std(values, ddof=1):.6f}")
    args.out.write_text(json.dumps(errors) + "\n")


if __name__ == "__main__":
    main()
