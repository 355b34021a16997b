"""Numbered checkpoints on disk: Orbax, with a SHA-256 of all it writes, verified when read.

Arrays are written from the memory they are in, devices' too, without a copy. Of many members the
arrays may have more rows, which fill up whole groups of devices: they are left out when read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from msae_jax.errors import CheckpointError
from msae_jax.items import Items, digest


def _handlers() -> ocp.handlers.CheckpointHandlerRegistry:
    """Returns how arrays and JSON are written: from the memory they are in.

    Orbax would copy NumPy arrays first, and hold all of them compressed besides, which for trained
    weights saves a tenth.
    """
    types = ocp.type_handlers
    arrays = ocp.handlers.PyTreeCheckpointHandler(
        use_compression=False,
        type_handler_registry=types.create_type_handler_registry(
            (np.ndarray, types.NumpyHandler(deepcopy_host_arrays=False)),
            (jax.Array, types.get_type_handler(jax.Array)),
        ),
    )
    registry = ocp.handlers.DefaultCheckpointHandlerRegistry()
    for args in (ocp.args.PyTreeSave, ocp.args.PyTreeRestore):
        for item in (*Items._fields, "history"):
            registry.add(item, args, arrays)
    for args in (ocp.args.JsonSave, ocp.args.JsonRestore):
        registry.add("meta", args, ocp.handlers.JsonCheckpointHandler())
    return registry


def manager(folder: Path, best_metric: str) -> ocp.CheckpointManager:
    """Returns what writes checkpoints: it keeps the two latest and the best (lower is better)."""
    policies = ocp.checkpoint_managers

    def metric(metrics: Mapping[str, float]) -> float:
        return metrics[best_metric]

    options = ocp.CheckpointManagerOptions(
        best_fn=metric,  # makes Orbax keep the metrics beside the checkpoint
        best_mode="min",
        preservation_policy=policies.AnyPreservationPolicy(
            [
                policies.LatestN(2),  # two: one to fall back on
                policies.BestN(get_metric_fn=metric, reverse=True, n=1),
            ]
        ),
    )
    return ocp.CheckpointManager(folder.absolute(), options=options, handler_registry=_handlers())


def reader(folder: Path) -> ocp.CheckpointManager:
    """Returns what only reads them."""
    return ocp.CheckpointManager(
        folder.absolute(),
        options=ocp.CheckpointManagerOptions(create=False),
        handler_registry=_handlers(),
    )


def _digest_json(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def save_args(items: Items, lines: np.ndarray, content: Mapping[str, Any]) -> ocp.args.Composite:
    """Returns what a manager saves as one checkpoint: arrays, where they are, and JSON values.

    Args:
      lines: the metrics of each epoch, float64 `[members, epochs, columns]`.
    """
    arrays = {**items._asdict(), "history": {"lines": lines}}
    content = {**content, "digests": {name: digest(tree) for name, tree in arrays.items()}}
    return ocp.args.Composite(
        **{name: ocp.args.PyTreeSave(tree) for name, tree in arrays.items()},
        meta=ocp.args.JsonSave({"content": content, "sha256": _digest_json(content)}),
    )


def restore(
    manager: ocp.CheckpointManager, folder: Path, number: int, **items: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the items asked for, as NumPy arrays, and the JSON values, all of them verified.

    Args:
      items: trees of the structure of each item to restore, or None for what it was saved with.

    Raises:
      CheckpointError: it cannot be read, or is not what was written.
    """
    where = folder / str(number)
    try:
        saved = manager.item_metadata(number) if items else {}
        missing = [name for name in items if name not in saved]
        if missing:
            raise ValueError(f"it has no {', '.join(missing)}, as those of other versions")
        restored = manager.restore(
            number,
            args=ocp.args.Composite(
                meta=ocp.args.JsonRestore(),
                **{name: _as_numpy(saved[name], like) for name, like in items.items()},
            ),
        )
        meta = restored["meta"]
        content, expected = meta["content"], meta["sha256"]
    except Exception as error:  # Orbax and TensorStore raise bare Exceptions on damaged files
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else repr(error)
        raise CheckpointError(f"checkpoint {where} cannot be read: {reason}") from error
    found = {"metadata": (_digest_json(content), expected)}
    for name in items:
        found[name] = (digest(restored[name]), content["digests"][name])
    for name, (got, want) in found.items():
        if got != want:
            raise CheckpointError(
                f"checkpoint {where} is damaged: SHA-256 of its {name} is {got[:12]}..., "
                f"recorded was {want[:12]}...; use another checkpoint of the run."
            )
    arrays = {name: restored[name] for name in items}
    if content.get("members") is not None:
        count = len(content["members"])
        arrays = jax.tree.map(lambda a: a[:count], arrays)
    return arrays, content


def _as_numpy(saved: Any, like: Any) -> ocp.args.PyTreeRestore:
    """Restores an item wherever it was written: on other devices too, in the saved precision."""
    to_numpy = ocp.RestoreArgs(restore_type=np.ndarray)
    return ocp.args.PyTreeRestore(
        like, restore_args=jax.tree.map(lambda _: to_numpy, saved if like is None else like)
    )
