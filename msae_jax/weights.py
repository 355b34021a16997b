"""Opens trained weights with the model they belong to, and a user's arrays to put through it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np

from msae_jax import checkpoint, config, data, models
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


class Many(NamedTuple):
    """The models of a run of many seeds that differ in nothing else.

    Attributes:
      variables: of each of `seeds`. diverged: by seed, what happened to those left out.
    """

    model: nn.Module
    seeds: list[int]
    variables: list[dict[str, Any]]
    diverged: dict[int, str]
    config: TrainConfig


def load_many(path: str | Path, *, best: bool = False) -> Many | None:
    """Opens all models of a run of many seeds, in float32; returns None for a run of one.

    Raises:
      InputError: its members differ in more than their seeds, or all diverged.
    """
    opened = checkpoint.load_all(path, best=best)
    if opened.members is None:
        return None
    if any(
        (m["vary"], m["learning_rate"], m["beta"]) != ("all", None, None) for m in opened.members
    ):
        raise InputError(f"{path} varies more than seeds: pick one model with --member.")
    settings = config.from_dict(TrainConfig, opened.config)
    diverged = {m["seed"]: m["diverged"] for m in opened.members if m["diverged"] is not None}
    rows = [i for i, m in enumerate(opened.members) if m["diverged"] is None]
    if not rows:
        raise InputError(f"every seed of {path} diverged: {diverged}.")
    return Many(
        models.build(settings.model, tuple(opened.sample_shape)),
        [opened.members[i]["seed"] for i in rows],
        [jax.tree.map(lambda a, i=i: _float32(a[i]), opened.variables) for i in rows],
        diverged,
        settings,
    )


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
