"""The weights that members begin with, where these are not drawn from their seeds."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from msae_jax import data, models, train
from msae_jax.config import ModelConfig, TrainConfig
from msae_jax.data.options import expanded
from msae_jax.errors import InputError
from msae_jax.interop import cards, mapping
from msae_jax.interop.autoencoder import Autoencoder
from msae_jax.interop.files import tensor_files
from msae_jax.interop.files.pt2 import read_pt2
from msae_jax.interop.recognition import described, recognise
from msae_jax.interop.torch_files import Weights, check_channel_order, load_torch
from msae_jax.runs import checkpoint, directory
from msae_jax.runs.arrays import digest
from msae_jax.runs.picking import pick
from msae_jax.system.names import is_program
from msae_jax.train.member import Member

Variables = Mapping[str, Any]


class InitialWeights:
    """The weights that a run was told to begin with.

    Attributes:
      digests: SHA-256 of those that were read so far, by the seed that picks them; of weights that
        the data decide, none.
    """

    def __init__(
        self,
        source: str,
        load: Callable[[int], Variables],
        settings: TrainConfig,
        task: train.Task,
        sample_shape: tuple[int, ...],
        *,
        of_data: bool = False,
    ) -> None:
        """Reads nothing yet.

        Args:
          source: names them in errors.
          load: of a seed, returns its variables.
        """
        self._source, self._load, self._seed = source, functools.cache(load), settings.seed
        self._model, self._sample_shape, self._of_data = task.model, sample_shape, of_data
        self.digests: dict[str, str] = {}

    def of(self, members: Sequence[Member]) -> list[Variables]:
        """Returns the variables that each of some members begins with.

        Raises:
          InputError: there are none, or they do not fit the model.
        """
        seeds = [m.seed if m.vary in ("all", "init") else self._seed for m in members]
        found = {seed: self._load(seed) for seed in seeds}
        distinct = {id(tree): tree for tree in found.values()}
        wanted = jax.eval_shape(
            lambda key: models.init_variables(self._model, key, self._sample_shape),
            jax.random.key(0),
        )
        for tree in distinct.values():
            _check_shapes(self._source, tree, wanted)
        if not self._of_data:
            known = {name: digest(jax.tree.map(np.asarray, t)) for name, t in distinct.items()}
            self.digests = {str(seed): known[id(tree)] for seed, tree in found.items()}
        return [found[seed] for seed in seeds]

    def check_unchanged(self, saved: Mapping[str, str]) -> None:
        """Checks that the weights that were read are those that saved members began with.

        Raises:
          InputError: they have changed since.
        """
        if any(saved.get(seed, own) != own for seed, own in self.digests.items()):
            raise InputError(
                f"{self._source} holds other weights than those that this run began with: restore "
                "them, or train in another --out."
            )


def initial_weights(
    settings: TrainConfig,
    task: train.Task,
    dataset: data.Dataset,
    init: Variables | None = None,
) -> InitialWeights | None:
    """Returns what members begin with instead of their seeds' weights; None where nothing is told.

    Args:
      init: the variables of one model, for all members.

    Raises:
      InputError: more than one of `init`, `init_from` and a closed form is told.
    """
    fit = models.record(settings.model.name).fit
    if settings.init_from is not None and (fit is not None or init is not None):
        other = "init" if fit is None else f"the closed form of {settings.model.name}"
        raise InputError(f"training begins with init_from or with {other}, not with both.")
    what = settings, task, dataset.sample_shape
    if init is not None:
        return InitialWeights("init", lambda seed: init, *what)
    if fit is not None:
        fitted = functools.cache(lambda: {"params": fit(task.model, dataset.train.x)})
        return InitialWeights("the closed form", lambda seed: fitted(), *what, of_data=True)
    if settings.init_from is None:
        return None
    opened = functools.cache(lambda: _opened(settings, task.model, dataset))
    return InitialWeights(settings.init_from, lambda seed: opened()(seed), *what)


def model_of(path: str, name: str | None) -> tuple[ModelConfig, Weights | None]:
    """Returns the model that weights are of, with its sizes, and of a file what was opened.

    Args:
      name: the model that the user names: of a file whose keys and shapes do not tell, or the
        `package.module:Class` of a run.

    Raises:
      InputError: there are no such weights, or it is not certain which model they are of.
    """
    place = expanded(path)
    if is_program(path) and name not in (None, path):
        return ModelConfig(str(name)), None
    if place.is_file():
        loaded = load_torch(place, name)
        return loaded.config.model, loaded
    is_card = cards.is_card(place)
    values = cards.read(place).opened.config if is_card else checkpoint.load_all(place).config
    held = directory.opened_config(values, [name]).model
    return (held if name in (None, held.name) else ModelConfig(str(name))), None


def _opened(settings: TrainConfig, model: Any, dataset: data.Dataset) -> Callable[[int], Variables]:
    """Opens the weights of `init_from`; returns those of a seed."""
    path = expanded(str(settings.init_from))
    if path.is_file():
        check_channel_order(path, model, dataset.train.x)
        loaded = _of_file(path, settings, model)
        return lambda seed: loaded
    if cards.is_card(path):
        of_card = cards.read(path).variables(settings.model.name, model)
        return lambda seed: of_card
    run = checkpoint.load_all(path)
    if len(run.members) == 1:
        alone = run.one(0).variables
        return lambda seed: alone
    return lambda seed: run.one(pick(path, run.members, seed, None)).variables


def _of_file(path: Path, settings: TrainConfig, model: Any) -> Variables:
    """Returns the variables in a file of PyTorch's, for a model that has been built."""
    is_pt2 = is_program(str(path))
    tensors = dict(read_pt2(path).state) if is_pt2 else tensor_files.read_tensors(path)
    if isinstance(model, Autoencoder):
        return model.tensors.variables(tensors, str(path))
    note = None if is_pt2 else tensor_files.read_note(path)
    inner, _ = recognise(tensors, settings.model, note, str(path))
    entries = mapping.table(models.find_layout(settings.model.name), model)
    return mapping.to_variables(entries, inner, described(str(path), settings.model))


def _check_shapes(source: str, given: Variables, wanted: Variables) -> None:
    got, expected = (
        {"/".join(path): tuple(np.shape(leaf)) for path, leaf in mapping.leaves(dict(tree))}
        for tree in (given, wanted)
    )
    faults = [f"{name} is missing" for name in expected if name not in got]
    faults += [f"{name} is unexpected" for name in got if name not in expected]
    faults += [
        f"{name} is {list(got[name])}, expected {list(shape)}"
        for name, shape in expected.items()
        if name in got and got[name] != shape
    ]
    if faults:
        listed = "; ".join(faults)
        raise InputError(f"{source} must have the shapes of the model's variables: {listed}.")
