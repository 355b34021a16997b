"""Files of weights: `.pth` of both kinds, `.safetensors`, and pickles that want to run code.

A zipped `.pth` has a CRC-32 of each part. A `.safetensors` file has nothing of the kind: a flipped
bit of a value is another valid file, whose keys, shapes and model are the same.
"""

from __future__ import annotations

import pickle
from pathlib import Path

import jax
import numpy as np

from msae_jax import models
from msae_jax.config import ModelConfig, to_dict
from msae_jax.recipes import recipe
from msae_jax.weights import Weights, load_weights, save_torch
from tests.campaign.damage import mutated
from tests.campaign.subject import Outcome, Subject, differently_shaped
from tests.interop.hostile_pth import PROTO, state, tensor, zipped
from tests.interop.test_pth_hostile_code import Touch, opcodes_that_run

OPTIONS = {"channels": [2, 3, 2], "image_shape": [8, 8, 1], "latent_dim": 3}


def _make(folder: Path, seed: int, suffix: str) -> None:
    model = models.build(ModelConfig("conv", OPTIONS))
    drawn = model.init(jax.random.key(seed), np.zeros((2, *model.sample_shape), np.float32))
    rng = np.random.default_rng(seed)
    variables = jax.tree.map(lambda a: rng.uniform(0.1, 9, a.shape).astype(a.dtype), dict(drawn))
    save_torch(folder / f"conv{suffix}", Weights(model, variables, recipe("conv")))


def _read(path: Path) -> Outcome:
    loaded = load_weights(path)
    leaves = jax.tree_util.tree_leaves_with_path(loaded.variables)
    return {jax.tree_util.keystr(key): leaf for key, leaf in leaves} | {
        "config": to_dict(loaded.config),
        "model": repr(loaded.model),
    }


def legacy(value: object) -> bytes:
    """Returns what `torch.save` wrote before PyTorch 1.6: pickles, one after another."""
    parts = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}, value, ["0"])
    return b"".join(pickle.dumps(part, protocol=2) for part in parts) + bytes(16)


def _hostile(folder: Path, twin: Path, rng: np.random.Generator) -> str:
    """Puts a file in place of one that wants to run code, as it is or damaged further."""
    sentinel = folder.parent / "sentinel"
    programs = opcodes_that_run(str(sentinel))
    names = sorted(programs)
    name = names[rng.integers(len(names))]
    program = programs[name][0]
    pick = int(rng.integers(4))
    if pick == 0:
        raw = zipped(program)
    elif pick == 1:
        raw = zipped(state(tensor()) + program)
    elif pick == 2:
        raw = PROTO + program + b"."
    else:
        name, raw = "legacy", legacy({"w": Touch(sentinel, 2)})
    if rng.random() < 0.6:
        for _ in range(int(rng.integers(1, 4))):
            raw = mutated(raw, rng)[1]
    path = folder / "conv.pth"
    path.write_bytes(raw)
    return f"{name}, {len(raw)} bytes"


def _pth(folder: Path, seed: int) -> None:
    _make(folder, seed, ".pth")


def _safetensors(folder: Path, seed: int) -> None:
    _make(folder, seed, ".safetensors")


SUBJECTS = {
    ".pth": Subject(400, _pth, lambda folder: _read(folder / "conv.pth")),
    ".pth, hostile and legacy": Subject(
        350, _pth, lambda folder: _read(folder / "conv.pth"), spoil=_hostile
    ),
    ".safetensors": Subject(
        350, _safetensors, lambda folder: _read(folder / "conv.safetensors"), differently_shaped
    ),
}
