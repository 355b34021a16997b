"""Trackers that people watch: TensorBoard, Weights & Biases, MLflow, Trackio, and your own.

The contract:

- A process of its own feeds each tracker from `metrics.jsonl` in the run directory, so that a
  tracker can neither stop nor delay the training, whatever becomes of it: a missing package, a
  full disk, no network, a crash, a call that never returns. The training process starts that
  process, of a lower priority, after its first epoch, and waits for it at most `PATIENCE` seconds
  after its last one. What fails is one line on standard error; the exit status is that of the
  training.
- A tracker gets each epoch of each seed once, however often the run is resumed. What it lacks,
  because it failed or was not asked for at first, it gets when the run is resumed, finished or not.
- Numbers are those of `metrics.jsonl`, under the same names. TensorBoard keeps them in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from msae_jax.errors import unknown_name
from msae_jax.system import names

__all__ = ["About", "Tracker", "following", "parse"]

KNOWN = {
    "tensorboard": "msae_jax.trackers.tensorboard:TensorBoard",
    "wandb": "msae_jax.trackers.wandb:Wandb",
    "mlflow": "msae_jax.trackers.mlflow:Mlflow",
    "trackio": "msae_jax.trackers.trackio:Trackio",
}
"""The class of each tracker. The extra that installs its package has the tracker's name."""

PATIENCE = 60.0
"""Seconds that a tracker gets to finish after training; then its process ends."""

PROJECT = "msae_jax"
"""The project, or experiment, where the tracker's own environment variable names no other."""


class About(NamedTuple):
    """What is logged: a run, whose seeds are a series each, or a verdict.

    Attributes:
      name: for people. id: of no other run, and the same when it is resumed.
      folder: where what the tracker keeps beside the run can lie.
    """

    name: str
    id: str
    folder: Path


class Tracker(Protocol):
    """What feeds one tracker; it is made in a process of its own, and may raise anything.

    Your own is named `package.module:Class`.
    """

    def __init__(self, about: About) -> None: ...

    def begin(self, series: str, config: dict[str, Any], sent: int) -> int:
        """Opens a series, such as `seed-0`, and returns the last epoch that the tracker has of it.

        Args:
          sent: the last epoch that was logged before, for trackers that cannot tell.
        """

    def log(self, series: str, epoch: int, metrics: dict[str, float]) -> None:
        """Logs the metrics of an epoch."""

    def end(self, series: str, epoch: int, summary: dict[str, Any], images: Sequence[Path]) -> None:
        """Logs what there is to say after the last epoch: texts and numbers, and PNG files."""

    def close(self) -> None:
        """Writes or sends what is left."""


def parse(text: str | None) -> list[str]:
    """Reads names of trackers, separated by commas; none of None.

    Raises:
      InputError: one is not known.
    """
    listed = [] if text is None else list(dict.fromkeys(text.split(",")))
    for name in listed:
        if not names.is_own(name) and name not in KNOWN:
            raise unknown_name("tracker", name, KNOWN)
    return listed


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns a configuration by dotted field."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found


def __getattr__(name: str) -> Any:
    """Returns `following`, which the process that feeds a tracker has no use for, nor for JAX."""
    if name != "following":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from msae_jax.trackers import feeding

    return feeding.following
