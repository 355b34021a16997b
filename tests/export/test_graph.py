"""A jaxpr as a graph: what it is made of, what is left out, what is refused. Needs no onnx."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from msae_jax.errors import InputError
from msae_jax.export import trace

W = np.arange(12, dtype=np.float32).reshape(4, 3)
B = np.array([1.0, 2.0, 3.0], np.float32)
X = [jax.ShapeDtypeStruct((1, 4), jnp.float32)]


def operators(function, **how) -> list[str]:
    return [node.operator for node in trace(function, X, **how).nodes]


def test_a_layer_is_three_operators_and_repeats_its_bias_by_itself() -> None:
    graph = trace(lambda x: jnp.tanh(x @ W + B), X)
    assert [n.operator for n in graph.nodes] == ["MatMul", "Add", "Tanh", "Identity"]
    assert [(v.name, v.shape) for v in graph.inputs] == [("input", (None, 4))]
    assert [(v.name, v.shape, v.dtype.name) for v in graph.outputs] == [
        ("output", (None, 3), "float32")
    ]
    weights = sorted((a for a in graph.constants.values()), key=lambda a: -a.size)
    np.testing.assert_array_equal(weights[0], W)
    np.testing.assert_array_equal(weights[1].ravel(), B)
    known = {"input", *graph.constants}
    for node in graph.nodes:  # in an order of computation
        assert set(node.inputs) <= known
        known |= set(node.outputs)
    assert "output" in known


def test_a_fixed_batch_computes_no_shapes() -> None:
    def broadcast(x):
        return jnp.broadcast_to(x[:, None], (x.shape[0], 2, 4)).reshape(-1, 4)

    assert "Shape" in operators(broadcast)
    assert "Shape" not in operators(broadcast, batch=3)
    assert trace(broadcast, X, batch=3).outputs[0].shape == (6, 4)


def test_what_does_not_hang_on_the_input_is_computed() -> None:
    graph = trace(lambda x: x + jnp.exp(jnp.sort(jnp.array([3.0, 0.0, 2.0, 1.0]))), X)
    assert [n.operator for n in graph.nodes] == ["Add", "Identity"]
    (array,) = graph.constants.values()
    np.testing.assert_allclose(array.ravel(), np.exp([0.0, 1, 2, 3]), rtol=1e-6)


def test_what_no_output_hangs_on_is_left_out() -> None:
    def unused(x):
        jnp.fft.fft(x)
        return -x

    assert operators(unused) == ["Neg", "Identity"]


def test_equal_arrays_are_kept_once() -> None:
    graph = trace(lambda x: (x @ W) @ jnp.asarray(W.T) + (x @ jnp.asarray(W.copy())) @ W.T, X)
    assert sorted(a.shape for a in graph.constants.values()) == [(3, 4), (4, 3)]


def test_the_branch_for_any_platform_is_taken() -> None:
    def by_platform(x):
        return lax.platform_dependent(x, cpu=lambda x: jnp.fft.fft(x).real, default=jnp.sin)

    assert operators(by_platform) == ["Sin", "Identity"]


def test_a_loop_is_written_out() -> None:
    def powers(x):
        return lax.scan(lambda c, w: (c * x, c + w), x, jnp.arange(3.0))[1]

    assert operators(powers).count("Mul") == 2  # the last carry is not wanted


def test_everything_that_has_no_translation_is_named_at_once() -> None:
    def impossible(x):
        y = lax.scan(lambda c, _: (c * x, None), x, None, length=1000)[0]
        return jnp.sort(y) + jnp.fft.fft(x).real + lax.cummax(x) + jnp.where(x[0, 0] > 0, x, -x)

    with pytest.raises(InputError, match="no translation") as caught:
        trace(impossible, X)
    for name in ("sort", "fft", "cummax", "scan (of 1000 steps"):
        assert name in str(caught.value)


def test_a_size_that_a_free_batch_cannot_have_is_an_input_error() -> None:
    with pytest.raises(InputError, match="cannot be traced with a free batch size"):
        trace(lambda x: x.reshape(2, -1, 4) if x.shape[0] > 1 else x, X)
