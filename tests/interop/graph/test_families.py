"""Programs of many families compute and learn in JAX as they do in PyTorch."""

from __future__ import annotations

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from msae_jax.errors import InputError
from msae_jax.interop.files.pt2 import read_pt2
from msae_jax.interop.graph.computation import Computation

torch = pytest.importorskip("torch", reason="PyTorch is not installed (the torch extra)")

from tests.interop.graph import families  # noqa: E402

QUICK = ("dense", "conv-norm", "lstm", "transformer")
"""One of each kind of layers; the sweep over all families is slow."""


def swept(*names, quick=QUICK):
    marked = [n if n in quick else pytest.param(n, marks=pytest.mark.slow) for n in names]
    return pytest.mark.parametrize("name", marked)


jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
"""Compiling is most of what these tests do, and the last bits do not matter to them."""


def opened(path: Path):
    program = read_pt2(path)
    return Computation(program.graph, path.name), program.state | program.constants, program


def distance(got, wanted) -> float:
    """Returns the L2 distance, relative to the norm of what is wanted."""
    got, wanted = np.asarray(got), np.asarray(wanted)
    assert got.shape == wanted.shape
    apart = np.linalg.norm((got.astype(np.float64) - wanted.astype(np.float64)).ravel())
    return float(apart / (np.linalg.norm(wanted.astype(np.float64).ravel()) or 1.0))


def of_torch(module, x, monkeypatch):
    """Returns outputs, and gradients of a weighted sum of them, in PyTorch.

    What would be drawn from a normal distribution is at its mean, as it is here without a key.
    """
    monkeypatch.setattr(torch, "randn_like", torch.zeros_like)
    monkeypatch.setattr(torch, "randn", torch.zeros)
    outputs = module(x)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    sum(weighted(y) for y in outputs if y.is_floating_point()).backward()
    parameters = module.named_parameters()
    return outputs, {name: p.grad for name, p in parameters if p.grad is not None}


def weighted(y):
    """Returns a sum in which each value counts otherwise."""
    weights = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).reshape(y.shape)
    return (y * weights).sum() + (y * y).sum()


def weighted_here(y):
    weights = jnp.linspace(-1, 1, y.size, dtype=y.dtype).reshape(y.shape)
    return (y * weights).sum() + (y * y).sum()


def gradients(computation, tensors, read, x, train):
    """Returns outputs, new buffers and gradients, in JAX."""
    tied = read.tied
    learned = {name: jnp.asarray(tensors[name]) for name in read.parameters if name not in tied}

    @jit
    def both(learned, x):
        def loss(learned):
            shared = {name: learned[first] for name, first in tied.items()}
            found = computation.run(tensors | learned | shared, (x,), train=train)
            parts = [
                weighted_here(y) for y in found.outputs if jnp.issubdtype(y.dtype, jnp.floating)
            ]
            return sum(parts), found

        return jax.value_and_grad(loss, has_aux=True)(learned)

    (_, found), grads = both(learned, x)
    return found, grads


def compare(folder, name, monkeypatch, **settings):
    """Compares outputs, gradients and new buffers in float64, in which both are exact.

    But that PyTorch's gradients of `hardsigmoid` and `hardswish`, in the dense one, divide by a 6
    whose reciprocal is in float32.
    """
    path = folder / f"{name}.pt2"
    module = families.exported(name, path=path, dtype=torch.float64, **settings)
    x = families.inputs(name, 3, torch.float64)
    with jax.enable_x64(True):
        computation, tensors, read = opened(path)
        train = settings.get("train", False)
        found, grads = gradients(computation, tensors, read, jnp.asarray(x.numpy()), train)
    wanted, wanted_grads = of_torch(module, x, monkeypatch)
    for got, y in zip(found.outputs, wanted, strict=True):
        assert distance(got, y.detach()) < 1e-12
    whole = sum(float(grad.norm()) ** 2 for grad in wanted_grads.values()) ** 0.5
    for key, grad in wanted_grads.items():
        size = float(grad.norm())
        if size < 1e-10 * whole:  # of a bias before a norm, that is rounding alone
            assert np.linalg.norm(grads[key]) < 1e-10 * whole
        else:
            assert distance(grads[key], grad) < (1e-7 if name == "dense" else 1e-11), key
    buffers = dict(module.named_buffers())
    for key, value in found.buffers.items():
        assert distance(value, buffers[key]) < 1e-12, key
    return read, found


@swept(*families.FAMILIES, quick=("dense", "conv-norm"))  # gradients compile for long
def test_outputs_and_gradients(name, tmp_path, monkeypatch):
    read, found = compare(tmp_path, name, monkeypatch)
    assert not found.buffers
    assert read.graph.nodes


@swept(*families.FAMILIES)
def test_float32_at_another_batch_size(name, tmp_path, monkeypatch):
    path = tmp_path / f"{name}.pt2"
    module = families.exported(name, path=path, decompose=False)
    computation, tensors, _ = opened(path)
    x = families.inputs(name, 5)
    found = jit(computation.run)(tensors, (jnp.asarray(x.numpy()),))
    wanted, _ = of_torch(module, x, monkeypatch)
    for got, y in zip(found.outputs, wanted, strict=True):
        assert distance(got, y.detach()) < 1e-5
        assert got.dtype == str(y.dtype).removeprefix("torch.").replace("int64", "int32")


@swept("conv-norm", "wave", "residual")
def test_training_and_its_buffers(name, tmp_path, monkeypatch):
    _, found = compare(tmp_path, name, monkeypatch, train=True)
    assert any("running_var" in key for key in found.buffers)


@swept("conv-norm", "unet", "residual")
def test_changes_in_place(name, tmp_path, monkeypatch):
    read, found = compare(tmp_path, name, monkeypatch, train=True, decompose=False)
    operators = {node.operator for node in read.graph.nodes}
    assert operators & {"aten.relu_.default", "aten.silu_.default", "aten.add_.Tensor"}
    assert bool(found.buffers) == (name != "unet")


def test_a_training_graph_evaluates_by_the_running_statistics(tmp_path):
    path = tmp_path / "conv-norm.pt2"
    module = families.exported("conv-norm", path=path, train=True).eval()
    computation, tensors, _ = opened(path)
    x = families.inputs("conv-norm", 4)
    found = jit(computation.run)(tensors, (jnp.asarray(x.numpy()),))
    assert found.buffers == {}
    for got, y in zip(found.outputs, module(x), strict=True):
        assert distance(got, y.detach()) < 1e-5


@pytest.mark.parametrize(
    ("name", "decompose"),
    [
        pytest.param("lstm", True, marks=pytest.mark.slow),
        ("transformer", False),
        pytest.param("conv-vae", True, marks=pytest.mark.slow),
    ],
)
def test_dropout_draws_with_the_key_and_is_off_in_evaluation(name, decompose, tmp_path):
    path = tmp_path / f"{name}.pt2"
    module = families.exported(name, path=path, train=True, decompose=decompose).eval()
    computation, tensors, _ = opened(path)
    x = families.inputs(name, 3)

    @jit
    def trained(key):
        return computation.run(tensors, (jnp.asarray(x.numpy()),), key=key, train=True).outputs[-1]

    one, same, other = (trained(jax.random.key(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert not np.allclose(one, other)
    with pytest.raises(InputError, match="key"):
        computation.run(tensors, (jnp.asarray(x.numpy()),), train=True)
    with torch.no_grad():
        wanted = module(x)
    got = jit(computation.run)(tensors, (jnp.asarray(x.numpy()),)).outputs[-1]
    assert distance(got, wanted[-1] if isinstance(wanted, tuple) else wanted) < 1e-5
