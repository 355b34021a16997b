"""What a program computes in JAX on given batches: our half of the verification of a `.pt2`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from msae_jax.config import Objective, OptimizerConfig
from msae_jax.errors import InputError
from msae_jax.interop.exported import Exported, example_inputs, flattened
from msae_jax.interop.files.pt2_values import Graph, Node, Ref
from msae_jax.interop.graph.computation import Computation, Outcome
from msae_jax.interop.roles import refs
from msae_jax.interop.verification.trace import Arrays, Trace, Training
from msae_jax.models.output import Output
from msae_jax.train import losses
from msae_jax.train.optimizer import make_optimizer

RANDOM = ("randn", "randn_like", "normal_functional", "normal", "bernoulli", "rand", "rand_like",
          "exponential", "randint", "randperm")  # fmt: skip
DROPOUT = ("dropout", "native_dropout", "feature_dropout", "rrelu")
INNER = ("dropout", "dropout_p")


class Problem(NamedTuple):
    """What both sides are given.

    Attributes:
      module: the program, with no dropout inside its recurrent and attention layers.
      params, buffers: float32, by dotted name; tied ones once.
      batches: of each step, the inputs in PyTorch's layout.
      roles: by role, values of the graph in evaluation and in training mode; empty of a program
        that is no autoencoder, whose loss is the mean square of its outputs.
      checkpoints: the numbers of steps after which to look.
    """

    module: Exported
    params: dict[str, Any]
    buffers: dict[str, Any]
    batches: list[list[np.ndarray]]
    roles: tuple[dict[str, str], dict[str, str]]
    objective: Objective
    learning_rate: float
    checkpoints: tuple[int, ...]


Draws = dict[str, np.ndarray]


class Drawn(NamedTuple):
    """What nodes draw at random, in evaluation, and in training at each step: their values, and of
    dropout what it multiplies by.
    """

    evaluation: Draws
    training: list[Draws]


def without_inner_dropout(graph: Graph) -> tuple[Graph, bool]:
    """Returns a graph whose recurrent and attention layers drop nothing, and whether any did.

    Their masks do not show in the graph, so that no other framework can be given them.
    """
    nodes, changed = [], False
    for node in graph.nodes:
        rates = {k for k in INNER if isinstance(node.arguments.get(k), float)}
        rates = {k for k in rates if node.arguments[k]}
        changed = changed or bool(rates)
        nodes.append(replace(node, arguments=node.arguments | dict.fromkeys(rates, 0.0)))
    return replace(graph, nodes=tuple(nodes)), changed


class Tracer:
    """Computes traces of one problem on any batches; each program is compiled once."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        adam = OptimizerConfig(learning_rate=problem.learning_rate)
        self._optimizer = make_optimizer(adam, 1)
        self._step = step_of(problem, self._optimizer)
        self._observed = [_observed(problem, train) for train in (False, True)]

    def trace(self, batches: list[list[np.ndarray]]) -> tuple[Trace, Drawn]:
        """Returns what JAX computes, at float32 `highest` matmul precision, and what it drew."""
        key, problem = jax.random.key(0), self.problem
        params = jax.tree.map(jnp.asarray, problem.params)
        buffers = jax.tree.map(jnp.asarray, problem.buffers)
        state = self._optimizer.init(params)
        losses, draws, after, gradients = [], [], {}, {}
        with jax.default_matmul_precision("highest"):
            first = [jnp.asarray(x) for x in batches[0]]
            evaluated = self._observed[0](params, buffers, None, first)
            own = jax.random.fold_in(key, 0)
            trained = self._observed[1](params, buffers, own, first)
            for number, batch in enumerate(batches):
                own = jax.random.fold_in(key, number)
                inputs = [jnp.asarray(x) for x in batch]
                params, buffers, state, loss, grads, drawn = self._step(
                    params, buffers, state, own, inputs
                )
                losses.append(float(loss))
                draws.append(_numpy(drawn))
                if number == 0:
                    gradients = _numpy(grads)
                if number + 1 in problem.checkpoints:
                    after[number + 1] = _training(params, buffers, state)
        outputs = {k[7:]: v for k, v in evaluated.items() if k.startswith("output ")}
        layers = _layers(evaluated), _layers(trained)
        found = Trace(outputs, *layers, np.array(losses), gradients, after)
        return found, Drawn(_draws(problem, evaluated, False), draws)


