"""What a model computes on given batches in JAX: our half of a verification.

A `Trace` has PyTorch's keys and arrangements of axes, whichever side it comes from.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from msae_jax import train
from msae_jax.config import Objective, OptimizerConfig
from msae_jax.interop import mapping
from msae_jax.interop.mapping import Entry
from msae_jax.interop.torch_files import Weights
from msae_jax.models.layout import Layer
from msae_jax.models.output import Output
from msae_jax.train.optimizer import make_optimizer

Arrays = dict[str, np.ndarray]


class Training(NamedTuple):
    """The state after some steps: the state dict, and Adam's moments of each parameter."""

    state: Arrays
    first_moments: Arrays
    second_moments: Arrays


class Trace(NamedTuple):
    """What one side computed.

    Attributes:
      outputs: of the model in evaluation mode: `recon`, `z`, and what else it returns.
      evaluation, training: input and output of every layer with weights, in both modes.
      losses: of each step. gradients: of the first, by parameter.
      after: the state after given numbers of steps.
    """

    outputs: Arrays
    evaluation: Arrays
    training: Arrays
    losses: np.ndarray
    gradients: Arrays
    after: dict[int, Training]


class Problem(NamedTuple):
    """What both sides are given.

    Attributes:
      batches: float32 `[steps, B, ...]`; the first one is also that of outputs and activations.
      noise: standard normal `[steps, B, latent_dim]` for models that sample latents.
      checkpoints: the numbers of steps after which to look.
    """

    weights: Weights
    layers: tuple[Layer, ...]
    entries: list[Entry]
    batches: np.ndarray
    noise: np.ndarray
    checkpoints: tuple[int, ...]


def latent_noise(weights: Weights, steps: int, batch: int) -> np.ndarray:
    """Returns the noise `[steps, B, latent_dim]` that `train_step` draws from the start on."""
    _, state = start(weights)
    x = jnp.zeros((batch, *weights.model.sample_shape), jnp.float32)

    def latents(variables: Any, x: jax.Array) -> Any:
        out: Any = weights.model.apply(variables, x)
        return out.z

    shape = jax.eval_shape(latents, weights.variables, x).shape
    keys = [jax.random.fold_in(state.noise_key, step) for step in range(steps)]
    return np.stack([np.asarray(jax.random.normal(key, shape)) for key in keys])


def start(weights: Weights) -> tuple[train.Task, train.TrainState]:
    """Returns the task and the state that training starts from, its gradients recorded."""
    model, variables, settings, _ = weights
    # Both sides train with Adam at its defaults, whatever the recipe adds to it.
    optimizer = _recording_adam(settings.optimizer.learning_rate)
    own = settings.objective
    # Both sides are given clean inputs, and compute the loss without what regularizers add to it.
    objective = Objective(own.likelihood, own.reduction, own.beta)
    task = train.Task(model, objective, optimizer)
    params = jax.tree.map(jnp.asarray, variables["params"])
    order_key, noise_key = jax.random.split(jax.random.key(0))
    return task, train.TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        batch_stats=jax.tree.map(jnp.asarray, variables.get("batch_stats", {})),
        opt_state=optimizer.init(params),
        order_key=order_key,
        noise_key=noise_key,
    )


@functools.cache
def _recording_adam(learning_rate: float) -> optax.GradientTransformation:
    """Returns Adam that keeps the last gradients; always the same object, as `make_optimizer`."""
    adam = make_optimizer(OptimizerConfig(learning_rate=learning_rate), 1)
    return optax.chain(_recorder(), adam)


def _recorder() -> optax.GradientTransformation:
    """Passes gradients on, and keeps the last ones as its state."""
    return optax.GradientTransformation(lambda params: params, lambda g, state, params=None: (g, g))


def trace(problem: Problem) -> Trace:
    """Returns what the JAX side computes, at float32 `highest` matmul precision."""
    variables = problem.weights.variables
    with jax.default_matmul_precision("highest"):
        x = jnp.asarray(problem.batches[0])
        task, state = start(problem.weights)
        key = jax.random.fold_in(state.noise_key, 0)
        out, evaluation = _activations(problem, variables, x, None, False)
        _, training = _activations(problem, variables, x, key, True)
        step = jax.jit(train.train_step, static_argnums=0)
        losses, gradients, after = [], {}, {}
        for i, batch in enumerate(problem.batches):
            state, metrics = step(task, state, batch)
            losses.append(float(metrics.loss))
            if i == 0:
                gradients = _parameters(problem, state.opt_state[0])
            if i + 1 in problem.checkpoints:
                after[i + 1] = _training(problem, state)
    outputs = {
        name: to_torch_axes(value, problem.weights.model.sample_shape if value.ndim > 2 else None)
        for name, value in out._asdict().items()
        if value is not None
    }
    return Trace(outputs, evaluation, training, np.array(losses), gradients, after)


def _activations(
    problem: Problem, variables: Mapping[str, Any], x: jax.Array, key: jax.Array | None, train: bool
) -> tuple[Output, Arrays]:
    """Runs the model once; returns its output, and input and output of each layer in the table."""
    names = tuple((layer.flax, layer.torch) for layer in problem.layers)
    out, seen = _observed(problem.weights.model, names, variables, x, key, train)
    arranged = {}
    for layer in problem.layers:
        for side, grid in (("input", layer.flatten_in), ("output", layer.flatten_out)):
            name = f"{side} of {layer.torch}"
            arranged[name] = to_torch_axes(seen[name], grid)
    return out, arranged


@functools.partial(jax.jit, static_argnames=("model", "names", "train"))
def _observed(
    model: nn.Module,
    names: tuple[tuple[str, str], ...],
    variables: Mapping[str, Any],
    x: jax.Array,
    key: jax.Array | None,
    train: bool,
) -> tuple[Output, dict[str, jax.Array]]:
    """Returns a model's output, and input and output of each layer of `names`, Flax to PyTorch."""
    by_path = dict(names)
    seen: dict[str, jax.Array] = {}

    def record(call: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        result = call(*args, **kwargs)
        name = by_path.get("/".join(context.module.path))
        if name is not None and context.method_name == "__call__":
            seen[f"input of {name}"] = args[0]
            seen[f"output of {name}"] = result
        return result

    with nn.intercept_methods(record):
        out, _ = model.apply(variables, x, key=key, train=train, mutable=["batch_stats"])
    return out, seen


def to_torch_axes(array: Any, grid: tuple[int, ...] | None = None) -> np.ndarray:
    """Returns `[B, *spatial, C]`, or that flattened from `grid`, with the channels first."""
    array = np.asarray(array)
    if array.ndim > 2:
        return np.moveaxis(array, -1, 1)
    if grid is not None:
        return np.moveaxis(array.reshape(-1, *grid), -1, 1).reshape(array.shape)
    return array


def _parameters(problem: Problem, tree: Any) -> Arrays:
    """Returns a tree like the parameters by PyTorch's keys."""
    entries = [entry for entry in problem.entries if entry.path[0] == "params"]
    return mapping.to_state_dict(entries, {"params": tree}, "the gradients")


def _training(problem: Problem, state: train.TrainState) -> Training:
    def is_adam(node: Any) -> bool:
        return isinstance(node, optax.ScaleByAdamState)

    [adam] = filter(is_adam, jax.tree.leaves(state.opt_state, is_leaf=is_adam))
    first, second = _parameters(problem, adam.mu), _parameters(problem, adam.nu)
    return Training(
        mapping.to_state_dict(problem.entries, state.variables, "the state"), first, second
    )
