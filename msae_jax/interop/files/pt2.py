"""PyTorch's exported programs (`.pt2` of `torch.export.save`), read without PyTorch.

Such a file is an uncompressed zip. `<root>/models/model.json` is the graph; each file in
`<root>/data/weights/` holds the raw bytes of one storage, and `model_weights_config.json` beside
them says which view of which file each weight is; `<root>/data/constants/` likewise. All of it is
data. Sample inputs are kept as a pickle, which is not read.

Accepted are archive version 0 and schema versions 8.0 and later below 9, written by PyTorch 2.9 and
later (2.13 writes 8.20). PyTorch raises the second number for changes that leave earlier readers
right; what such a version adds to a node's arguments is refused, when it is met, by its name.

Whatever a file claims, reading is bounded: the zip as in `pt2_zip.py`, the
graph as in `pt2_graph.py`, the arrays by twice the file's size and `MAX_EXTRA` bytes.

Sources: torch/export/pt2_archive/_package.py, torch/_export/serde/schema.py of PyTorch 2.13.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from msae_jax.errors import InputError
from msae_jax.interop.files.pt2_graph import parse_graph
from msae_jax.interop.files.pt2_values import Graph
from msae_jax.interop.files.pt2_weights import (
    frozen_names,
    read_arrays,
    read_views,
    state_order,
    tied_names,
)
from msae_jax.interop.files.pt2_zip import ANEW, BoundedFile, Members
from msae_jax.interop.files.storages import DTYPES, MAX_TENSORS

MAX_EXTRA = 64 << 20
ARCHIVE_VERSION = "0"
SCHEMA_MAJOR = 8
CONSTANTS = "data/constants/{}_constants_config.json"
TRAINING = "training"
"""The name in the file of the graph of training mode, beside that of evaluation."""


@dataclass(frozen=True)
class Program:
    """What a `.pt2` file holds.

    Attributes:
      graph: the computation.
      state: parameters and persistent buffers by dotted name, in the order of the state dict.
      constants: other tensors of the graph by dotted name: constants, buffers that are not saved.
      tied: names in `state` that are the very same tensor as an earlier one, and its name.
      shared: names in `state` that view the same memory as an earlier one in another way.
      torch_version: of the PyTorch that wrote it. schema: its schema version.
      training: the computation in training mode, where the file has it beside the other, and
        `training_constants`: those of that graph.
      frozen: names of the parameters that are not trained.
      extra: what was written beside the program, by name, up to `MAX_EXTRA` bytes.
    """

    graph: Graph
    state: dict[str, np.ndarray]
    constants: dict[str, np.ndarray]
    tied: dict[str, str]
    shared: dict[str, str]
    torch_version: str
    schema: tuple[int, int]
    training: Graph | None = None
    training_constants: dict[str, np.ndarray] = field(default_factory=dict)
    frozen: frozenset[str] = frozenset()
    extra: dict[str, bytes] = field(default_factory=dict)

    @property
    def parameters(self) -> list[str]:
        """The names of the parameters, in the graph's order."""
        return [value.target for value in self.graph.inputs if value.kind == "parameter"]


