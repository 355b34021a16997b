"""`.pt2` files are read without PyTorch, and hostile ones are refused."""

from __future__ import annotations

import random
import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from msae_jax.errors import InputError
from msae_jax.interop import load_pt2
from msae_jax.interop.files.pt2 import read_pt2
from tests.interop import pt2_by_hand as by_hand
from tests.interop.limits import MEMORY, in_time

X = np.linspace(-1, 1, 8, dtype=np.float32).reshape(2, 4)


@pytest.fixture
def read(tmp_path):
    def from_bytes(data):
        path = tmp_path / "model.pt2"
        path.write_bytes(data)
        return read_pt2(path)

    return from_bytes


@pytest.fixture
def refused(read):
    def check(data):
        with pytest.raises(InputError) as caught:
            read(data)
        message = str(caught.value)
        assert "\n" not in message
        assert len(message) < 1_000
        return message

    return check


def test_weights_are_views_of_files_in_the_order_of_the_state_dict(read):
    program = read(by_hand.written(by_hand.members()))
    assert list(program.state) == ["down.weight", "down.bias", "up.weight"]
    np.testing.assert_array_equal(program.state["down.weight"], by_hand.WEIGHT)
    np.testing.assert_array_equal(program.state["down.bias"], by_hand.BIAS)
    np.testing.assert_array_equal(program.state["up.weight"], by_hand.WEIGHT.T)
    np.testing.assert_array_equal(program.constants["shift"], by_hand.CONSTANT)
    assert all(array.flags.owndata for array in program.state.values())
    assert program.tied == {}
    assert program.shared == {"up.weight": "down.weight"}
    assert [node.module for node in program.graph.nodes] == ["down", "", "up", ""]
    assert (program.torch_version, program.schema) == ("2.13.0", (8, 20))


def test_a_program_is_computed(tmp_path):
    path = tmp_path / "model.pt2"
    path.write_bytes(by_hand.written(by_hand.members()))
    opened = load_pt2(path)
    out = opened.module.apply(opened.variables, jnp.asarray(X))
    hidden = np.maximum(X @ by_hand.WEIGHT.T + by_hand.BIAS, 0)
    wanted = hidden @ by_hand.WEIGHT + by_hand.CONSTANT
    np.testing.assert_allclose(out.recon, wanted, rtol=1e-6)  # the one output, shaped as the input
    assert "share memory" in opened.notes[0]
    assert opened.module.sample_shape == (4,)
    fresh = opened.module.init(jax.random.key(0), jnp.asarray(X))
    assert list(opened.module.tensors.state_dict(fresh)) == [
        "down.weight",
        "down.bias",
        "up.weight",
    ]


def test_equal_views_are_one_variable_and_two_names(tmp_path):
    parts = by_hand.members()
    same = by_hand.meta([3, 4], [4, 1])
    parts["data/weights/model_weights_config.json"]["config"]["up.weight"] = by_hand.payload(
        "weight_0", same
    )
    graph = parts["models/model.json"]["graph_module"]["graph"]
    graph["tensor_values"]["p_up_weight"] = same
    graph["nodes"][2] = by_hand.node(
        "mm.default", "linear_1", self=by_hand.tensor("relu"), mat2=by_hand.tensor("p_up_weight")
    )
    path = tmp_path / "model.pt2"
    path.write_bytes(by_hand.written(parts))
    opened = load_pt2(path)
    assert set(opened.variables["params"]) == {"down"}

    def loss(params):
        return opened.module.apply({"params": params}, jnp.asarray(X)).recon.sum()

    moved = jax.tree.map(
        lambda p, g: p - 0.1 * g,
        opened.variables["params"],
        jax.grad(loss)(opened.variables["params"]),
    )
    back = opened.module.tensors.state_dict({"params": moved})
    assert list(back) == ["down.weight", "down.bias", "up.weight"]
    np.testing.assert_array_equal(back["down.weight"], back["up.weight"])
    assert not np.allclose(back["down.weight"], by_hand.WEIGHT)


@pytest.mark.parametrize("version", [(8, 0), (8, 20), (8, 99)])
def test_the_schema_versions_that_are_read(version, read):
    major, minor = version
    program = read(by_hand.changed(schema_version={"major": major, "minor": minor}))
    assert program.schema == version


@pytest.mark.parametrize("version", [(7, 3), (9, 0), (8, -1), ("8", 0)])
def test_other_schema_versions_are_refused(version, refused):
    major, minor = version
    data = by_hand.changed(schema_version={"major": major, "minor": minor})
    assert f"has schema version {major}.{minor}; versions 8.0" in refused(data)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("archive_version", b"1", "as its archive_version, not '0'"),
        ("archive_format", b"pt3", "archive_format"),
        ("byteorder", b"big", "byteorder"),
        ("models/other.json", b"{}", "holds 2 programs"),
        ("data/weights/model.pt", b"", "as a pickle"),
        ("models/model.json", b"[" * 100_000, "not a program"),
        ("models/model.json", b"[]", "not a program"),
        ("models/model.json", b"[" + b"0," * 1_100_000 + b"0]", "700000 parts"),
        ("../x", b"", "out of place"),
        ("a/..\\x", b"", "out of place"),
        ("data/weights/weight_0", b"\0" * 40, "reaches beyond"),
    ],
)
def test_members_that_are_wrong(name, content, message, refused):
    assert message in refused(by_hand.written({**by_hand.members(), name: content}))


