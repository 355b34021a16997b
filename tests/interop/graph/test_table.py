"""The operators have the parameters that PyTorch's have, with the same defaults."""

from __future__ import annotations

import inspect

import pytest

from msae_jax.interop.files.pt2_values import Setting
from msae_jax.interop.graph.table import OPERATORS, VIEWS, is_neutral, parameters

torch = pytest.importorskip("torch", reason="PyTorch is not installed (the torch extra)")

ATEN = sorted(name for name in OPERATORS if name.startswith("aten.") and "sym_" not in name)


def schema(name: str):
    _, operator, overload = name.split(".")
    return getattr(getattr(torch.ops.aten, operator), overload)._schema


@pytest.mark.parametrize("name", ATEN)
def test_an_operator_takes_what_pytorchs_takes(name):
    function = OPERATORS[name]
    ours = {key: value for key, value in parameters(function).items() if key != "context"}
    theirs = {argument.name: argument for argument in schema(name).arguments}
    unknown = [ours[key] for key in set(ours) - set(theirs)]
    assert all(value.default is not inspect.Parameter.empty for value in unknown)
    for key, argument in theirs.items():
        if key not in ours:  # refused where a graph has it, unless it says nothing of values
            continue
        default = ours[key].default
        if default is inspect.Parameter.empty:
            assert not argument.has_default_value(), key
        elif argument.has_default_value():
            expected = argument.default_value
            if key == "dtype" and expected is not None:
                expected = {4: Setting("dtype", "int64")}[expected]  # c10/core/ScalarType.h
            if isinstance(expected, list):
                expected = tuple(expected)
            if isinstance(expected, tuple) and len(set(expected)) == 1 and expected:
                expected = expected[0]  # one number for all axes
            assert (default, type(default)) == (expected, type(expected)) or (
                default == expected and {type(default), type(expected)} <= {int, float}
            ), key


def test_what_is_not_taken_is_neutral_or_refused():
    left = {
        (name, argument.name)
        for name in ATEN
        for argument in schema(name).arguments
        if argument.name not in parameters(OPERATORS[name])
    }
    neutral = {(name, key) for name, key in left if is_neutral(key, None)}
    assert sorted(key for _, key in left - neutral if key not in ("copy", "inplace")) == []


def test_views_are_pytorchs():
    """Every operator of PyTorch's that returns its argument's memory is known to."""
    for name in ATEN:
        returns = schema(name).returns
        aliased = any(value.alias_info is not None for value in returns)
        assert not aliased or name in VIEWS, name