def noise(graph: Graph, batch: int | None, count: int) -> list[list[np.ndarray]]:
    """Returns batches of a program's inputs: U(0, 1), or whole numbers 0 and 1, valid as indices.

    Args:
      batch: instead of the export's, where the batch size is free. count: of batches.
    """
    rng = np.random.default_rng(0)

    def drawn(shape: jax.ShapeDtypeStruct) -> np.ndarray:
        if np.issubdtype(shape.dtype, np.floating):
            return rng.random(shape.shape, np.float32)
        return rng.integers(0, 2, shape.shape).astype(shape.dtype)

    shapes = example_inputs(graph, batch)
    return [[drawn(shape) for shape in shapes] for _ in range(count)]


def shown(node: Node, name: str) -> str:
    """Returns what a certificate calls a value: where the user's code makes it, and its name."""
    return f"{node.module or 'the outermost module'}: {name}"


def names_of(graph: Graph) -> dict[str, str]:
    """Returns what a certificate calls each value that something uses, by its name in the graph."""
    used = {name for node in graph.nodes for v in node.arguments.values() for name in refs(v)}
    used |= {name for result in graph.outputs for name in refs(result.value)}
    return {
        name: shown(node, name)
        for node in graph.nodes
        if "empty" not in node.operator  # whatever the memory held
        for output in node.outputs
        for name in (output if isinstance(output, tuple) else (output,))
        if name in used
    }


def random_nodes(graph: Graph) -> list[Node]:
    """Returns the nodes that draw at random or drop."""
    return [
        node
        for node in graph.nodes
        if node.operator.startswith("aten.")
        and node.operator.split(".")[1].removesuffix("_") in (*RANDOM, *DROPOUT)
    ]


def behind(graph: Graph) -> dict[str, str]:
    """Returns, by running mean, the bias that is added right before its normalisation."""
    targets = {value.name: value.target for value in graph.inputs}
    made = {name: node for node in graph.nodes for name in node.outputs if isinstance(name, str)}
    found = {}
    for node in graph.nodes:
        mean, source = node.arguments.get("running_mean"), node.arguments.get("input")
        before = made.get(source.name) if isinstance(source, Ref) else None
        bias = None if before is None else before.arguments.get("bias")
        if isinstance(mean, Ref) and isinstance(bias, Ref):
            found[targets.get(mean.name, "")] = targets.get(bias.name, "")
    return found


def run(
    problem: Problem, params: Any, buffers: Any, key: Any, inputs: Any, train: bool, **how: Any
) -> Outcome:
    """Computes a batch in one of the two modes; see `Computation.run`."""
    tensors = problem.module.tensors
    values = problem.module.constants(train) | params | buffers
    values |= {name: values[first] for name, first in tensors.tied.items()}
    graph: Computation = problem.module.graph_for(train)
    return graph.run(values, tuple(inputs), key=key, train=train, **how)


def _observed(problem: Problem, train: bool) -> Callable[..., dict[str, np.ndarray]]:
    """Returns a function that gives each floating value by name, and outputs as `output NAME`."""
    graph = problem.module.graph_for(train).graph
    names, roles = names_of(graph), problem.roles[train]

    @jax.jit
    def observed(params: Any, buffers: Any, key: Any, inputs: Any) -> dict[str, Any]:
        found = run(problem, params, buffers, key, inputs, train, kept=tuple(names))
        parts = {
            f"output {i}": y for i, y in enumerate(found.outputs) if isinstance(y, jax.Array)
        } | {f"output {role}": found.values[name] for role, name in roles.items()}
        return _floating({names[name]: y for name, y in found.values.items()} | parts)

    return lambda *args: _numpy(observed(*args))


