"""One epoch of the multi-scale MLP on MNIST as a PyTorch user would write it.

    python -m benchmarks.torch_mnist --data-dir DIR --out model.pth

Needs torch and numpy alone: `benchmarks/commands.py` times it against `msae train`. It reads the
official IDX files, trains, tests and saves. With `--tuned` batches are indexed in memory and Adam
is fused; without, a DataLoader gives them.
"""

from __future__ import annotations

import argparse
import gzip
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

BATCH = 64


def images(folder: Path, part: str) -> torch.Tensor:
    """Returns the images of a split in [0, 1]: [N, 784]."""
    name = f"{part}-images-idx3-ubyte"
    path = next(iter(folder.glob(f"**/mnist/{name}*")), folder / f"MNIST/raw/{name}")
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    pixels = np.frombuffer(content, np.uint8, offset=16).reshape(-1, 784)
    return torch.from_numpy(pixels.astype(np.float32) / 255)


class MultiScale(nn.Module):
    """One encoder sees the first half of the pixels, one sees all."""

    def __init__(self) -> None:
        super().__init__()
        self.small = nn.Sequential(nn.Linear(392, 128), nn.ReLU(), nn.Linear(128, 64))
        self.large = nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 64))
        self.decoder = nn.Sequential(nn.Linear(128, 256), nn.ReLU(), nn.Linear(256, 784))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.decoder(torch.cat([self.small(x[:, :392]), self.large(x)], dim=1))


def batches(x: torch.Tensor, tuned: bool) -> Iterator[torch.Tensor]:
    if not tuned:
        return (batch for (batch,) in DataLoader(TensorDataset(x), BATCH, shuffle=True))
    return (x[part] for part in torch.randperm(len(x)).split(BATCH))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data-dir", type=Path, default=os.environ.get("MSAE_DATA_DIR"))
    parser.add_argument("--tuned", action="store_true")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    if args.data_dir is None:
        parser.error("give --data-dir, or MSAE_DATA_DIR: a folder of MNIST's IDX files")
    torch.manual_seed(0)
    x, x_test = images(args.data_dir, "train"), images(args.data_dir, "t10k")
    model = MultiScale()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=args.tuned)
    loss_fn = nn.MSELoss()
    for batch in batches(x, args.tuned):
        optimizer.zero_grad()
        loss = loss_fn(model(batch), batch)
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        error = loss_fn(model(x_test), x_test).item()
    torch.save(model.state_dict(), args.out)
    print(f"test MSE {error:.6f}")


if __name__ == "__main__":
    main()
