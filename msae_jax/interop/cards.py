"""Folders in the form of model hubs: `model.safetensors`, `config.json`, `README.md`.

`config.json` has what `msae_jax` needs to open the weights again, the SHA-256 of every file that is
read, and one of itself: a folder that is not as it was written is refused. Of a model that PyTorch
has a namesake of, the keys are those of its state dict, so that PyTorch reads the weights, too; of
others they are the paths of Flax, joined by `/`. Opening a folder never runs code that it names.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from msae_jax import models
from msae_jax.config import TrainConfig, from_dict, to_dict
from msae_jax.data.facts import Facts
from msae_jax.errors import InputError
from msae_jax.interop import mapping
from msae_jax.interop.autoencoder import Autoencoder
from msae_jax.interop.files import tensor_files
from msae_jax.interop.torch_files import Weights, save_torch
from msae_jax.runs import checkpoint, programs
from msae_jax.runs.checkpoint import OneModel
from msae_jax.system.names import is_program

WEIGHTS, CONFIG, README = "model.safetensors", "config.json", "README.md"
FORMAT = 1
MAX_CONFIG = 4 << 20


@dataclass(frozen=True)
class Card:
    """A folder that was opened, its digests checked.

    Attributes:
      opened: without variables, which need the model.
      tensors: by key. keys: `pytorch` or `flax`.
    """

    path: Path
    opened: OneModel
    tensors: dict[str, np.ndarray]
    keys: str

    def variables(self, name: str, model: nn.Module) -> dict[str, Any]:
        """Returns the variables of the built model, bit for bit as they were written.

        Raises:
          InputError: listed all together, every key that is missing, unexpected or mis-shaped.
        """
        where = str(self.path / WEIGHTS)
        if self.keys == "pytorch":
            entries = mapping.table(models.find_layout(name), model)
            return mapping.to_variables(entries, self.tensors, where)
        return _nested(self.tensors, model, tuple(self.opened.sample_shape), where)


def is_card(path: Path) -> bool:
    """Whether a folder is one of a model card, perhaps a damaged one, and no run directory."""
    if not path.is_dir() or checkpoint.is_run(path):
        return False
    if (path / WEIGHTS).exists():
        return True
    try:
        return "msae_jax" in _json(path / CONFIG)
    except InputError:
        return False


def write(
    folder: Path, trained: Weights, sample_shape: list[int], about: Mapping[str, Any]
) -> None:
    """Writes the weights and `config.json` into an empty folder.

    Args:
      about: JSON values: `epoch`, `history` (the last line), `versions`, and what else to keep.

    Raises:
      InputError: the weights cannot be written.
    """
    settings = trained.config
    program = is_program(settings.model.name)
    named = not program and models.record(settings.model.name).layout is not None
    if named:
        save_torch(folder / WEIGHTS, trained)
    else:
        arrays = {
            "/".join(path): np.asarray(leaf) for path, leaf in mapping.leaves(trained.variables)
        }
        tensor_files.write_safetensors(folder / WEIGHTS, arrays)
    programs.keep(folder, settings)
    values = to_dict(settings)
    if program:  # found in the folder wherever it is
        values["model"] = {**values["model"], "name": programs.PROGRAM}
    read = [WEIGHTS, *([programs.PROGRAM] if program else [])]
    content = {
        "format": FORMAT,
        "config": values,
        "sample_shape": list(sample_shape),
        "facts": None if trained.facts is None else trained.facts.to_dict(),
        "keys": "pytorch" if named else "flax",
        **about,
        "sha256": {name: _digest((folder / name).read_bytes()) for name in read},
    }
    # what hubs and other tools look for stands beside what is ours
    top = {"model_type": _kind(settings), "library_name": "msae_jax", "msae_jax": content}
    text = json.dumps({**top, "digest": _digest_of(content)}, indent=2)
    (folder / CONFIG).write_text(text + "\n", encoding="utf-8")


def read(path: Path) -> Card:
    """Opens a folder that `write` made.

    Raises:
      InputError: a file is missing, or not as it was written.
    """
    values = _json(path / CONFIG)
    try:
        content = values["msae_jax"]
        digest, files, wanted = values["digest"], dict(content["sha256"]), content["format"]
    except (LookupError, TypeError, ValueError):
        raise InputError(
            f"{path / CONFIG} is of no model of msae_jax: expected a folder that msae card wrote. "
            f"Of another model, open {path / WEIGHTS} itself."
        ) from None
    if type(wanted) is not int or wanted > FORMAT:
        raise InputError(
            f"{path} has format {wanted!r}, this version of msae_jax reads up to {FORMAT}: install "
            "a newer one."
        )
    if digest != _digest_of(content):
        raise InputError(f"{path / CONFIG} is damaged: its values do not match their digest.")
    for name in (WEIGHTS, programs.PROGRAM):
        if name in files:
            _check_file(path / name, files[name])
    try:
        opened = _opened(path, content)
        keys = content["keys"]
        if WEIGHTS not in files or keys not in ("pytorch", "flax"):
            raise ValueError(f"keys are {keys!r}")
    except (LookupError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise InputError(f"{path / CONFIG} was not written by msae card: {error}") from error
    return Card(path, opened, tensor_files.read_safetensors(path / WEIGHTS), keys)


def _opened(path: Path, content: Mapping[str, Any]) -> OneModel:
    values = content["config"]
    from_dict(TrainConfig, values)  # or its error
    if is_program(str(values["model"]["name"])) and programs.PROGRAM not in content["sha256"]:
        raise ValueError(f"its {programs.PROGRAM} has no digest")
    shape, history = content["sample_shape"], content["history"]
    counts = isinstance(shape, list) and all(type(n) is int and 0 < n < 2**31 for n in shape)
    if not counts or not isinstance(history, list):
        raise ValueError("sample_shape or history is none")
    facts = None if content["facts"] is None else Facts.from_dict(content["facts"])
    held = programs.of_record(path, values)
    return OneModel(
        int(content["epoch"]), {}, held, shape, history, dict(content["versions"]), facts
    )


def _nested(
    tensors: Mapping[str, np.ndarray], model: nn.Module, shape: tuple[int, ...], where: str
) -> dict[str, Any]:
    """Returns variables by path, held against those that the model has."""
    if isinstance(model, Autoencoder):
        wanted = model.tensors.variables()
    else:
        wanted = jax.eval_shape(
            lambda key: models.init_variables(model, key, shape), jax.random.key(0)
        )
    shapes = {"/".join(path): tuple(leaf.shape) for path, leaf in mapping.leaves(wanted)}
    missing, extra = sorted(shapes.keys() - tensors.keys()), sorted(tensors.keys() - shapes.keys())
    wrong = [
        f"{key} has shape {list(tensors[key].shape)}, expected {list(expected)}"
        for key, expected in shapes.items()
        if key in tensors and tensors[key].shape != expected
    ]
    faults = {"missing": missing, "unexpected": extra, "wrong": wrong}
    listed = [f"{kind}: {', '.join(names)}" for kind, names in faults.items() if names]
    if listed:
        raise InputError(f"{where} does not fit; {'; '.join(listed)}.")
    found: dict[str, Any] = {}
    for path, _ in mapping.leaves(wanted):
        node = found
        for part in path[:-1]:
            node = node.setdefault(part, {})
        node[path[-1]] = tensors["/".join(path)]
    return found


def _kind(settings: TrainConfig) -> str:
    name = settings.model.name
    return "pt2" if is_program(name) else str(name)


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"{path} is missing: a folder of a model card holds it.")
    if path.stat().st_size > MAX_CONFIG:
        raise InputError(f"{path} is larger than {MAX_CONFIG} bytes: it is no model card's.")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is damaged: {error}.") from error
    if not isinstance(values, dict):
        raise InputError(f"{path} is damaged: it holds {type(values).__name__}, expected values.")
    return values


def _check_file(path: Path, expected: Any) -> None:
    if not path.is_file():
        raise InputError(f"{path} is missing: the folder is not whole. Copy it again.")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise InputError(f"{path} is damaged: it does not match the digest in {CONFIG}.")


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _digest_of(content: Any) -> str:
    return _digest(json.dumps(content, sort_keys=True).encode())