def _floating(values: Mapping[str, Any]) -> dict[str, Any]:
    arrays = {k: v for k, v in values.items() if isinstance(v, jax.Array)}
    return {k: v for k, v in arrays.items() if jnp.issubdtype(v.dtype, jnp.floating)}


def _layers(values: Mapping[str, np.ndarray]) -> Arrays:
    return {name: value for name, value in values.items() if not name.startswith("output ")}


def _draws(problem: Problem, values: Mapping[str, np.ndarray], train: bool) -> Draws:
    graph = problem.module.graph_for(train).graph
    nodes = [node for node in random_nodes(graph) if isinstance(node.outputs[0], str)]
    named = {str(node.outputs[0]): shown(node, str(node.outputs[0])) for node in nodes}
    return {name: values[called] for name, called in named.items() if called in values}


def step_of(problem: Problem, optimizer: optax.GradientTransformation) -> Any:
    """Returns a step of training, compiled: from parameters, buffers, state, key and inputs, those
    three anew, the loss, its gradients, and what was drawn."""
    graph = problem.module.graph_for(True).graph
    drawing = [str(node.outputs[0]) for node in random_nodes(graph)]
    roles = problem.roles[True]

    @jax.jit
    def step(params: Any, buffers: Any, state: Any, key: Any, inputs: Any) -> Any:
        def loss_of(params: Any) -> Any:
            kept = (*drawing, *roles.values())
            found = run(problem, params, buffers, key, inputs, True, kept=kept)
            if roles:
                parts = {role: found.values[name] for role, name in roles.items()}
                loss = objective(problem.objective, parts, inputs[0])
            else:
                outputs = _floating(_numbered(found)).values()
                loss = jnp.stack([jnp.square(y).mean() for y in outputs]).sum()
            draws = {name: found.masks.get(name, found.values[name]) for name in drawing}
            return loss, (found.buffers, draws)

        (loss, (new, draws)), grads = jax.value_and_grad(loss_of, has_aux=True)(params)
        updates, state = optimizer.update(grads, state, params)
        tied = problem.module.tensors.tied
        new = {tied.get(name, name): value for name, value in new.items()}
        kept = {k: new[k].astype(v.dtype) if k in new else v for k, v in buffers.items()}
        return optax.apply_updates(params, updates), kept, state, loss, grads, draws

    return step


def _numbered(found: Outcome) -> dict[str, Any]:
    return {str(i): y for i, y in enumerate(found.outputs)}


def objective(settings: Objective, parts: Mapping[str, Any], x: jax.Array) -> jax.Array:
    """Returns the loss that training has of a batch, from the values that have roles."""
    flat = {k: v.reshape(len(x), -1) for k, v in parts.items()}
    if "recon" not in flat:
        flat["recon"] = jax.nn.sigmoid(flat["logits"])
    if "z" not in flat:
        flat["z"] = flat["recon"]
    out = Output(**flat)
    terms = losses.terms(settings, out, x.reshape(len(x), -1))
    return losses.scalar(settings, terms, x[0].size)


def _training(params: Any, buffers: Any, state: Any) -> Training:
    def is_adam(part: Any) -> bool:
        return isinstance(part, optax.ScaleByAdamState)

    [adam] = filter(is_adam, jax.tree.leaves(state, is_leaf=is_adam))
    return Training(_numpy(params | buffers), _numpy(adam.mu), _numpy(adam.nu))


def _numpy(tree: Mapping[str, Any]) -> dict[str, np.ndarray]:
    return {name: np.asarray(value) for name, value in tree.items()}


def split(module: Exported, variables: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns parameters and buffers of variables by dotted name.

    Where none is trained, those that could be count as parameters.

    Raises:
      InputError: there is none.
    """
    flat = flattened(variables)
    tensors = module.tensors
    learned = tensors.parameters or [k for k in tensors.frozen if k in tensors.buffers]
    if not learned:
        raise InputError(
            f"{module.computation.source} has no parameters to verify: `msae apply` computes it."
        )
    rest = [k for k in tensors.buffers if k not in learned]
    return {k: flat[k] for k in learned}, {k: flat[k] for k in rest}
