"""The arrays of a training state as checkpoints hold them, and their digest."""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

import jax
import numpy as np

from msae_jax import distributed
from msae_jax.train import TrainState


class Items(NamedTuple):
    """The arrays of a training state as they are saved, with PRNG keys as their data."""

    weights: dict[str, Any]
    training: dict[str, Any]


def split(state: TrainState) -> Items:
    """Returns the arrays of a state, where they are."""
    training = {
        "step": state.step,
        "opt_state": state.opt_state,
        "order_key": jax.random.key_data(state.order_key),
        "noise_key": jax.random.key_data(state.noise_key),
    }
    return Items(_split_weights(state), training)


def to_items(state: TrainState) -> Items:
    """Copies a state to the host, from every process: its buffers go to the next epoch."""
    return distributed.to_host(split(state))


def from_items(items: Items, like: TrainState) -> TrainState:
    """Returns the state of `items` on the default device; the rest of it is as in `like`."""
    training = jax.tree.map(jax.numpy.asarray, items.training)
    weights = {
        name: jax.tree.map(
            lambda a, b: jax.numpy.asarray(b, a.dtype), tree, items.weights.get(name, {})
        )
        for name, tree in _split_weights(like).items()
    }
    return like.replace(
        step=training["step"],
        opt_state=training["opt_state"],
        order_key=jax.random.wrap_key_data(training["order_key"]),
        noise_key=jax.random.wrap_key_data(training["noise_key"]),
        **weights,
    )


def _split_weights(state: TrainState) -> dict[str, Any]:
    return {"params": state.params, "batch_stats": state.batch_stats}


def digest(tree: Any) -> str:
    """Returns the SHA-256 of a tree of arrays: paths, dtypes, shapes and bytes."""
    sha = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        sha.update(f"{name}:{leaf.dtype}:{leaf.shape};".encode())
        for part in distributed.host_parts(leaf):
            sha.update(np.ascontiguousarray(part).reshape(-1).view(np.uint8).data)
    return sha.hexdigest()
