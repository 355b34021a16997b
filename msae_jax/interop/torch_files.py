"""Trained weights from and to PyTorch files: opened with their model, and written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import flax.linen as nn
import numpy as np

from msae_jax import models
from msae_jax.config import ModelConfig, TrainConfig
from msae_jax.data.dataset import Samples
from msae_jax.data.facts import Facts
from msae_jax.errors import InputError
from msae_jax.interop import mapping, programs
from msae_jax.interop.autoencoder import Autoencoder
from msae_jax.interop.files import tensor_files
from msae_jax.interop.recognition import described, is_near, note_of, recognise, untold
from msae_jax.recipes import recipe
from msae_jax.system.names import is_program


class Weights(NamedTuple):
    """A model, its variables, and the configuration that trained them.

    Attributes:
      facts: what a run knows of the data that it was trained on; None where nothing is known.
    """

    model: nn.Module
    variables: dict[str, Any]
    config: TrainConfig
    facts: Facts | None = None

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of one sample: the model's own or, where it has none, of what it was trained on.

        Raises:
          InputError: neither is known.
        """
        own = getattr(self.model, "sample_shape", None)
        if own is not None:
            return tuple(own)
        if self.facts is None:
            raise InputError(
                f"the shape of a sample of {self.config.model.name} is not known: give the class a "
                "property sample_shape, or take a run, which knows its data."
            )
        return self.facts.shape


class Trained(Protocol):
    """What `save_torch` reads of a `Weights` or of a `Run`."""

    @property
    def model(self) -> nn.Module: ...
    @property
    def variables(self) -> Mapping[str, Any]: ...
    @property
    def config(self) -> TrainConfig: ...


def load_torch(
    path: str | Path, model: str | ModelConfig | None = None, key: str | None = None
) -> Weights:
    """Opens a file of PyTorch weights, a `.safetensors` file or a `.pt2`, dtypes unchanged.

    Dense models read flat samples in the file's own order: PyTorch flattens images channels first.

    Args:
      model: its name, or a configuration whose options cannot be read off the shapes. By default
        the model that a `.safetensors` file of `save_torch` notes, options included; else the one
        registered model that keys and shapes fit. What neither tells has its default
        (`assumptions`).
      key: which state dict of a file of several (`read_pth`).

    Returns:
      The model, its variables as NumPy arrays, and the published recipe with the model's sizes.

    Raises:
      InputError: the file cannot be read; no model or several fit; or, listed all together, every
        key that is missing, unexpected, doubled or mis-shaped.
    """
    return load_with_tensors(path, model, key)[0]


def load_with_tensors(
    path: str | Path, model: str | ModelConfig | None = None, key: str | None = None
) -> tuple[Weights, dict[str, np.ndarray]]:
    """`load_torch`, and the state dict that it was made of.

    Its keys are those of the file. Where only what follows a prefix of all keys fits a model, as of
    an autoencoder that is a part of a larger module, they lack the prefix.
    """
    given = ModelConfig(model) if isinstance(model, str) else model
    if is_program(str(path)):
        if key is not None:
            raise InputError(f"--key picks a state dict of a file of several; {path} is a program.")
        program, variables, settings = programs.load(Path(path), given)
        return Weights(program, variables, settings), program.tensors.initial
    tensors = tensor_files.read_tensors(path, key)
    tensors, match = recognise(tensors, given, tensor_files.read_note(path), str(path))
    if given is None and not match.fits and not is_near(match, len(tensors)):
        raise InputError(
            f"{path} is of none of our models: `msae inspect {path}` shows what is in it, and what "
            "to do next."
        )
    source = described(str(path), match.config)
    variables = mapping.to_variables(match.entries, tensors, source)
    settings = replace(recipe(match.config.name), model=match.config)
    return Weights(match.model, variables, settings), tensors


def save_torch(path: str | Path, trained: Trained, *, overwrite: bool = False) -> None:
    """Writes weights (of `load_weights`, `load_torch` or `fit`) as `.pth` or `.safetensors`.

    The latter also notes the model and its options, not all of which the shapes tell.

    Raises:
      InputError: the file exists, the model has no PyTorch layout, or the variables do not fit it.
    """
    program = isinstance(trained.model, Autoencoder)
    note = None if program else note_of(trained.config.model.name, trained.model)
    tensor_files.write_tensors(path, state_dict(trained), overwrite, note)


def state_dict(trained: Trained) -> dict[str, np.ndarray]:
    """Returns the PyTorch state dict of trained weights, in PyTorch's order."""
    if isinstance(trained.model, Autoencoder):
        return trained.model.state_dict(trained.variables)
    name = trained.config.model.name
    entries = mapping.table(models.find_layout(name), trained.model)
    return mapping.to_state_dict(entries, trained.variables, f"the variables of model {name!r}")


def assumptions(path: str | Path, weights: Weights, given: ModelConfig | None = None) -> str | None:
    """Returns what was assumed of a file's model because its keys and shapes do not tell.

    Returns None where nothing was: of a run directory, of a file in which `save_torch` noted the
    model, and where `given` has every field that the shapes do not tell.
    """
    config, model = weights.config.model, weights.model
    if isinstance(model, Autoencoder):
        return None if Path(path).is_dir() else programs.assumed(model)
    if Path(path).is_dir() or tensor_files.read_note(path) == note_of(config.name, model):
        return None
    options = given.options if given else {}
    fields = {key: value for key, value in untold(config, model).items() if key not in options}
    if not fields:
        return None
    values = ", ".join(f"{field}={value}" for field, value in fields.items())
    return (
        f"taken as model {config.name!r} with {values}, which keys and shapes do not tell. If the "
        f"weights were trained otherwise: --model {config.name} --set FIELD=VALUE"
    )


def check_channel_order(path: str | Path, model: nn.Module, samples: Samples) -> None:
    """Refuses images [N, H, W, C] for a file of weights whose model reads flat samples.

    PyTorch flattens images channels first, this library channels last. The file does not tell which
    image its samples were, so that the order of the values is for the user to say.

    Raises:
      InputError: the images have several channels, and these come last.
    """
    shape = samples.shape[1:]
    if not Path(path).is_file() or is_program(str(path)):
        return  # a run has its own data; a program says how it reads them
    flat = len(getattr(model, "sample_shape", shape)) == 1  # your own model may take any
    if flat and len(shape) == 3 and 1 < shape[2] <= shape[0]:
        raise InputError(
            f"{path} is of a model that reads flat samples, whose order for images {list(shape)} "
            "with channels last it does not tell. For weights trained in PyTorch, give the images "
            "channels first: x.transpose(0, 3, 1, 2); for weights trained here, give them flat: "
            "x.reshape(len(x), -1)."
        )


def float32(array: np.ndarray) -> np.ndarray:
    """Returns an array to compute with: float32, or integers and truth values as they are.

    Values beyond float32's range become infinite.
    """
    with np.errstate(over="ignore"):
        return array if array.dtype.kind in "biu" else array.astype(np.float32, copy=False)
