"""Adam's moments from a PyTorch checkpoint, so that training goes on where it stopped.

`torch.optim` numbers parameters in the order of `model.parameters()`, which is that of the state
dict without its buffers.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from msae_jax import models
from msae_jax.errors import InputError
from msae_jax.interop import mapping
from msae_jax.interop.files import pth, sources, state_dict, tensor_files
from msae_jax.interop.files.storages import Tensor
from msae_jax.interop.torch_files import Weights
from msae_jax.system.names import is_program

MOMENTS = ("exp_avg", "exp_avg_sq")
_SETTINGS = {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0, "amsgrad": False}
"""Those of Adam that this library has; files from before a setting existed lack it."""


class Adam(NamedTuple):
    """The state of Adam for the parameters of a model.

    Attributes:
      steps: taken so far. first, second: the moments, nested as the parameters are.
    """

    steps: int
    first: dict[str, Any]
    second: dict[str, Any]
    learning_rate: float


def taken_over(
    source: str | Path, key: str | None, weights: Weights
) -> tuple[Weights, Adam | None]:
    """Returns the weights to start a run with, and the state of Adam that a file has.

    Warns:
      UserWarning: the file has the state of an optimizer that cannot be used, and why.
    """
    path = Path(source)
    if not path.is_file() or is_program(str(path)) or tensor_files.is_safetensors(path):
        return weights, None
    entries = mapping.table(models.find_layout(weights.config.model.name), weights.model)
    found = read(source, entries, key)
    adam = weights.config.optimizer.name == "adam"
    if isinstance(found, str) or (found and not adam):
        why = found if isinstance(found, str) else "the recipe of the model is not Adam"
        warnings.warn(f"{source}: its optimizer's state is not used: {why}.", stacklevel=4)
        return weights, None
    if found is None:
        return weights, None
    optimizer = replace(weights.config.optimizer, learning_rate=found.learning_rate)
    return weights._replace(config=replace(weights.config, optimizer=optimizer)), found


def into(opt_state: Any, adam: Adam) -> Any:
    """Returns an optimiser's state of one member with the moments in it."""

    def changed(part: Any) -> Any:
        if not isinstance(part, optax.ScaleByAdamState):
            return part
        first, second = (
            jax.tree.map(lambda a: np.asarray(a, np.float32)[None], tree)
            for tree in (adam.first, adam.second)
        )
        count = np.full_like(np.asarray(part.count), adam.steps)
        return optax.ScaleByAdamState(count, first, second)

    return jax.tree.map(changed, opt_state, is_leaf=lambda a: isinstance(a, optax.ScaleByAdamState))


def read(path: str | Path, entries: list[mapping.Entry], key: str | None) -> Adam | str | None:
    """Returns the state of Adam in a file of PyTorch's, why it cannot be used, or None without one.

    Args:
      entries: of the model (`mapping.table`). key: of its state dict (`pth.read_pth`).

    Raises:
      InputError: the file cannot be read.
    """
    by_key = {entry.key: entry for entry in entries}
    with pth.opened(path) as (source, size):
        found = state_dict.optimizers(source.value)
        if len(found) != 1:
            return f"the file has the states of {len(found)} optimizers" if found else None
        [saved] = found.values()
        keys = list(state_dict.find_state_dict(source.value, key)[0])
        while keys[0] not in by_key:  # of a model inside a larger module
            keys = [name.partition(".")[2] for name in keys]
        chosen = [by_key[name] for name in keys if by_key[name].path[0] == "params"]
        groups = [g for g in state_dict.items_of(saved["param_groups"]).values() if type(g) is dict]
        problem = _unusable(groups)
        if problem:
            return problem
        numbers = [number for group in groups for number in group["params"]]
        states = state_dict.items_of(saved["state"])
        if len(numbers) != len(chosen):
            return f"it is of {len(numbers)} parameters, the model has {len(chosen)}"
        tensors: dict[tuple[str, str], Tensor] = {}
        for number, entry in zip(numbers, chosen, strict=True):
            state = states.get(str(number))
            if type(state) is not dict or any(type(state.get(m)) is not Tensor for m in MOMENTS):
                return f"it has no moments of {entry.key}: only those of Adam can be taken over"
            if any(state[moment].shape != entry.shape for moment in MOMENTS):
                return f"its moments of {entry.key} have another shape"
            tensors |= {(entry.key, moment): state[moment] for moment in MOMENTS}
        steps = [_steps(states[str(number)].get("step"), source, size) for number in numbers]
        named = {"\n".join(name): tensor for name, tensor in tensors.items()}
        arrays = sources.arrays(source, named, size)
    if len(set(steps)) != 1:
        return "its parameters have taken different numbers of steps"
    first, second = (
        _tree({entry: arrays[f"{entry.key}\n{moment}"] for entry in chosen}) for moment in MOMENTS
    )
    return Adam(steps[0], first, second, float(groups[0]["lr"]))


def _unusable(groups: list[dict]) -> str | None:
    """Returns why the settings of these parameter groups cannot be used, or None."""
    if not groups or any(type(group.get("params")) is not list for group in groups):
        return "it has no groups of parameters"
    if len({group.get("lr") for group in groups}) != 1 or type(groups[0]["lr"]) is not float:
        return "its learning rate is not one number"
    for group in groups:
        for name, value in _SETTINGS.items():
            if group.get(name, value) != value:
                return f"its {name} is {str(group[name])[:40]}, and this library's Adam has {value}"
    return None


def _steps(step: object, source: sources.Source, size: int) -> int:
    """Returns the steps taken: a number, or in newer files a tensor of one."""
    if type(step) is Tensor:
        return int(sources.arrays(source, {"step": step}, size)["step"])
    if type(step) is int:
        return step
    raise InputError("has a state of Adam without a number of steps.")


def _tree(arrays: Mapping[mapping.Entry, np.ndarray]) -> dict[str, Any]:
    """Returns the arrays in Flax's layout, nested by their paths below `params`."""
    tree: dict[str, Any] = {}
    for entry, array in arrays.items():
        node = tree
        for part in entry.path[1:-1]:
            node = node.setdefault(part, {})
        node[entry.path[-1]] = entry.to_flax(array)
    return tree