def read_pt2(path: str | Path) -> Program:
    """Returns the program in a `.pt2` file; nothing of it is run.

    Raises:
      InputError: the file is missing, truncated, corrupt or hostile; it is of a version that is
        not read; or it keeps tensors as pickles, which can carry code.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} does not exist or is not a file.")
    try:
        with BoundedFile(path) as file:
            size = file.seek(0, io.SEEK_END)
            with zipfile.ZipFile(file) as archive:
                return _read(Members(archive), size)
    except InputError as error:
        raise InputError(f"{path} {error}") from None
    except Exception as error:  # a stranger's file: whatever trips over it, the file is at fault
        reason = f"{type(error).__name__}: {str(error)[:200]}".removesuffix(".")
        raise InputError(
            f"{path} is not a program of torch.export.save, or it is truncated or corrupt: "
            f"{reason}. {ANEW}"
        ) from error


def _read(members: Members, size: int) -> Program:
    members.text("archive_format", "pt2")
    members.text("archive_version", ARCHIVE_VERSION)
    members.text("byteorder", "little")
    model, others = _models(members)
    graph, schema, version = _graph(members, model)
    training = _graph(members, TRAINING)[0] if others else None
    listed = f"data/weights/{model}_weights_config.json"
    weights, frozen = read_views(members, listed), frozen_names(members, listed)
    constants = {
        (each, name): view
        for each in (*others, model)
        for name, view in read_views(members, CONSTANTS.format(each)).items()
    }
    views = weights | {f"constant {each} {name}": view for (each, name), view in constants.items()}
    if len(views) > MAX_TENSORS or len(views) != len(weights) + len(constants):
        raise ValueError(f"it has more than {MAX_TENSORS} tensors, or two of one name")
    if sum(view.nbytes for view in views.values()) > 2 * size + MAX_EXTRA:
        raise ValueError("its tensors repeat their storages beyond twice the file's size")
    arrays = read_arrays(members, views)
    state = {name: arrays[name] for name in state_order(weights, graph)}
    fixed: dict[str, dict[str, np.ndarray]] = {TRAINING: {}, model: {}}
    for each, name in constants:
        fixed[each][name] = arrays[f"constant {each} {name}"]
    _check_state(graph, state, fixed[model])
    if training is not None:
        _check_state(training, state, fixed[TRAINING])
    tied, shared = tied_names({name: weights[name] for name in state})
    return Program(
        graph,
        state,
        fixed[model],
        tied,
        shared,
        version,
        schema,
        training,
        fixed[TRAINING],
        frozen,
        _extra(members),
    )


def _graph(members: Members, model: str) -> tuple[Graph, tuple[int, int], str]:
    """Returns the graph of a program, its schema version, and the PyTorch that wrote it."""
    raw = members.json(f"models/{model}.json")
    schema = raw["schema_version"]["major"], raw["schema_version"]["minor"]
    if schema[0] != SCHEMA_MAJOR or type(schema[1]) is not int or schema[1] < 0:
        raise InputError(
            f"has schema version {str(schema[0])[:20]}.{str(schema[1])[:20]}; versions "
            f"{SCHEMA_MAJOR}.0 and later below {SCHEMA_MAJOR + 1} are read. {ANEW}"
        )
    return parse_graph(raw["graph_module"]), schema, str(raw.get("torch_version"))[:40]


def _extra(members: Members) -> dict[str, bytes]:
    """Returns what lies beside the program, by its name below `extra/`."""
    names = [name for name in members.infos if name.startswith("extra/")]
    if sum(members.infos[name].file_size for name in names) > MAX_EXTRA:
        raise ValueError(f"what lies beside its program is larger than {MAX_EXTRA} bytes")
    return {name.removeprefix("extra/"): bytes(members.bytes(name)) for name in names}


def _models(members: Members) -> tuple[str, list[str]]:
    """Returns the name of the program in the file, and `TRAINING` where it has that beside."""
    models = [name for name in members.infos if name.startswith("models/")]
    models = [name[len("models/") : -len(".json")] for name in models if name.endswith(".json")]
    if not models and any(name.startswith("data/aotinductor/") for name in members.infos):
        raise InputError(f"holds compiled code (AOTInductor), not a program. {ANEW}")
    others = [TRAINING] if len(models) == 2 and TRAINING in models else []
    models = [name for name in models if name not in others]
    if len(models) != 1:
        raise InputError(f"holds {len(models)} programs models/*.json, not one. {ANEW}")
    for folder in ("weights", "constants"):
        if f"data/{folder}/{models[0]}.pt" in members.infos:
            raise InputError(
                f"keeps its {folder} as a pickle, as PyTorch 2.8 does, which can carry code. {ANEW}"
            )
    return models[0], others


def _check_state(
    graph: Graph, state: Mapping[str, np.ndarray], constants: Mapping[str, np.ndarray]
) -> None:
    """Checks that each tensor that the graph reads is there and of the shape that it names."""
    for value in graph.inputs:
        if value.kind in ("user", "fixed"):
            continue
        saved = value.kind == "parameter" or (value.kind == "buffer" and value.persistent)
        held = state if saved else constants
        if value.target not in held:
            raise ValueError(f"it has no values for {value.target[:80]!a}")
        array, meta = held[value.target], graph.metas[value.name]
        if array.shape != meta.sizes or array.dtype != DTYPES[meta.dtype]:
            raise ValueError(f"{value.target[:80]!a} is not as the graph has it")
    for result in graph.outputs:
        if result.kind == "buffer" and result.target not in {**state, **constants}:
            raise ValueError(f"it has no buffer {result.target[:80]!a}")
