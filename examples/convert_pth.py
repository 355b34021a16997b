"""Writes weights for PyTorch, reads them back, and compares both sides.

Run: python examples/convert_pth.py
"""

import importlib.util
from pathlib import Path

import numpy as np

import msae_jax as mj
from msae_jax import data

OUT = Path("example-convert")


def main() -> None:
    OUT.mkdir(exist_ok=True)
    signals = data.load("sines").test.x
    run = mj.fit(mj.config.override(mj.recipe("baseline"), {"epochs": 1}))

    # `torch.load(weights_only=True)` takes the file; writing and reading it need no PyTorch.
    mj.interop.save_torch(OUT / "baseline.pth", run, overwrite=True)
    weights = mj.load_weights(OUT / "baseline.pth")  # model and sizes are recognised
    again = mj.reconstruct(weights.model, weights.variables, signals)
    before = mj.reconstruct(run.model, run.variables, signals)
    print("read back, the same reconstructions:", np.array_equal(before, again))

    if importlib.util.find_spec("torch") is None:
        print("PyTorch is not installed: nothing to compare with")
        return
    import torch

    tensors = torch.load(OUT / "baseline.pth", weights_only=True)
    model = torch.nn.Module()
    model.encoder = torch.nn.Sequential(
        torch.nn.Linear(128, 128), torch.nn.ReLU(), torch.nn.Linear(128, 64)
    )
    model.decoder = torch.nn.Sequential(
        torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 128)
    )
    model.load_state_dict(tensors)  # strict: every name and shape fits
    with torch.no_grad():
        theirs = model.decoder(model.encoder(torch.from_numpy(signals))).numpy()
    print(f"largest difference from PyTorch: {np.abs(theirs - before).max():.1e}")
    print(f"for the whole proof: msae verify {OUT / 'baseline.pth'}")


if __name__ == "__main__":
    main()
