"""Checks before anything is trained: what is given must fit together."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from msae_jax import config, data, train
from msae_jax.config import TrainConfig
from msae_jax.errors import InputError
from msae_jax.fitting.callbacks import Callback
from msae_jax.fitting.members import description
from msae_jax.system import distributed, precision
from msae_jax.train import losses
from msae_jax.train.seeds import Member, make_mesh


def check_devices(
    settings: TrainConfig, members: Sequence[Member], options: Mapping[str, Any]
) -> None:
    """Checks that the devices can be used so, and that all processes were started alike.

    Args:
      options: `seeds_at_once`, `data_devices` and what else the processes must have in common.

    Raises:
      InputError: they cannot, or they were not.
    """
    at_once, data_devices = options["seeds_at_once"], options["data_devices"]
    if at_once is not None and at_once < 1:
        raise InputError(f"seeds_at_once must be at least 1, got {at_once}.")
    check_agreement(settings, members, options)
    if settings.pipeline == "streaming" and (jax.process_count() > 1 or data_devices > 1):
        raise InputError("pipeline 'streaming' trains on one device; use 'resident' on several.")
    make_mesh(data_devices, members=len(members))


def warn_of_precision(settings: TrainConfig) -> None:
    """Warns where the device may have no units for the precision that is asked for."""
    if (text := precision.remark(settings.precision)) is not None:
        warnings.warn(text, stacklevel=2)


def check_dataset(dataset: Any) -> None:
    """Raises InputError where something else is given as a data set."""
    if not isinstance(dataset, data.Dataset):
        kind = type(dataset).__name__
        raise InputError(
            f"dataset must be Dataset(name, Split(x_train), Split(x_test)), got {kind}."
        )


def check_callbacks(callbacks: Sequence[Any]) -> None:
    """Raises InputError where something is no `Callback`."""
    for callback in callbacks:
        if not isinstance(callback, Callback):
            raise InputError(f"callbacks must be objects of mj.Callback, got {callback!r}.")


def check_range(settings: TrainConfig, task: train.Task, dataset: data.Dataset) -> None:
    """Raises InputError where likelihood or model are not made for the range of the data."""
    x = dataset.train.x
    if not isinstance(x, np.ndarray):
        return
    losses.check_range(settings.objective, x)
    low, high = (0, 1) if x.dtype == np.uint8 else (float(x.min()), float(x.max()))
    if low >= 0 and high <= 1:
        return
    batch = jax.ShapeDtypeStruct((2, *dataset.sample_shape), np.float32)
    out: Any = jax.eval_shape(lambda x: task.model.init_with_output(jax.random.key(0), x)[0], batch)
    if out.logits is not None and out.target is None:
        raise InputError(
            f"the model {settings.model.name} ends in a sigmoid and cannot produce values outside "
            f"[0, 1], got [{low:.4g}, {high:.4g}]: scale the data (--scale 255 for intensities), "
            "or use --set output=identity."
        )


def check_orders(
    settings: TrainConfig, x: data.Samples, orders: np.ndarray | None, members: int
) -> None:
    """Raises InputError where the orders do not fit the training data."""
    if orders is None:
        return
    if members > 1:
        raise InputError(f"orders are for one seed only, got {members} seeds.")
    orders = np.asarray(orders)
    if orders.ndim != 2 or len(orders) < settings.epochs or orders.dtype.kind not in "iu":
        raise InputError(
            f"orders must be integers [epochs={settings.epochs}, n], got {orders.dtype} "
            f"{list(orders.shape)}."
        )
    if orders.size == 0 or orders.min() < 0 or orders.max() >= len(x):
        raise InputError(f"orders must index {len(x)} samples, 0 to {len(x) - 1}.")


def check_agreement(
    settings: TrainConfig, members: Sequence[Member], options: Mapping[str, Any]
) -> None:
    """Checks that all processes were started alike: each would train seeds of its own kind.

    Raises:
      InputError: they were not; by all of them.
    """
    if jax.process_count() == 1:
        return
    started = {**config.to_dict(settings), "seeds": _in_short(members), **options}
    own = json.dumps(started, default=lambda value: getattr(value, "__qualname__", str(value)))
    first, *others = map(json.loads, distributed.gather_texts(own))
    for i, other in enumerate(others, 1):
        differences = config.differences(first, other)
        if differences:
            listed = "; ".join(f"{k} is {a!r} and {b!r}" for k, (a, b) in differences.items())
            raise InputError(
                f"processes 0 and {i} were not started alike: {listed}. Give all the same options."
            )


def _in_short(members: Sequence[Member]) -> str:
    first, last = members[0].seed, members[-1].seed
    if list(members) == list(map(Member, range(first, last + 1))):
        return f"{first} to {last}"
    return ", ".join(" ".join(f"{k} {v}" for k, v in description(m).items()) for m in members)
