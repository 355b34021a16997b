"""Which model a PyTorch state dict is of, and with which sizes: its keys and shapes tell."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import flax.linen as nn
import numpy as np

from msae_jax import models
from msae_jax.config import ModelConfig
from msae_jax.errors import InputError
from msae_jax.interop import mapping
from msae_jax.models.layout import Layout, Shapes

MAX_NOTE = 1_000  # characters: enough for the fields of any model, too few to build a huge one
_UNSIZED = (InputError, LookupError, ValueError, TypeError, ArithmeticError)


class Match(NamedTuple):
    """A model that a state dict may be of.

    Attributes:
      config: the model and those of its fields that differ from its defaults.
      entries: the arrays that a state dict of this model has.
      faults: what speaks against it, by kind (`mapping.mismatches`); without any, it fits.
    """

    config: ModelConfig
    model: nn.Module
    entries: list[mapping.Entry]
    faults: dict[str, list[str]]

    @property
    def fits(self) -> bool:
        return not any(self.faults.values())


Tensors = dict[str, np.ndarray]


def recognise(
    tensors: Tensors, given: ModelConfig | None, note: str | None, source: str
) -> tuple[Tensors, Match]:
    """Returns a state dict and the model that it is of, or where none fits the nearest one.

    Where no model fits it, what follows the first part that all its keys have in common is tried,
    and returned if it fits.

    Args:
      given: the model that the user names. Without it every registered model is tried; of several
        that fit, it is the one whose default input has this size.
      note: what `note_of` wrote into the file, if anything. It counts where it fits the tensors and
        agrees with `given`.
      source: names the file in errors.

    Raises:
      InputError: more than one model fits, or `given` has no layout or an impossible option.
    """
    match = _recognised(tensors, given, note, source)
    inner = tensors
    while not match.fits and (prefix := _common_part(inner)):
        inner = {key.removeprefix(prefix): tensor for key, tensor in inner.items()}
        found = _recognised(inner, given, note, source)
        if found.fits:
            return inner, found
    return tensors, match


def _common_part(tensors: Tensors) -> str:
    """Returns the first part of the keys, its dot included, if all have the same, and more."""
    firsts = {key.partition(".")[0] for key in tensors if "." in key}
    alike = len(firsts) == 1 and all("." in key for key in tensors)
    return f"{firsts.pop()}." if alike else ""


def _recognised(
    tensors: Mapping[str, np.ndarray], given: ModelConfig | None, note: str | None, source: str
) -> Match:
    noted = _noted(tensors, given, note)
    if noted is not None:
        return noted
    if given is not None:
        return _match(given, models.find_layout(given.name), tensors)
    layouts = {name: layout for name in models.names() if (layout := _layout(name))}
    matches = [_match(ModelConfig(name), layout, tensors) for name, layout in layouts.items()]
    fitting = [match for match in matches if match.fits]
    usual = [match for match in fitting if _has_default_input(match)]
    chosen = usual if len(fitting) > 1 and usual else fitting
    if len(chosen) > 1:
        raise InputError(
            f"{source} fits several models: {', '.join(match.config.name for match in chosen)}. "
            "Say which with --model (model= in Python)."
        )
    return chosen[0] if chosen else max(matches, key=lambda match: _likeness(match, tensors))


def is_near(match: Match, count: int) -> bool:
    """Whether a state dict of `count` tensors has at least half of its keys from this model."""
    return 2 * (count - len(match.faults["unexpected"])) >= count


def described(source: str, model: ModelConfig) -> str:
    """Returns what a file is taken for, to begin an error with."""
    sizes = ", ".join(f"{name}={value}" for name, value in model.options.items())
    return f"{source}, as model {model.name!r}{f' ({sizes})' if sizes else ''},"


def note_of(name: str, model: nn.Module) -> str | None:
    """Returns a model's name and options as text that `recognise` reads.

    Returns None for a model of the user's own with a field that JSON cannot hold.
    """
    try:
        return json.dumps({"name": name, "options": _changed(name, model)})
    except TypeError:
        return None


def untold(config: ModelConfig, model: nn.Module) -> dict[str, Any]:
    """Returns the fields of a recognised model that its keys and shapes do not tell.

    They have their defaults unless the user or the file's note gave another value.
    """
    layout = models.find_layout(config.name)
    shapes = {entry.key: entry.shape for entry in mapping.table(layout, model)}
    told = layout.sizes(shapes)
    return {field: value for field, value in _fields(model).items() if field not in told}


def _match(given: ModelConfig, layout: Layout, tensors: Mapping[str, np.ndarray]) -> Match:
    """Returns the model with the options given, then the sizes told by the shapes, then defaults.

    Where the shapes tell no sizes that this model can have, the rest are defaults: what speaks
    against it then says what the file would need.
    """
    return _sized(given, layout, tensors) or _compared(given, layout, tensors)


def _sized(given: ModelConfig, layout: Layout, tensors: Mapping[str, np.ndarray]) -> Match | None:
    """Returns the model of the sizes that the shapes tell, or None where they tell none.

    This is the one place where an exception stands for an answer: a layout that reads the shapes
    of another model, and a model that is given the sizes so found, may raise (`Layout.sizes`).
    """
    shapes: Shapes = {key: tensor.shape for key, tensor in tensors.items()}
    try:
        told = layout.sizes(shapes)
        sized = replace(given, options=told | dict(given.options))
        return _compared(sized, layout, tensors)
    except _UNSIZED:
        return None


def _compared(config: ModelConfig, layout: Layout, tensors: Mapping[str, np.ndarray]) -> Match:
    """Builds the model of a configuration and compares its state dict with the tensors."""
    model = models.build(config)
    entries = mapping.table(layout, model)
    faults = mapping.mismatches(entries, tensors)
    return Match(replace(config, options=_changed(config.name, model)), model, entries, faults)


def _layout(name: str) -> Layout | None:
    """Returns a model's layout, or None where it has none: then it has no PyTorch files."""
    try:
        return models.find_layout(name)
    except InputError:
        return None


