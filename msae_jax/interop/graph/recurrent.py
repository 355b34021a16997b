"""LSTMs, GRUs and plain recurrent networks: whole, as PyTorch's graphs keep them, and single steps.

The weights of a layer and direction are [gates H, I] and [gates H, H], then two biases if there are
any, then, of an LSTM with projections, [P, H]. Gates are in PyTorch's order: i, f, g, o of an LSTM;
r, z, n of a GRU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from msae_jax.interop.graph.context import Context
from msae_jax.interop.graph.creation import dropped
from msae_jax.models import recurrent

Array = jax.Array
State = tuple[Array, ...]
Step = Callable[[State, Array], State]


def _lstm_step(weights: Sequence[Array], biases: Sequence[Array]) -> Step:
    hidden, *projection = weights[1:]

    def step(state: State, gates: Array) -> State:
        h, c = state
        h, c = recurrent.lstm_cell(gates + h @ hidden.T, c)
        return (h @ projection[0].T if projection else h), c

    return step


def _gru_step(weights: Sequence[Array], biases: Sequence[Array]) -> Step:
    def step(state: State, gates: Array) -> State:
        [h] = state
        inner = h @ weights[1].T + (biases[1] if biases else 0.0)
        both = 2 * h.shape[-1]  # one sigmoid of both is faster than two of slices
        r, z = jnp.split(jax.nn.sigmoid(gates[..., :both] + inner[..., :both]), 2, axis=-1)
        n = recurrent.tanh(gates[..., both:] + r * inner[..., both:])
        return ((1 - z) * n + z * h,)

    return step


def _rnn_step(activation: Callable[[Array], Array]) -> Callable[..., Step]:
    def make(weights: Sequence[Array], biases: Sequence[Array]) -> Step:
        def step(state: State, gates: Array) -> State:
            return (activation(gates + state[0] @ weights[1].T),)

        return step

    return make


def _gates(x: Array, weights: Sequence[Array], biases: Sequence[Array], both: bool) -> Array:
    """Returns what the inputs of all steps add to the gates, with both biases or the first."""
    gates = x @ weights[0].T
    if not biases:
        return gates
    return gates + biases[0] + biases[1] if both else gates + biases[0]


def _direction(
    x: Array, state: State, weights: Sequence[Array], has_biases: bool, make: Any, both: bool
) -> tuple[Array, State]:
    """Runs over x [T, B, I] from a state; returns h of all steps [T, B, H] and the last state."""
    biases = weights[2:4] if has_biases else ()
    kernels = [*weights[:2], *weights[4 if has_biases else 2 :]]
    step = make(kernels, biases)

    def body(carry: State, gates: Array) -> tuple[State, Array]:
        carry = step(carry, gates)
        return carry, carry[0]

    gates = _gates(x, kernels, biases, both)
    if make is _lstm_step and len(kernels) == 2:  # without projections
        steps, *ends = recurrent.lstm(gates, kernels[1].T, *state)
        return steps, tuple(ends)
    last, steps = lax.scan(body, state, gates)
    return steps, last


def _grouped(params: Sequence[Array], count: int) -> Iterator[Sequence[Array]]:
    each = len(params) // count
    for i in range(count):
        yield params[i * each : (i + 1) * each]


def _run(
    x: Array,
    states: State,
    params: Sequence[Array],
    settings: tuple[bool, int, float, bool, bool, bool],
    make: Any,
    both: bool,
    context: Context,
) -> tuple[Array, ...]:
    """Returns the outputs of the last layer and, for each part of the state, that of all layers."""
    has_biases, layers, dropout, train, bidirectional, batch_first = settings
    x = jnp.swapaxes(x, 0, 1) if batch_first else x
    directions = 2 if bidirectional else 1
    weights = list(_grouped(params, layers * directions))
    finals: list[State] = []
    for layer in range(layers):
        if layer and dropout and train and context.train:
            key = jax.random.fold_in(context.needed_key("dropout"), layer)
            x = dropped(x, dropout, train, Context(key, True))
        found = []
        for backward in range(directions):
            number = layer * directions + backward
            begin = tuple(part[number] for part in states)
            series = x[::-1] if backward else x
            steps, last = _direction(series, begin, weights[number], has_biases, make, both)
            found.append(steps[::-1] if backward else steps)
            finals.append(last)
        x = jnp.concatenate(found, axis=-1) if bidirectional else found[0]
    ends = tuple(jnp.stack(part) for part in zip(*finals, strict=True))
    return (jnp.swapaxes(x, 0, 1) if batch_first else x), *ends


def lstm(
    input: Array,
    hx: Sequence[Array],
    params: Sequence[Array],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
    *,
    context: Context,
) -> tuple[Array, ...]:
    """Returns outputs, last hidden states and last cell states, as `torch.nn.LSTM`."""
    settings = (has_biases, num_layers, dropout, train, bidirectional, batch_first)
    return _run(input, tuple(hx), params, settings, _lstm_step, True, context)


def _of_one_state(make: Any, both: bool) -> Callable[..., tuple[Array, ...]]:
    def layers(
        input: Array,
        hx: Array,
        params: Sequence[Array],
        has_biases: bool,
        num_layers: int,
        dropout: float,
        train: bool,
        bidirectional: bool,
        batch_first: bool,
        *,
        context: Context,
    ) -> tuple[Array, ...]:
        settings = (has_biases, num_layers, dropout, train, bidirectional, batch_first)
        return _run(input, (hx,), params, settings, make, both, context)

    return layers


def lstm_cell(
    input: Array,
    hx: Sequence[Array],
    w_ih: Array,
    w_hh: Array,
    b_ih: Array | None = None,
    b_hh: Array | None = None,
) -> tuple[Array, ...]:
    biases = [b for b in (b_ih, b_hh) if b is not None]
    weights = [w_ih, w_hh]
    return _lstm_step(weights, biases)(tuple(hx), _gates(input, weights, biases, True))


def _cell(make: Any, both: bool) -> Callable[..., Array]:
    def cell(
        input: Array,
        hx: Array,
        w_ih: Array,
        w_hh: Array,
        b_ih: Array | None = None,
        b_hh: Array | None = None,
    ) -> Array:
        biases = [b for b in (b_ih, b_hh) if b is not None]
        weights = [w_ih, w_hh]
        return make(weights, biases)((hx,), _gates(input, weights, biases, both))[0]

    return cell


_TANH, _RELU = _rnn_step(recurrent.tanh), _rnn_step(jax.nn.relu)

TABLE: dict[str, Callable[..., Any]] = {
    "aten.lstm.input": lstm,
    "aten.gru.input": _of_one_state(_gru_step, False),
    "aten.rnn_tanh.input": _of_one_state(_TANH, True),
    "aten.rnn_relu.input": _of_one_state(_RELU, True),
    "aten.lstm_cell.default": lstm_cell,
    "aten.gru_cell.default": _cell(_gru_step, False),
    "aten.rnn_tanh_cell.default": _cell(_TANH, True),
    "aten.rnn_relu_cell.default": _cell(_RELU, True),
}
