"""Training of one seed as pure functions, and the transformation of it to many seeds."""

from msae_jax.train.epoch import (
    batch_sizes,
    epoch,
    epoch_order,
    first_bad_step,
    summary,
    train_epoch,
    train_epoch_streaming,
)
from msae_jax.train.state import Keys, Metrics, Task, TrainState, Tuned, no_metrics
from msae_jax.train.step import (
    CORRUPTION,
    augmented,
    corrupted,
    init_state,
    make_task,
    observed,
    optimizer_of,
    seed_keys,
    state_of_keys,
    to_unit,
    train_step,
)

__all__ = [
    "CORRUPTION",
    "Keys",
    "Metrics",
    "Task",
    "TrainState",
    "Tuned",
    "augmented",
    "batch_sizes",
    "corrupted",
    "epoch",
    "epoch_order",
    "first_bad_step",
    "init_state",
    "make_task",
    "no_metrics",
    "observed",
    "optimizer_of",
    "seed_keys",
    "state_of_keys",
    "summary",
    "to_unit",
    "train_epoch",
    "train_epoch_streaming",
    "train_step",
]
