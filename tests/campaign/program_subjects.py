"""Programs of PyTorch (`.pt2`), and weights in its format before 1.6.

The zip of a `.pt2` has a CRC-32 of each part. The old format has nothing of the kind: a flipped bit
of a value is another valid file.
"""

from __future__ import annotations

import random
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from msae_jax.interop import load_pt2, read_pth
from tests.campaign.damage import edited
from tests.campaign.subject import Outcome, Subject, anything, differently_shaped
from tests.interop import pt2_by_hand as by_hand
from tests.interop.test_pth_legacy import legacy

X = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)


def _program(folder: Path, seed: int) -> None:
    parts = by_hand.members()
    drawn = np.random.default_rng(seed).normal(size=(3, 4)).astype(np.float32)
    parts["data/weights/weight_0"] = drawn.tobytes()
    (folder / "model.pt2").write_bytes(by_hand.written(parts))


def _computed(folder: Path) -> Outcome:
    opened = load_pt2(folder / "model.pt2")
    out = opened.module.apply(opened.variables, jnp.asarray(X))
    outputs = out if isinstance(out, tuple) else (out.recon,)
    named = {str(i): np.asarray(y) for i, y in enumerate(outputs)}
    return named | {k: np.asarray(v) for k, v in opened.module.tensors.initial.items()}


def _rewritten(folder: Path, twin: Path, rng: np.random.Generator) -> str:
    """Writes a whole file whose JSON is a stranger's: checksums fit, values are any."""
    parts = by_hand.members()
    names = [name for name in parts if name.endswith(".json")]
    for _ in range(int(rng.integers(1, 4))):
        name = names[rng.integers(len(names))]
        parts[name] = edited(parts[name], rng)
    (folder / "model.pt2").write_bytes(by_hand.written(parts))
    return name


def _legacy(folder: Path, seed: int) -> None:
    value = random.Random(seed).random()
    storages = (("5", 6, np.full(6, value, "<f4").tobytes()), ("6", 1, bytes(8)))
    (folder / "old.pth").write_bytes(legacy(storages=storages))


SUBJECTS = {
    ".pt2": Subject(300, _program, _computed),
    ".pt2, JSON of a stranger": Subject(200, _program, _computed, anything, _rewritten),
    ".pth before 1.6": Subject(
        500, _legacy, lambda folder: read_pth(folder / "old.pth"), differently_shaped
    ),
}