def _noted(
    tensors: Mapping[str, np.ndarray], given: ModelConfig | None, note: str | None
) -> Match | None:
    """Returns the model that the note names, if it agrees with `given` and fits.

    Anybody can have written the note. It can name registered models only, because others would be
    imported, and a note that makes no sense is ignored.
    """
    if note is None or len(note) > MAX_NOTE:
        return None
    try:
        read = json.loads(note)
        options = read["options"] | (dict(given.options) if given else {})
        config = ModelConfig(read["name"], options)
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    if config.name not in ([given.name] if given else models.names()):
        return None
    layout = _layout(config.name)
    match = _sized(config, layout, tensors) if layout else None
    return match if match and match.fits else None


def _fields(model: nn.Module) -> dict[str, Any]:
    """Returns the fields of a trained model: those that only initial weights need are left out."""
    past = ("parent", "name", "init_scheme")
    return {
        field.name: getattr(model, field.name)
        for field in dataclasses.fields(model)
        if field.name not in past
    }


def _changed(name: str, model: nn.Module) -> dict[str, Any]:
    """Returns the fields of a trained model that differ from its defaults, tuples as lists."""
    usual = models.build(ModelConfig(name))
    return {
        field: list(value) if isinstance(value, tuple) else value
        for field, value in _fields(model).items()
        if value != getattr(usual, field)
    }


def _has_default_input(match: Match) -> bool:
    usual = models.build(ModelConfig(match.config.name))
    return bool(usual.sample_shape == match.model.sample_shape)


def _likeness(match: Match, tensors: Mapping[str, np.ndarray]) -> tuple[int, int]:
    """Returns how many keys model and file share, and, negative, how many the file lacks."""
    keys = {entry.key for entry in match.entries}
    return len(keys & tensors.keys()), -len(keys - tensors.keys())
