"""Each operator of the page against NumPy, SciPy or `jax.lax`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest
from scipy import special

from msae_jax.errors import InputError
from msae_jax.explorer import decoder
from msae_jax.export.graph import Graph, Node, Value
from tests.explorer import node

RNG = np.random.default_rng(0)
X = RNG.normal(size=(1, 3, 4)).astype(np.float32)
ROW = RNG.normal(size=(4,)).astype(np.float32)
IMAGE = RNG.normal(size=(1, 4, 7, 6)).astype(np.float32)
CURVE = RNG.normal(size=(1, 2, 9)).astype(np.float32)
TO_THE_END = np.iinfo(np.int64).max


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


class Case:
    """One operator of an input and constants, and what NumPy makes of them."""

    def __init__(
        self, operator: str, expected: Any, *constants: np.ndarray | None, x: np.ndarray = X,
        **attributes: Any,
    ) -> None:  # fmt: skip
        self.operator, self.x, self.expected = operator, x, np.asarray(expected)
        names = ["" if c is None else f"c{i}" for i, c in enumerate(constants)]
        held = {name: c for name, c in zip(names, constants, strict=True) if c is not None}
        nodes = [Node(operator, ("x", *names), ("made",), attributes)]
        if self.expected.dtype == bool:  # the page gives float32
            nodes.append(Node("Cast", ("made",), ("y",), {"to": 1}))
        else:
            nodes.append(Node("Identity", ("made",), ("y",), {}))
        self.graph = Graph(
            tuple(nodes),
            held,
            (Value("x", x.dtype, x.shape),),
            (Value("y", np.dtype(np.float32), self.expected.shape),),
        )


def convolved(x: np.ndarray, w: np.ndarray, **how: Any) -> np.ndarray:
    return np.asarray(jax.lax.conv_general_dilated(x, w, precision="highest", **how))


W = normal(5, 2, 3, 2)
W_TRANSPOSED = normal(4, 3, 4, 3)
W_CURVE = normal(3, 2, 4)
BIAS = normal(5)


def spatial() -> list[Case]:
    """Convolutions and pools, with `jax.lax` as the other side."""
    grouped = convolved(
        IMAGE, normal_w := normal(6, 2, 3, 3), window_strides=(1, 1), padding="VALID",
        feature_group_count=2,
    )  # fmt: skip
    plain = convolved(
        IMAGE[:, :2], W, window_strides=(2, 1), padding=((1, 2), (0, 1)), rhs_dilation=(2, 1)
    )
    # A transposed convolution is one of the input with zeros between, by the flipped kernel.
    flipped = W_TRANSPOSED[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)
    transposed = convolved(
        IMAGE, flipped, window_strides=(1, 1), padding=((2, 2), (2, 3)), lhs_dilation=(2, 2)
    )
    curve = convolved(CURVE, W_CURVE, window_strides=(2,), padding=((1, 1),))
    most = jax.lax.reduce_window(
        IMAGE, -np.inf, jax.lax.max, (1, 1, 3, 2), (1, 1, 2, 2), ((0, 0), (0, 0), (1, 0), (0, 0))
    )
    mean = IMAGE.reshape(1, 4, 7, 3, 2).mean(axis=4)
    edge = np.stack([CURVE[..., :1].mean(-1), CURVE[..., 1:3].mean(-1)], axis=-1)
    return [
        Case(
            "Conv", plain + BIAS[:, None, None], W, BIAS, x=IMAGE[:, :2], strides=[2, 1],
            pads=[1, 0, 2, 1], dilations=[2, 1], kernel_shape=[3, 2],
        ),
        Case("Conv", grouped, normal_w, x=IMAGE, group=2),
        Case("Conv", curve, W_CURVE, x=CURVE, strides=[2], pads=[1, 1]),
        Case(
            "ConvTranspose", transposed, W_TRANSPOSED, x=IMAGE, strides=[2, 2], pads=[1, 0, 1, 0],
            output_padding=[0, 1],
        ),
        Case("MaxPool", most, x=IMAGE, kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 0, 0]),
        Case("AveragePool", mean, x=IMAGE, kernel_shape=[1, 2], strides=[1, 2]),
        Case(
            "AveragePool", edge, x=CURVE[..., :3], kernel_shape=[2], strides=[2], pads=[1, 0],
        ),
    ]  # fmt: skip


def elementwise() -> list[Case]:
    positive = np.abs(X) + np.float32(0.1)
    functions: dict[str, Callable] = {
        "Abs": np.abs, "Cos": np.cos, "Exp": np.exp, "Neg": np.negative, "Sign": np.sign,
        "Sin": np.sin, "Tanh": np.tanh, "Erf": special.erf, "Sigmoid": special.expit,
        "Relu": lambda x: np.maximum(x, 0), "Reciprocal": np.reciprocal, "Identity": np.asarray,
    }  # fmt: skip
    pairs: dict[str, Callable] = {
        "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide, "Max": np.maximum,
        "Min": np.minimum, "Greater": np.greater, "Less": np.less,
        "GreaterOrEqual": np.greater_equal, "LessOrEqual": np.less_equal,
    }  # fmt: skip
    column, eye = normal(3, 1), np.eye(3, dtype=np.float32)
    return [
        *(Case(name, fn(X)) for name, fn in functions.items()),
        Case("Erf", special.erf(9 * X), x=9 * X),
        Case("Sigmoid", special.expit(99 * X), x=99 * X),
        Case("Log", np.log(positive), x=positive),
        Case("Sqrt", np.sqrt(positive), x=positive),
        Case("Pow", positive**3, np.array(3, np.float32), x=positive),
        *(Case(name, fn(X, ROW), ROW) for name, fn in pairs.items()),
        Case("Add", X + column, column),
        Case("Max", np.maximum(np.maximum(X, ROW), column), ROW, column),
        Case("Equal", eye == 1, np.array(1, np.float32), x=eye),
    ]  # fmt: skip


def layouts() -> list[Case]:
    square, tall, c = normal(4, 5), normal(2, 4, 5), normal(5)
    backwards = ints(1, -1), ints(TO_THE_END, -TO_THE_END), ints(1, 2), ints(1, -2)
    padded = np.pad(X, ((0, 0), (1, 2), (0, 1)), constant_values=7)
    return [
        Case("Reshape", X.reshape(1, 2, 6), ints(0, 2, -1)),
        Case("Transpose", X.transpose(2, 0, 1), perm=[2, 0, 1]),
        Case("Transpose", X.T),
        Case("Concat", np.concatenate([X, X[:, :1] * 0 + ROW], 1), X[:, :1] * 0 + ROW, axis=-2),
        Case("Slice", X[:, 1:, ::-2], *backwards),
        Case("Slice", X[:, :2], ints(0), ints(2), ints(1)),
        Case("Pad", padded, ints(0, 1, 0, 0, 2, 1), np.float32(7)),
        Case("Pad", np.pad(X, ((0, 0), (0, 0), (0, 1)))[:, :, 1:], ints(-1, 1), None, ints(2)),
        Case("Expand", np.broadcast_to(X[:, :1], (2, 3, 4)), ints(2, 3, 1), x=X[:, :1]),
        Case("Squeeze", X[0], ints(0)),
        Case("Unsqueeze", X[:, None, :, :, None], ints(1, -1)),
        Case("Gather", X[..., [3, 3, 0]], ints(-1, 3, 0), axis=2),
        Case("ReduceSum", X.sum(axis=(0, 2)), ints(0, 2), keepdims=0),
        Case("ReduceMax", X.max(axis=1, keepdims=True), ints(1)),
        Case("ReduceMin", X.min(axis=-1), ints(-1), keepdims=0),
        Case("ReduceMean", X.mean(axis=(1, 2), keepdims=True), ints(1, 2)),
        Case("ReduceMean", X.mean(keepdims=True)),
        Case("MatMul", X @ square, square),
        Case("MatMul", X @ tall, tall),
        Case("MatMul", X @ ROW, ROW),
        Case("Gemm", 0.5 * (X[0] @ square) + 2 * c, square, c, x=X[0], alpha=0.5, beta=2.0),
        Case("Gemm", X[0] @ square, np.ascontiguousarray(square.T), x=X[0], transB=1),
        Case("Gemm", X[0].T @ tall[0, :3], tall[0, :3], x=X[0], transA=1),
    ]  # fmt: skip


CASES = [*spatial(), *elementwise(), *layouts()]


@pytest.fixture(scope="module")
def computed() -> list[list[float]]:
    """What the page makes of every case, in one process."""
    given = [
        {"graph": decoder.as_values(case.graph), "x": case.x.astype(float).ravel().tolist()}
        for case in CASES
    ]
    return node.run(
        """import { compile } from "page/graph.mjs";
        const found = [];
        for (const { graph, x } of given) {
          found.push(Array.from((await compile(graph))(Float32Array.from(x))));
        }
        console.log(JSON.stringify(found));""",
        given,
    )


@pytest.mark.parametrize("i", range(len(CASES)), ids=[c.operator for c in CASES])
def test_an_operator_gives_what_numpy_gives(i: int, computed: list[list[float]]) -> None:
    expected = np.asarray(CASES[i].expected, np.float64)
    found = np.array(computed[i]).reshape(expected.shape)
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=2e-6)


def test_truth_values_combine_and_choose() -> None:
    zero, ten = np.zeros((), np.float32), np.full(4, 10, np.float32)
    nodes = (
        Node("Greater", ("x", "zero"), ("up",), {}),
        Node("Greater", ("x", "row"), ("over",), {}),
        Node("And", ("up", "over"), ("both",), {}),
        Node("Or", ("up", "over"), ("any",), {}),
        Node("Not", ("any",), ("none",), {}),
        Node("Where", ("both", "ten", "x"), ("left",), {}),
        Node("Where", ("none", "row", "left"), ("y",), {}),
    )
    given, made = Value("x", X.dtype, X.shape), Value("y", X.dtype, X.shape)
    graph = Graph(nodes, {"zero": zero, "row": ROW, "ten": ten}, (given,), (made,))
    found = node.run(
        """import { compile } from "page/graph.mjs";
        const run = await compile(given.graph);
        console.log(JSON.stringify(Array.from(run(Float32Array.from(given.x)))));""",
        {"graph": decoder.as_values(graph), "x": X.astype(float).ravel().tolist()},
    )
    up, over = X > 0, ROW < X
    expected = np.where(~(up | over), ROW, np.where(up & over, 10, X))
    np.testing.assert_array_equal(np.array(found, np.float32).reshape(X.shape), expected)


def test_python_knows_what_the_page_computes() -> None:
    names = node.run(
        """import { OPERATORS } from "page/graph.mjs";
        console.log(JSON.stringify(Object.keys(OPERATORS)));"""
    )
    assert set(names) == decoder.OPERATORS
    tried = {case.operator for case in CASES} | {"And", "Or", "Not", "Where", "Cast"}
    assert tried == decoder.OPERATORS


def test_what_the_page_lacks_is_named_all_at_once() -> None:
    given = Value("x", X.dtype, X.shape)
    nodes = (
        Node("Softplus", ("x",), ("a",), {}),
        Node("Pad", ("a",), ("b",), {"mode": "reflect"}),
        Node("Cast", ("b",), ("c",), {"to": 10}),
        Node("Conv", ("c",), ("d",), {"kernel_shape": [1, 1, 1], "auto_pad": "SAME_UPPER"}),
    )
    with pytest.raises(InputError) as caught:
        decoder.as_values(Graph(nodes, {}, (given,), (given,)))
    expected = (
        "Cast to type 10, Conv over 3 axes, Conv with auto_pad SAME_UPPER, Pad in mode reflect, "
        "Softplus"
    )
    assert expected in str(caught.value)
