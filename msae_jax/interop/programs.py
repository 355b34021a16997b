"""A `.pt2` file as a model, by its path: `train --model model.pt2`, and all that takes weights."""

from __future__ import annotations

import functools
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import flax.linen as nn

from msae_jax import models
from msae_jax.config import ModelConfig, TrainConfig
from msae_jax.errors import InputError
from msae_jax.interop.autoencoder import Autoencoder
from msae_jax.interop.files import tensor_files
from msae_jax.interop.files.pt2 import read_pt2
from msae_jax.interop.pt2 import fields, notes
from msae_jax.interop.roles import ROLES
from msae_jax.models.record import ModelRecord
from msae_jax.recipes import recipe
from msae_jax.system.names import is_program


def open_model(path: str) -> ModelRecord:
    """Returns the record of the model in a `.pt2` file; a file that has not changed is read once.

    Raises:
      InputError: as `interop.load_pt2` says.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"{path} does not exist or is not a file.")
    known = file.stat()
    return _opened(path, str(file.resolve()), known.st_mtime_ns, known.st_size)


@functools.lru_cache(maxsize=4)
def _opened(path: str, place: str, changed: int, size: int) -> ModelRecord:
    made = fields(read_pt2(path), path)
    return ModelRecord(functools.partial(Autoencoder, **made), label=Path(path).name)


def load(path: Path, given: ModelConfig | None) -> tuple[Autoencoder, dict[str, Any], TrainConfig]:
    """Returns the model of a `.pt2` file, its variables, dtypes unchanged, and a configuration.

    Args:
      given: which value is what, as options; its name must be the path.

    Raises:
      InputError: as `open_model` says, or `given` is another model.
    """
    if given is not None and given.name != str(path):
        raise InputError(f"{path} holds its own model: --model {given.name} is for other files.")
    if given is not None and "begin" in given.options:
        raise InputError("begin says what training starts from: it is for msae train.")
    config = given or ModelConfig(str(path))
    model = models.build(config)
    assert isinstance(model, Autoencoder)
    return model, model.tensors.variables(), replace(recipe(str(path)), model=config)


def remarks(model: nn.Module) -> list[str]:
    """Returns what is to be known before a program is trained: see `pt2.notes` and below."""
    assert isinstance(model, Autoencoder)
    said = [*notes(model), assumed(model), _own_loss(model)]
    return [sentence for sentence in said if sentence is not None]


def _own_loss(model: Autoencoder) -> str | None:
    """Returns which outputs are single numbers, as a loss of the module's own is; or None."""
    graph = model.graph_for(True).graph
    single = [
        f"output {i}"
        for i, name in enumerate(graph.output_names)
        if name is not None
        and not graph.metas[name].sizes
        and graph.metas[name].dtype in ("float32", "float64")
    ]
    if not single:
        return None
    return (
        f"{', '.join(single)} of the training graph: one number, such as a loss of the module's "
        "own, which is not trained: training minimises what the objective says of the "
        "reconstruction and the posterior"
    )


def save_state(path: Path, target: Path, overwrite: bool) -> None:
    """Writes the state dict of a `.pt2` as `.pth` or `.safetensors`, whatever the program computes.

    Raises:
      InputError: as `read_pt2` says, or the target exists or is of another kind.
    """
    tensor_files.write_tensors(target, read_pt2(path).state, overwrite)


def assumed(model: Autoencoder) -> str | None:
    """Returns which values have which roles without having been named; None where none has."""
    named = {role for role in ROLES if getattr(model, role) is not None}
    outputs = model.computation.graph.output_names
    found = {
        role: f"output {outputs.index(name)}" if name in outputs else f"the value {name}"
        for role, name in model.values().items()
        if role not in named
    }
    if not found:
        return None
    listed = ", ".join(f"{role} is {what}" for role, what in found.items())
    return f"taken that {listed}. If it is otherwise: --set ROLE=OUTPUT, such as --set recon=0"


def roles_given(held: str, given: ModelConfig) -> dict[str, Any] | None:
    """Returns which value is what, as the user says it of the program that a run holds.

    Args:
      held: the path of the run's program, or the name of another model.

    Returns:
      None where the model that is given is another, or its options say something else.
    """
    allowed = ROLES if is_program(held) else ()
    if given.name != held or set(given.options) - set(allowed):
        return None
    return dict(given.options)


def roles_of(module: nn.Module, train: bool) -> dict[str, str]:
    """Returns the values that have roles in a mode; none of a program that is no autoencoder.

    Raises:
      InputError: the reconstruction has another number of values than the input.
    """
    if not isinstance(module, Autoencoder) or len(module.computation.graph.user_inputs) != 1:
        return {}
    found = module.values(train)
    target = found.get("recon", found.get("logits"))
    if target is None:
        return {}
    graph = module.graph_for(train).graph
    sizes = [graph.metas[name].sizes[1:] for name in (graph.user_inputs[0].name, target)]
    counts = [math.prod(n for n in each if isinstance(n, int)) for each in sizes]
    if counts[0] != counts[1]:
        raise InputError(
            f"{module.computation.source}: the reconstruction {target} has {counts[1]} values a "
            f"sample, the input {counts[0]}: say which output it is, --set recon=0."
        )
    return found
