"""Opens trained weights with the model they belong to, and a user's arrays to put through it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np

from msae_jax import checkpoint, config, data, models, run_directory
from msae_jax.config import ModelConfig, TrainConfig
from msae_jax.errors import InputError, unknown_name
from msae_jax.files import replacing


class Weights(NamedTuple):
    """A model, its variables, and the configuration that trained them."""

    model: nn.Module
    variables: dict[str, Any]
    config: TrainConfig


def load_weights(
    path: str | Path,
    *,
    best: bool = False,
    model: str | ModelConfig | None = None,
    seed: int | None = None,
    member: int | None = None,
) -> Weights:
    """Opens weights to compute with: in float32, whatever precision they are kept in.

    Args:
      path: a run directory or a checkpoint (`checkpoint.load`), or a `.pth` or `.safetensors` file
        of PyTorch weights (`interop.load_torch`).
      best: the best checkpoint of a run directory instead of the latest.
      model: of a file, where its keys and shapes do not tell.
      seed, member: which model of a run of many seeds (`checkpoint.load`).
    """
    opened = open_weights(path, best=best, model=model, seed=seed, member=member)
    return opened._replace(variables=jax.tree.map(_float32, opened.variables))


def _float32(array: np.ndarray) -> np.ndarray:
    counts = array.dtype.kind in "iu"
    return array if counts else array.astype(np.float32, copy=False)


def open_weights(
    path: str | Path,
    *,
    best: bool = False,
    model: str | ModelConfig | None = None,
    seed: int | None = None,
    member: int | None = None,
) -> Weights:
    """`load_weights` in the precision that the weights are kept in."""
    if Path(path).is_file():
        from msae_jax.interop.convert import load_torch

        if best:
            raise InputError(f"--best picks a checkpoint of a run directory; {path} is a file.")
        if seed is not None or member is not None:
            raise InputError(f"--seed and --member pick from a run of many; {path} is a file.")
        return load_torch(path, model)
    if model is not None and Path(path).exists():
        raise InputError(f"--model is for files of weights: {path} is none or knows its own model.")
    opened = checkpoint.load(path, best=best, seed=seed, member=member)
    settings = config.from_dict(TrainConfig, opened.config)
    built = models.build(settings.model, tuple(opened.sample_shape))
    return Weights(built, opened.variables, settings)


def seeds_of(path: str | Path) -> list[int]:
    """Returns the seeds of the members of a run of many; none of anything else."""
    path = Path(path)
    run = path.parent.parent if path.parent.name == "checkpoints" else path
    members = run_directory.read_members(run) if run.is_dir() else None
    return [member.seed for member in members or []]


def split(name: str, which: str, data_dir: str | Path | None = None) -> data.Samples:
    """Returns the samples of the `train` or `test` split of a data set."""
    if which not in ("train", "test"):
        raise unknown_name("split", which, ("train", "test"))
    dataset = data.load(name, data_dir=data_dir)
    return dataset.train.x if which == "train" else dataset.test.x


def samples(path: Path, out: Path, overwrite: bool) -> np.ndarray:
    """Reads a user's samples, after checking that the result can be written to `out`."""
    if out.suffix != ".npy":
        raise InputError(f"--out must end in .npy, got {out}.")
    if out.exists() and not overwrite:
        raise InputError(f"{out} exists: choose another --out, or --overwrite to replace it.")
    return data.load_array(path)


def save_array(out: Path, array: np.ndarray) -> None:
    """Writes a `.npy` file whole or not at all."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out, overwrite=True) as temporary, temporary.open("wb") as file:
        np.save(file, array)
