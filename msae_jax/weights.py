"""Opens and converts trained weights with their model, and a user's arrays to put through it."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import flax.linen as nn
import jax
import numpy as np

from msae_jax import data, models, train
from msae_jax.config import ModelConfig, TrainConfig
from msae_jax.data import facts
from msae_jax.data.facts import Facts
from msae_jax.data.options import expanded
from msae_jax.errors import InputError, unknown_name
from msae_jax.fitting.members import Progress
from msae_jax.fitting.placement import initial_states
from msae_jax.interop import cards, mapping, optimizer_state, programs
from msae_jax.interop.torch_files import Weights as Weights
from msae_jax.interop.torch_files import check_channel_order as check_channel_order
from msae_jax.interop.torch_files import (
    float32,
    load_torch,
    save_torch,
    state_dict,
)
from msae_jax.runs import checkpoint, directory
from msae_jax.runs.arrays import from_states
from msae_jax.runs.writer import Writer
from msae_jax.system import names
from msae_jax.system.files import new_folder
from msae_jax.train.seeds import Member

Opened = checkpoint.Checkpoint | checkpoint.OneModel
Held = TypeVar("Held", checkpoint.Checkpoint, checkpoint.OneModel)


def load_weights(
    path: str | Path,
    *,
    best: bool = False,
    model: str | ModelConfig | None = None,
    seed: int | None = None,
    member: int | None = None,
    key: str | None = None,
) -> Weights:
    """Opens weights to compute with: in float32, whatever precision they are kept in.

    Args:
      path: a run directory or a checkpoint (`checkpoint.load`), a folder of a model card
        (`interop.cards`), or a `.pth` or `.safetensors` file of PyTorch weights
        (`interop.load_torch`).
      best: the best checkpoint of a run directory instead of the latest.
      model: of a file, where its keys and shapes do not tell. Of a run directory, the one that it
        names, where that is a `package.module:Class`: its code runs only if you name it, too; or
        its own `model.pt2`, with which value is what.
      seed, member: which model of a run of many seeds (`checkpoint.load`).
      key: which state dict of a file of several (`interop.read_pth`).

    Raises:
      InputError: there are no such weights, or they hold values that are no numbers in float32.
    """
    opened = open_weights(path, best=best, model=model, seed=seed, member=member, key=key)
    loaded = opened._replace(variables=jax.tree.map(float32, opened.variables))
    broken = [name for name, array in mapping.leaves(loaded.variables) if not _is_finite(array)]
    if broken:
        names = ["/".join(name) for name in broken]
        if Path(path).is_file():
            names = [key for key, array in state_dict(loaded).items() if not _is_finite(array)]
        raise InputError(
            f"{path} holds values that are NaN, infinite or beyond float32 in {', '.join(names)}: "
            "no output would be a number. Train again, or take another checkpoint."
        )
    return loaded


def _is_finite(array: np.ndarray) -> bool:
    return bool(np.isfinite(array).all())


def open_weights(
    path: str | Path,
    *,
    best: bool = False,
    model: str | ModelConfig | None = None,
    seed: int | None = None,
    member: int | None = None,
    key: str | None = None,
) -> Weights:
    """`load_weights` in the precision that the weights are kept in."""
    path = expanded(path)
    if Path(path).is_file():
        if best:
            raise InputError(f"--best picks a checkpoint of a run directory; {path} is a file.")
        if seed is not None or member is not None:
            raise InputError(f"--seed and --member pick from a run of many; {path} is a file.")
        return load_torch(path, model, key)
    if key is not None:
        raise InputError(f"--key picks a state dict of a file of PyTorch's; {path} is none.")
    if cards.is_card(path):
        if best or seed is not None or member is not None:
            raise InputError(f"--best, --seed and --member are for runs; {path} holds one model.")
        card = cards.read(path)
        opened = _as_given(path, card.opened, model)
        settings, built = model_of(opened, [_name(model)])
        return Weights(built, card.variables(settings.model.name, built), settings, opened.facts)
    opened = _as_given(path, checkpoint.load(path, best=best, seed=seed, member=member), model)
    settings, built = model_of(opened, [_name(model)])
    return Weights(built, opened.variables, settings, opened.facts)


def _name(model: str | ModelConfig | None) -> str | None:
    return model.name if isinstance(model, ModelConfig) else model


def _as_given(path: str | Path, opened: Held, model: str | ModelConfig | None) -> Held:
    """Returns a checkpoint with the model that the user gives, which must be the run's own.

    Of a program, which value is what may be said anew: its weights are the same.
    """
    held = opened.config["model"]
    if model is None or model == held["name"]:
        return opened
    given = model if isinstance(model, ModelConfig) else ModelConfig(model)
    options = programs.roles_given(held["name"], given)
    if options is None:
        raise InputError(
            f"--model is for files of weights: {path} knows its own model, {held['name']}, and its "
            "options."
        )
    own = {**held, "options": {**held["options"], **options}}
    return opened._replace(config={**opened.config, "model": own})


def model_of(opened: Opened, named: Collection[str | None] = ()) -> tuple[TrainConfig, nn.Module]:
    """Returns the configuration of a checkpoint and its model.

    Args:
      named: the models, data sets and likelihoods that the user names in this call.

    Raises:
      InputError: the checkpoint alone names the model's code, which is not this package's.
    """
    settings = directory.opened_config(opened.config, named)
    names.check_named({"model": settings.model.name})
    series = opened.facts is not None and opened.facts.series is not None
    return settings, models.build(settings.model, tuple(opened.sample_shape), series=series)


class Part(NamedTuple):
    """One split of a data set, and sentences on what is odd about it."""

    dataset: data.Dataset
    split: data.Split
    odd: list[str]


class Many(NamedTuple):
    """The models of a run of many seeds that differ in nothing else.

    Attributes:
      variables: of each of `seeds`. diverged: by seed, what happened to those left out.
      facts: as of `Weights`.
    """

    model: nn.Module
    seeds: list[int]
    variables: list[dict[str, Any]]
    diverged: dict[int, str]
    config: TrainConfig
    facts: Facts | None


def load_many(
    path: str | Path, *, best: bool = False, model: str | ModelConfig | None = None
) -> Many | None:
    """Opens all models of a run of many seeds, in float32; returns None for a run of one, a card.

    Args:
      best, model: as `load_weights` has them.

    Raises:
      InputError: its members differ in more than their seeds, or all diverged.
    """
    if cards.is_card(Path(path)):
        return None
    opened = _as_given(path, checkpoint.load_all(path, best=best), model)
    if len(opened.members) == 1:
        return None
    if any(
        (m["vary"], m["learning_rate"], m["beta"]) != ("all", None, None) for m in opened.members
    ):
        raise InputError(f"{path} varies more than seeds: pick one model with --member.")
    settings, built = model_of(opened, [_name(model)])
    diverged = {m["seed"]: m["diverged"] for m in opened.members if m["diverged"] is not None}
    rows = [i for i, m in enumerate(opened.members) if m["diverged"] is None]
    if not rows:
        raise InputError(f"every seed of {path} diverged: {diverged}.")
    return Many(
        built,
        [opened.members[i]["seed"] for i in rows],
        [jax.tree.map(lambda a, i=i: float32(a[i]), opened.variables) for i in rows],
        diverged,
        settings,
        opened.facts,
    )


def split(
    name: str,
    which: str,
    data_dir: str | Path | None = None,
    *,
    trained_on: Facts | None = None,
    own: bool = False,
) -> Part:
    """Returns the `train` or `test` split of a data set, and what is odd about it.

    Args:
      trained_on: what is known of the data that the model was trained on.
      own: whether they should be those data.
    """
    if which not in ("train", "test"):
        raise unknown_name("split", which, ("train", "test"))
    dataset = data.load(name, data_dir=data_dir)
    chosen = dataset.train if which == "train" else dataset.test
    if trained_on is None:
        return Part(dataset, chosen, [])
    changed = facts.changed(trained_on, facts.of(dataset)) if own else None
    odd = [*([changed] if changed else []), *facts.against(trained_on, chosen.x)]
    return Part(dataset, chosen, odd)


def convert(
    source: str | Path,
    target: str | Path,
    model: str | ModelConfig | None = None,
    *,
    best: bool = False,
    seed: int | None = None,
    member: int | None = None,
    key: str | None = None,
    overwrite: bool = False,
) -> Weights:
    """Converts between a run directory or checkpoint, `.pth` and `.safetensors`.

    A target without a suffix is a new run directory, whose checkpoint 0 holds the weights, so that
    training can go on from it. Adam's moments and learning rate are those of a PyTorch checkpoint
    that has them; else the optimiser is fresh.

    Warns:
      UserWarning: the file has the state of an optimizer that cannot be taken over.

    Raises:
      InputError: as `open_weights` and `interop.save_torch` say; then nothing is written.
    """
    weights = open_weights(source, best=best, model=model, seed=seed, member=member, key=key)
    if Path(target).suffix:
        save_torch(target, weights, overwrite=overwrite)
    else:
        _save_run(Path(target), *optimizer_state.taken_over(source, key, weights))
    return weights


def _save_run(target: Path, weights: Weights, adam: optimizer_state.Adam | None) -> None:
    """Writes a run directory with the weights as checkpoint 0, whole or not at all."""
    model, variables, settings, _ = weights
    with new_folder(target) as temporary:
        task = train.task_of(settings, model, model.sample_shape, 1)
        members = [Member(settings.seed)]
        given = jax.tree.map(float32, dict(variables))
        start = task, settings, members, model.sample_shape
        states = from_states(initial_states(*start, variables=[given]))
        if adam is not None:
            states.training["opt_state"] = optimizer_state.into(states.training["opt_state"], adam)
        kept = {  # in the precision that they have
            name: jax.tree.map(lambda a: np.asarray(a)[None], dict(variables.get(name, {})))
            for name in states.weights
        }
        directory.make(temporary, settings, members)
        writer = Writer(temporary, settings, model.sample_shape)
        progress = Progress(settings, members, task, model.sample_shape)
        progress.save(writer, [0], states._replace(weights=kept))
        writer.close()
