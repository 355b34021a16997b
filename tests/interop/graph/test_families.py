"""Programs of many families compute and learn in JAX as they do in PyTorch."""

from __future__ import annotations

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from msae_jax.interop.files.pt2 import read_pt2
from msae_jax.interop.graph.computation import Computation
from msae_jax.system import compiling

torch = pytest.importorskip("torch", reason="PyTorch is not installed (the torch extra)")

from tests.interop.graph import families  # noqa: E402

NAMES = list(families.FAMILIES)
IN_PLACE = ("conv-norm", "unet", "residual")
BUFFERS = ("conv-norm", "wave", "residual")
jit = functools.partial(jax.jit, compiler_options=compiling.fast_compile_options())


def opened(path: Path):
    program = read_pt2(path)
    return Computation(program.graph, path.name), program.state | program.constants, program


def distance(got, wanted) -> float:
    """Returns the L2 distance, relative to the norm of what is wanted."""
    got, wanted = np.asarray(got), np.asarray(wanted)
    assert got.shape == wanted.shape
    apart = np.linalg.norm((got.astype(np.float64) - wanted.astype(np.float64)).ravel())
    return float(apart / (np.linalg.norm(wanted.astype(np.float64).ravel()) or 1.0))


def of_torch(program, x, monkeypatch):
    """Returns outputs, gradients of the weighted sum of the outputs, and the module, in PyTorch.

    What would be drawn at random is at its mean, as it is here without a key.
    """
    monkeypatch.setattr(torch, "randn_like", torch.zeros_like)
    module = program.module()
    for node in module.graph.nodes:
        if node.target is torch.ops.aten.randn_like.default:
            node.target = torch.ops.aten.zeros_like.default
        if node.target is torch.ops.aten.randn.default:
            node.target = torch.ops.aten.zeros.default
    module.recompile()
    outputs = module(x)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    sum(weighted(y) for y in outputs if y.is_floating_point()).backward()
    parameters = dict(module.named_parameters(remove_duplicate=False))
    return outputs, {name: p.grad for name, p in parameters.items() if p.grad is not None}, module


def weighted(y):
    """Returns a sum in which each value counts otherwise."""
    weights = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).reshape(y.shape)
    return (y * weights).sum() + (y * y).sum()


def weighted_here(y):
    weights = jnp.linspace(-1, 1, y.size, dtype=y.dtype).reshape(y.shape)
    return (y * weights).sum() + (y * y).sum()


def gradients(computation, tensors, parameters, x, train):
    """Returns outputs, new buffers and gradients, in JAX."""
    learned = {name: jnp.asarray(tensors[name]) for name in parameters}

    @jit
    def both(learned, x):
        def loss(learned):
            found = computation.run(tensors | learned, (x,), train=train)
            parts = [
                weighted_here(y) for y in found.outputs if jnp.issubdtype(y.dtype, jnp.floating)
            ]
            return sum(parts), found

        return jax.value_and_grad(loss, has_aux=True)(learned)

    (_, found), grads = both(learned, x)
    return found, grads


def compare(path, program, name, train, tolerance, monkeypatch, dtype=torch.float32):
    computation, tensors, read = opened(path)
    x = families.inputs(name, 3, dtype)
    wanted, wanted_grads, module = of_torch(program, x, monkeypatch)
    parameters = [p for p in read.parameters if p not in read.tied]
    for tied, first in read.tied.items():
        computation_names = [v for v in read.graph.inputs if v.target == tied]
        assert computation_names
        assert np.array_equal(tensors[tied], tensors[first])
    found, grads = gradients(computation, tensors, parameters, jnp.asarray(x.numpy()), train)
    for got, y in zip(found.outputs, wanted, strict=True):
        assert distance(got, y.detach()) < tolerance
    for key, grad in wanted_grads.items():
        if key not in read.tied and key not in read.tied.values():
            size = float(grad.norm())
            assert distance(grads[key], grad) < tolerance or size < 1e-5, key
    buffers = dict(module.named_buffers())
    for key, value in found.buffers.items():
        assert distance(value, buffers[key]) < tolerance, key
    return computation, tensors, module


@pytest.mark.parametrize("name", NAMES)
def test_outputs_and_gradients(name, tmp_path, monkeypatch):
    path = tmp_path / f"{name}.pt2"
    program = families.exported(name, path=path)
    computation, tensors, module = compare(path, program, name, False, 1e-5, monkeypatch)
    x = families.inputs(name, 5)
    found = jit(computation.run)(tensors, (jnp.asarray(x.numpy()),))
    wanted = module(x)
    for got, y in zip(
        found.outputs, wanted if isinstance(wanted, tuple) else (wanted,), strict=True
    ):
        assert distance(got, y.detach()) < 1e-5


@pytest.mark.parametrize("name", BUFFERS)
def test_training_and_its_buffers(name, tmp_path, monkeypatch):
    path = tmp_path / f"{name}.pt2"
    program = families.exported(name, train=True, path=path)
    compare(path, program, name, True, 1e-5, monkeypatch)


@pytest.mark.parametrize("name", IN_PLACE)
def test_changes_in_place(name, tmp_path, monkeypatch):
    path = tmp_path / f"{name}.pt2"
    program = families.exported(name, train=True, decompose=False, path=path)
    assert any(node.operator.endswith("_.default") for node in read_pt2(path).graph.nodes) or (
        name == "residual"
    )
    compare(path, program, name, True, 1e-5, monkeypatch)
