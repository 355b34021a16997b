"""Trained weights between PyTorch's files and ours: which model they are of, and of what sizes."""

from __future__ import annotations

import dataclasses
import json
import os
import secrets
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import flax.linen as nn
import numpy as np

from msae_jax import checkpoint, config, models, train
from msae_jax.config import ModelConfig, TrainConfig
from msae_jax.errors import InputError
from msae_jax.interop import mapping, tensor_files
from msae_jax.models.layout import Layout, Shapes
from msae_jax.optimizer import make_optimizer
from msae_jax.recipes import recipe
from msae_jax.weights import Weights, open_weights

SUFFIXES = (".pth", ".pt", ".ckpt", ".safetensors")
MAX_NOTE = 1_000  # characters: enough for the fields of any model, too few to build a huge one


class Trained(Protocol):
    """What `save_torch` reads of a `Weights` or of a `Run`."""

    @property
    def model(self) -> nn.Module: ...
    @property
    def variables(self) -> Mapping[str, Any]: ...
    @property
    def config(self) -> TrainConfig: ...


class Match(NamedTuple):
    """A model that a state dict is of."""

    config: ModelConfig
    model: nn.Module
    entries: list[mapping.Entry]


def load_torch(path: str | Path, model: str | ModelConfig | None = None) -> Weights:
    """Opens a `.pth`, `.pt`, `.ckpt` or `.safetensors` file as Flax variables, dtypes unchanged.

    Args:
      model: its name, or a configuration whose options cannot be read off the shapes. By default
        the model that a `.safetensors` file of `save_torch` notes, options included; else the one
        registered model that keys and shapes fit.

    Returns:
      The model, its variables as NumPy arrays, and the published recipe with the model's sizes.

    Raises:
      InputError: the file cannot be read; no model or several fit; or, listed all together, every
        key that is missing, unexpected, doubled or mis-shaped.
    """
    tensors = tensor_files.read_tensors(path)
    given = ModelConfig(model) if isinstance(model, str) else model
    match = _noted(path, tensors, given) or recognise(tensors, given, str(path))
    variables = mapping.to_variables(match.entries, tensors, _described(path, match.config))
    settings = replace(recipe(match.config.name), model=match.config)
    return Weights(match.model, variables, settings)


def save_torch(path: str | Path, trained: Trained, *, overwrite: bool = False) -> None:
    """Writes weights (of `load_weights`, `load_torch` or `fit`) as `.pth` or `.safetensors`.

    The latter also notes the model and its options, not all of which the shapes tell.

    Raises:
      InputError: the file exists, the model has no PyTorch layout, or the variables do not fit it.
    """
    name = trained.config.model.name
    try:
        note = json.dumps({"name": name, "options": _changed(name, trained.model)})
    except TypeError:  # a model of the user's own, with a field that is no JSON
        note = None
    tensor_files.write_tensors(path, state_dict(trained), overwrite, note)


def state_dict(trained: Trained) -> dict[str, np.ndarray]:
    """Returns the PyTorch state dict of trained weights, in PyTorch's order."""
    name = trained.config.model.name
    entries = mapping.table(models.find_layout(name), trained.model)
    return mapping.to_state_dict(entries, trained.variables, f"the variables of model {name!r}")


def convert(
    source: str | Path,
    target: str | Path,
    model: str | ModelConfig | None = None,
    *,
    best: bool = False,
    seed: int | None = None,
    member: int | None = None,
    overwrite: bool = False,
) -> Weights:
    """Converts between a run directory or checkpoint, `.pth` and `.safetensors`.

    A target without a suffix is a new run directory, whose checkpoint 0 holds the weights and a
    fresh optimiser, so that training can go on from it.

    Raises:
      InputError: as `load_torch` and `save_torch`; then nothing is written.
    """
    source, target = Path(source), Path(target)
    if source.is_dir():
        if model is not None:
            raise InputError(f"--model is for files: {source} knows its own model.")
        weights = open_weights(source, best=best, seed=seed, member=member)
    elif seed is not None or member is not None:
        raise InputError(f"--seed and --member pick from a run of many; {source} is a file.")
    elif best:
        raise InputError(f"--best picks a checkpoint of a run directory; {source} is a file.")
    else:
        weights = load_torch(source, model)
    if target.suffix:
        save_torch(target, weights, overwrite=overwrite)
    else:
        _save_run(target, weights)
    return weights


def model_config(model: str | None, assignments: Sequence[str]) -> ModelConfig | None:
    """Returns the model that `--model` and `--set` describe, None where nothing is given.

    Raises:
      InputError: options without a model, or an assignment that is none.
    """
    options = dict(config.parse_assignment(text) for text in assignments)
    if model is None:
        if options:
            raise InputError("--set needs --model: the model whose fields it sets.")
        return None
    return ModelConfig(model, options)