GRAPH = "graph_module__graph__"


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (GRAPH + "nodes__1__inputs__0__arg", by_hand.tensor("add"), "before it is made"),
        (GRAPH + "nodes__1__outputs__0", by_hand.tensor("linear"), "made twice"),
        (GRAPH + "nodes__1__inputs__0__arg", {"as_int": 2**70}, "64 bits"),
        (GRAPH + "nodes__1__inputs__0__arg", {"as_int": "2"}, "an integer"),
        (GRAPH + "nodes__1__target", "t" * 2_000, "longer than"),
        (GRAPH + "nodes", [{}] * 20_001, "20001 nodes"),
        (GRAPH + "inputs", [], "other numbers"),
        (GRAPH + "tensor_values__p_down_bias", by_hand.meta([4], [1]), "not as the graph has it"),
        (GRAPH + "tensor_values__x__layout", 1, "sparse"),
        ("graph_module__signature__input_specs__0__parameter__parameter_name", "up", "no values"),
        ("graph_module__signature__output_specs__0", {"user_input_mutation": {}}, "an output of"),
    ],
)
def test_graphs_that_are_wrong(path, value, message, refused):
    assert message in refused(by_hand.changed(**{path: value}))


@pytest.mark.parametrize(
    ("described", "message"),
    [
        (by_hand.meta([2**40, 2**40], [0, 0]), "repeat their storages"),
        (by_hand.meta([1 << 28], [0]), "repeat their storages"),
        (by_hand.meta([3, 4], [4, 2]), "reaches beyond"),
        (by_hand.meta([3, -4], [4, 1]), "negative"),
        (by_hand.meta([3, 4], [4]), "do not match"),
        (by_hand.meta([3, 4], [4, 1], dtype=99), "not a program"),
    ],
)
def test_views_that_are_wrong(described, message, refused):
    parts = by_hand.members()
    config = parts["data/weights/model_weights_config.json"]["config"]
    config["down.weight"]["tensor_meta"] = described
    assert message in refused(by_hand.written(parts))


def test_pickled_tensors_are_refused(refused):
    parts = by_hand.members()
    parts["data/weights/model_weights_config.json"]["config"]["up.weight"]["use_pickle"] = True
    assert "as a pickle, which can carry code" in refused(by_hand.written(parts))


def test_what_is_missing_is_named_before_anything_runs(tmp_path):
    path = tmp_path / "model.pt2"
    nodes = GRAPH + "nodes__"
    more = {"name": "gain", "arg": {"as_float": 2.0}, "kind": 2}
    data = by_hand.changed(
        **{nodes + "0__target": "torch.ops.aten.odd.default", nodes + "1__inputs__0": more}
    )
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        load_pt2(path)
    assert "aten.odd.default (1 node, first in down)" in str(caught.value)
    assert "aten.relu.default with an argument gain" in str(caught.value)


def test_damaged_files_are_refused_or_read_the_same(tmp_path):
    """A changed byte, a cut, a doubled or removed part: no other exception, and bounded."""
    good = by_hand.written(by_hand.members())
    path = tmp_path / "model.pt2"
    path.write_bytes(good)
    wanted = read_pt2(path)
    generator = random.Random(0)
    for round in range(60):
        data = bytearray(good)
        at = generator.randrange(len(data))
        match round % 4:
            case 0 | 1:
                data[at] ^= 1 << generator.randrange(8)
            case 2:
                del data[at : at + generator.randrange(1, 200)]
            case _:
                data[at:at] = data[at : at + generator.randrange(1, 200)]
        path.write_bytes(data)
        tracemalloc.start()
        try:
            with in_time():
                found = read_pt2(path)
        except InputError:
            continue
        finally:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert peak < len(data) + MEMORY
        assert found.graph == wanted.graph
        assert all(np.array_equal(found.state[name], wanted.state[name]) for name in wanted.state)


def test_damaged_json_is_refused_or_computes_what_it_says(tmp_path):
    """With checksums that fit: a hostile writer's file, of which any part may be another."""
    generator = random.Random(1)
    path = tmp_path / "model.pt2"
    for _ in range(60):
        parts = by_hand.members()
        spot, place = [], parts["models/model.json"]
        while isinstance(place, dict | list) and place:
            spot.append(place)
            keys = list(place) if isinstance(place, dict) else range(len(place))
            key = generator.choice(list(keys))
            place, last = place[key], key
        odd = [
            None,
            -1,
            2**40,
            "x",
            [],
            {},
            {"as_int": 3},
            True,
            [[1]],
            {"as_tensor": {"name": "x"}},
        ]
        spot[-1][last] = generator.choice(odd)
        path.write_bytes(by_hand.written(parts))
        try:
            opened = load_pt2(path)
            opened.module.apply(opened.variables, jnp.asarray(X))
        except InputError:
            continue
