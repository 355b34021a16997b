"""The arrays of training states as checkpoints hold them, and their digest."""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from msae_jax.system import distributed
from msae_jax.train import TrainState


class StateArrays(NamedTuple):
    """The arrays of the members' states, each with a leading member axis; PRNG keys as their data.

    Attributes:
      weights: what is used after training: `params`, the moving average where one is kept, and
        `batch_stats`.
      training: `step`, `opt_state`, `order_key`, `noise_key`; beside a moving average the `params`
        that steps change; `adversary`, where a discriminator is trained.
    """

    weights: dict[str, Any]
    training: dict[str, Any]


def from_states(states: TrainState) -> StateArrays:
    """Returns the arrays of states, where they are: nothing is copied."""
    training = {
        "step": states.step,
        "opt_state": states.opt_state,
        "order_key": jax.random.key_data(states.order_key),
        "noise_key": jax.random.key_data(states.noise_key),
    }
    if states.averaged is not None:
        training["params"] = states.params
    if states.adversary is not None:
        training["adversary"] = states.adversary
    return StateArrays(_weights(states), training)


def to_states(arrays: StateArrays, template: TrainState) -> TrainState:
    """Returns states of these arrays; all else, and the dtypes of weights, as in `template`."""
    training = jax.tree.map(jnp.asarray, arrays.training)
    weights = {
        name: jax.tree.map(lambda a, b: jnp.asarray(b, a.dtype), tree, arrays.weights.get(name, {}))
        for name, tree in _weights(template).items()
    }
    if template.averaged is not None:
        weights |= {"averaged": weights["params"], "params": training["params"]}
    return template.replace(
        step=training["step"],
        opt_state=training["opt_state"],
        order_key=jax.random.wrap_key_data(training["order_key"]),
        noise_key=jax.random.wrap_key_data(training["noise_key"]),
        adversary=training.get("adversary"),
        **weights,
    )


def _weights(states: TrainState) -> dict[str, Any]:
    return {"params": states.variables["params"], "batch_stats": states.batch_stats}


def digest(tree: Any) -> str:
    """Returns the SHA-256 of a tree of arrays: paths, dtypes, shapes and bytes."""
    sha = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        sha.update(f"{name}:{leaf.dtype}:{leaf.shape};".encode())
        for part in distributed.host_parts(leaf):
            sha.update(np.ascontiguousarray(part).reshape(-1).view(np.uint8).data)
    return sha.hexdigest()
