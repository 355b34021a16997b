"""Numbered checkpoints on disk: Orbax, with a SHA-256 of all that is written, verified when read.

Every array has a leading member axis. Orbax finds a half-written checkpoint by itself but restores
a flipped byte without a word; hence the digests.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath

from msae_jax.errors import CheckpointError, NotWrittenError
from msae_jax.runs import record
from msae_jax.runs.arrays import StateArrays, digest

FORMAT = 2
"""1, without a number, was that of one seed without a member axis, or of many with it."""

ITEMS = (*StateArrays._fields, "history")

SMALL = 2**24
"""Bytes of all arrays that may be there two or three times while they are written."""

_lock = threading.Lock()
"""Held while a checkpoint is written: Orbax numbers what it writes for the whole process, so that
two threads that train at once would write into each other's folders."""


class KeepLatestAndBest:
    """Keeps the two latest checkpoints (one to fall back on) and the best; lower is better.

    Orbax can rank checkpoints itself, by a file beside each; one damaged file then fails them all.

    Attributes:
      scores: by number. A checkpoint without a score is kept.
    """

    def __init__(self) -> None:
        self.scores: dict[int, float] = {}

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        best = min(self.scores, key=lambda number: self.scores[number], default=None)
        numbers = [checkpoint.step for checkpoint in checkpoints]
        return [
            i >= len(numbers) - 2 or number == best or number not in self.scores
            for i, number in enumerate(numbers)
        ]


def manager(folder: Path, policy: KeepLatestAndBest) -> ocp.CheckpointManager:
    """Returns what writes checkpoints, and deletes those that the policy does not keep."""
    options = ocp.CheckpointManagerOptions(preservation_policy=policy)
    registry = ocp.handlers.DefaultCheckpointHandlerRegistry()
    for item in ITEMS:
        # Compressing trained weights saves a tenth, and holds all of them once more meanwhile.
        handler = ocp.PyTreeCheckpointHandler(use_compression=False)
        registry.add(item, ocp.args.PyTreeSave, handler)
    registry.add("meta", ocp.args.JsonSave, ocp.JsonCheckpointHandler())
    return ocp.CheckpointManager(folder.absolute(), options=options, handler_registry=registry)


def save(
    manager: ocp.CheckpointManager,
    number: int,
    arrays: StateArrays,
    lines: np.ndarray,
    content: Mapping[str, Any],
) -> None:
    """Saves a checkpoint, and waits until it is written.

    Args:
      arrays: JAX or NumPy arrays `[R, ...]`, where they are. Rows beyond the members, which fill up
        whole groups of devices, are left out when the checkpoint is read.
      lines: the metrics of each epoch, float64 `[M, epochs, columns]`.
      content: JSON values.

    Raises:
      NotWrittenError: it cannot be written.
      CheckpointError: one of this number or a later one exists.
    """
    leaves = jax.tree.leaves(arrays)
    small = jax.process_count() == 1 and sum(a.nbytes for a in leaves) <= SMALL
    if small or all(len(a) == 1 for a in leaves):
        # Orbax copies NumPy arrays, and then writes them sooner, those of one member in half the
        # time.
        arrays = jax.tree.map(np.asarray, arrays)
    trees = {**arrays._asdict(), "history": {"lines": lines}}
    digests = {name: digest(tree) for name, tree in trees.items()}
    content = {"format": FORMAT, **content, "digests": digests}
    args = ocp.args.Composite(
        **{name: ocp.args.PyTreeSave(tree) for name, tree in trees.items()},
        meta=ocp.args.JsonSave({"content": content, "sha256": _digest_json(content)}),
    )
    try:
        with _lock:
            saved = manager.save(number, args=args)
            manager.wait_until_finished()  # the arrays may be donated or written to next
    except Exception as error:  # Orbax and TensorStore raise bare Exceptions on full disks
        raise NotWrittenError(
            f"checkpoint {number} cannot be written to {manager.directory}: {_first_line(error)}; "
            "the checkpoints before it are kept, and --resume goes on from them."
        ) from error
    if not saved:
        raise CheckpointError(
            f"{manager.directory} has a checkpoint {number} or a later one already."
        )


