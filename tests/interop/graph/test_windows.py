"""Maxima of windows and convolutions of single channels: values and gradients beside PyTorch's."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from msae_jax.interop.graph.table import find

torch = pytest.importorskip("torch", reason="PyTorch is not installed (the torch extra)")
F = torch.nn.functional

pytestmark = pytest.mark.usefixtures("all_quick_to_compile")


def with_gradients(ours, theirs, *arrays):
    """Compares a function's value, and the gradients of its product with fixed numbers."""
    tensors = [torch.from_numpy(a).requires_grad_() for a in arrays]
    wanted = theirs(*tensors)
    g = np.random.default_rng(1).normal(size=wanted.shape).astype(np.float32)
    wanted.backward(torch.from_numpy(g))

    @jax.jit
    def value_and_gradients(g, *arrays):
        found, pullback = jax.vjp(ours, *arrays)
        return found, pullback(g)

    found, gradients = value_and_gradients(g, *arrays)
    np.testing.assert_allclose(found, wanted.detach().numpy(), rtol=1e-5, atol=1e-6)
    for ours_grad, tensor in zip(gradients, tensors, strict=True):
        np.testing.assert_allclose(ours_grad, tensor.grad.numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "window",
    [
        {"kernel_size": 2},
        {"kernel_size": [3, 2], "stride": [2, 1], "padding": [1, 0]},
        {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True},
        {"kernel_size": 2, "stride": 1, "dilation": 2},
        {"kernel_size": 6, "stride": 3},  # as many positions as XLA's own operation is left
    ],
)
def test_a_gradient_goes_to_the_first_of_equal_maxima(window):
    x = np.random.default_rng(0).integers(0, 3, (2, 3, 8, 7)).astype(np.float32)  # mostly ties
    function = find("aten.max_pool2d.default")[0]
    with_gradients(lambda x: function(x, **window), lambda x: F.max_pool2d(x, **window), x)


def test_a_maximum_of_what_is_no_number_is_none():
    x = np.array([[[[1, np.nan], [2, 0]]]], np.float32)
    assert np.isnan(find("aten.max_pool2d.default")[0](jnp.asarray(x), 2)).all()
    assert torch.isnan(F.max_pool2d(torch.from_numpy(x), 2)).all()


@pytest.mark.parametrize(
    ("n", "multiplier", "options"),
    [
        (1, 1, {"padding": 1}),
        (2, 1, {"padding": 1}),
        (2, 2, {"stride": (2, 1), "padding": (0, 2), "dilation": (1, 2)}),
        (3, 2, {"stride": 2}),
    ],
)
def test_channels_by_themselves(n, multiplier, options):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 4, *(7, 6, 5)[:n])).astype(np.float32)
    weight = rng.normal(size=(4 * multiplier, 1, *(3, 2, 2)[:n])).astype(np.float32)
    function = find(f"aten.conv{n}d.default")[0]
    theirs = getattr(F, f"conv{n}d")
    with_gradients(
        lambda x, w: function(x, w, **options, groups=4),
        lambda x, w: theirs(x, w, **options, groups=4),
        x,
        weight,
    )