def recognise(tensors: Mapping[str, np.ndarray], given: ModelConfig | None, source: str) -> Match:
    """Returns the model that a state dict is of, with the sizes that its shapes tell.

    Of several models that fit, the one whose default input has this size.

    Raises:
      InputError: none fits (all that is wrong with the nearest is listed), or more than one does.
    """
    shapes = {key: tensor.shape for key, tensor in tensors.items()}
    if given is not None:
        return _match(given, models.find_layout(given.name), shapes)
    layouts = {name: layout for name in models.names() if (layout := _layout(name))}
    known = {
        name: m
        for name, layout in layouts.items()
        if (m := _try(ModelConfig(name), layout, shapes))
    }
    fits = {name: m for name, m in known.items() if _fits(m, tensors)}
    if len(fits) > 1:
        usual = {
            name: m
            for name, m in fits.items()
            if models.build(ModelConfig(name)).sample_shape == m.model.sample_shape
        }
        fits = usual or fits
    if len(fits) == 1:
        return next(iter(fits.values()))
    if fits:
        raise InputError(
            f"{source} fits several models: {', '.join(fits)}. Say which with --model (model= in "
            "Python)."
        )
    nearest = _nearest(known, layouts, shapes)
    mapping.to_variables(nearest.entries, tensors, _described(source, nearest.config))
    raise AssertionError("the nearest model fits after all")


def _layout(name: str) -> Layout | None:
    try:
        return models.find_layout(name)
    except InputError:
        return None


def _noted(
    path: str | Path, tensors: Mapping[str, np.ndarray], given: ModelConfig | None
) -> Match | None:
    """Returns the model that the file notes, where that is the one given, if any, and fits.

    The note of a stranger's file can name registered models only: others would be imported.
    """
    text = tensor_files.read_note(path)
    if text is None or len(text) > MAX_NOTE:
        return None
    try:
        note = json.loads(text)
        options = note["options"] | (dict(given.options) if given else {})
        noted = ModelConfig(note["name"], options)
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    if noted.name not in ([given.name] if given else models.names()):
        return None
    layout = _layout(noted.name)
    shapes = {key: tensor.shape for key, tensor in tensors.items()}
    match = _try(noted, layout, shapes) if layout else None
    return match if match and _fits(match, tensors) else None


def _try(given: ModelConfig, layout: Layout, shapes: Shapes) -> Match | None:
    """Returns the model with the sizes that the shapes tell, or None where they tell none."""
    try:
        match = _match(given, layout, shapes, strict=True)
    except (InputError, LookupError, ValueError, TypeError, ArithmeticError):
        return None
    return match


def _match(given: ModelConfig, layout: Layout, shapes: Shapes, strict: bool = False) -> Match:
    """Returns the model with the options given, then those that the shapes tell, then defaults.

    Where the shapes tell nothing, unless `strict`, defaults; the walk then lists what is wrong.
    """
    try:
        told = layout.sizes(shapes)
        model = models.build(replace(given, options=told | dict(given.options)))
    except (InputError, LookupError, ValueError, TypeError, ArithmeticError):
        if strict:
            raise
        model = models.build(given)
    changed = replace(given, options=_changed(given.name, model))
    return Match(changed, model, mapping.table(layout, model))


def _changed(name: str, model: nn.Module) -> dict[str, Any]:
    """Returns the fields of a trained model that differ from its defaults, tuples as lists."""
    usual = models.build(ModelConfig(name))
    past = ("parent", "name", "init_scheme")
    values = {f.name: getattr(model, f.name) for f in dataclasses.fields(model)}
    return {
        field: list(value) if isinstance(value, tuple) else value
        for field, value in values.items()
        if field not in past and value != getattr(usual, field)
    }


def _fits(match: Match, tensors: Mapping[str, np.ndarray]) -> bool:
    return not any(mapping.mismatches(match.entries, tensors).values())


def _nearest(known: Mapping[str, Match], layouts: Mapping[str, Layout], shapes: Shapes) -> Match:
    """Returns the model that shares most keys with the file, and then lacks fewest."""
    every = {
        name: known.get(name) or _match(ModelConfig(name), layout, {})
        for name, layout in layouts.items()
    }

    def likeness(match: Match) -> tuple[int, int]:
        keys = {entry.key for entry in match.entries}
        return len(keys & shapes.keys()), -len(keys - shapes.keys())

    return max(every.values(), key=likeness)


def _described(source: str | Path, model: ModelConfig) -> str:
    sizes = ", ".join(f"{name}={value}" for name, value in model.options.items())
    return f"{source}, as model {model.name!r}{f' ({sizes})' if sizes else ''},"


def _save_run(target: Path, weights: Weights) -> None:
    """Writes a run directory with the weights as checkpoint 0, whole or not at all."""
    if target.exists():
        raise InputError(f"{target} exists already: choose another place for the run directory.")
    model, variables, settings = weights
    params = variables["params"]
    optimizer = make_optimizer(settings.optimizer, 1)
    task = train.Task(model, settings.objective, optimizer)
    state = train.init_state(task, settings.seed, model.sample_shape)  # for its keys
    state = state.replace(params=params, batch_stats=variables.get("batch_stats", {}))
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        temporary.mkdir()
        content = json.dumps(config.to_dict(settings), indent=2)
        (temporary / "config.json").write_text(content + "\n")
        writer = checkpoint.Writer(temporary, settings, model.sample_shape)
        writer.save(0, state, [])
        writer.close()
        os.replace(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