def numbers(folder: Path) -> list[int]:
    """Returns the numbers of the finished checkpoints, in order."""
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit())


def read_record(folder: Path, number: int) -> dict[str, Any]:
    """Returns the JSON values of a checkpoint, verified; without starting JAX.

    Raises:
      CheckpointError: they cannot be read, or are not what was written.
    """
    where = folder / str(number)
    try:
        meta = json.loads((where / "meta" / "metadata").read_text(encoding="utf-8"))
        content, expected = meta["content"], meta["sha256"]
        found = _digest_json(content)
        wanted = content.get("format", 1)
    except (OSError, ValueError, RecursionError, LookupError, TypeError, AttributeError) as error:
        raise CheckpointError(f"checkpoint {where} cannot be read: {_first_line(error)}") from error
    _check_digest(where, "metadata", found, expected)
    if type(wanted) is not int or wanted > FORMAT:
        raise CheckpointError(
            f"checkpoint {where} has format {wanted}, this version of msae_jax reads up to "
            f"{FORMAT}: install a newer one."
        )
    try:
        if content.get("members") is None:  # format 1, one seed
            one = {"seed": content["config"]["seed"], "vary": "all", "diverged": None}
            content["members"] = [one | {"learning_rate": None, "beta": None}]
            content["no_member_axis"] = True
        record.check(content)
    except (ValueError, LookupError, TypeError) as error:
        reason = error if isinstance(error, ValueError) else repr(error)
        raise CheckpointError(
            f"checkpoint {where} was not written by msae_jax: {reason}"
        ) from error
    return content


def restore(folder: Path, number: int, **items: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the items asked for, as NumPy arrays, and the JSON values, all of them verified.

    Args:
      items: trees of the structure of each item to restore, or None for what it was saved with.

    Raises:
      CheckpointError: it cannot be read, or is not what was written.
    """
    where = folder / str(number)
    content = read_record(folder, number)
    count = len(content["members"])
    arrays = {}
    for name, structure in items.items():
        try:
            tree = _read(where / name, structure)
            found = digest(tree)
        except Exception as error:  # Orbax and TensorStore raise bare Exceptions on damaged files
            raise CheckpointError(
                f"checkpoint {where} cannot be read: {_first_line(error)}"
            ) from error
        _check_digest(where, name, found, content["digests"].get(name))
        if name != "history" and content.get("no_member_axis"):
            tree = jax.tree.map(lambda a: np.asarray(a)[None], tree)
        if any(a.ndim == 0 or len(a) < count for a in jax.tree.leaves(tree)):
            raise CheckpointError(f"checkpoint {where} has {name} of fewer than {count} members.")
        arrays[name] = jax.tree.map(lambda a: a[:count], tree)  # without rows that fill up
    return arrays, content


def _read(path: Path, structure: Any) -> Any:
    """Reads an item wherever it was written: on other devices too, in the saved precision."""
    if not path.is_dir():
        raise ValueError(f"it has no {path.name}, as those of other versions")
    handler = ocp.PyTreeCheckpointHandler()
    place = epath.Path(path.absolute())
    saved = handler.metadata(place) if structure is None else structure
    to_numpy = ocp.RestoreArgs(restore_type=np.ndarray)
    restore_args = jax.tree.map(lambda _: to_numpy, saved)
    args = ocp.args.PyTreeRestore(structure, restore_args=restore_args)
    return handler.restore(place, args=args)


def _check_digest(where: Path, name: str, got: str, want: Any) -> None:
    if got != want:
        raise CheckpointError(
            f"checkpoint {where} is damaged: SHA-256 of its {name} is {got[:12]}..., recorded was "
            f"{str(want)[:12]}...; use another checkpoint of the run."
        )


def _digest_json(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _first_line(error: Exception) -> str:
    """Returns at most 200 characters: the beginning says what failed, the end why."""
    text = str(error).strip()
    line = text.splitlines()[0] if text else repr(error)
    return line if len(line) <= 200 else f"{line[:75]} ... {line[-120:]}"
