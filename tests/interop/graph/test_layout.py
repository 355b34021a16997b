"""The channels of convolutions lie last from layer to layer: permuted once there and once back."""

from __future__ import annotations

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from msae_jax.interop import load_pt2
from msae_jax.interop.graph.layout import Last, call, second
from msae_jax.interop.graph.table import find

torch = pytest.importorskip("torch", reason="PyTorch is not installed (the torch extra)")
nn = torch.nn

pytestmark = pytest.mark.usefixtures("all_quick_to_compile")

BATCH = 7  # no other axis is as long


def permutations(tmp_path, module, *shape):
    """Returns how often the channels of a batch are moved."""
    torch.manual_seed(0)
    path, x = tmp_path / "m.pt2", torch.rand(BATCH, *shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(module.eval(), (x,)).run_decompositions({})
        torch.export.save(program, path)
    opened = load_pt2(path)
    traced = jax.make_jaxpr(lambda v, x: opened.module.apply(v, x))(
        opened.variables, jnp.asarray(x.numpy())
    )
    with torch.no_grad():
        wanted = module(x).numpy()
    found = jax.jit(opened.module.apply)(opened.variables, jnp.asarray(x.numpy()))
    found = found[0] if type(found) is tuple else found.recon
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    return count(traced.jaxpr)


def count(jaxpr):
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "transpose":
            moved = equation.params["permutation"] in ((0, 2, 3, 1), (0, 3, 1, 2))
            total += moved and BATCH in equation.invars[0].aval.shape
        for inner in jax.tree.leaves(
            list(equation.params.values()), is_leaf=lambda p: hasattr(p, "eqns")
        ):
            inner = getattr(inner, "jaxpr", inner)
            total += count(inner) if hasattr(inner, "eqns") else 0
    return total


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 3, 3, 1, 1), nn.Conv2d(6, 3, 3, 1, 1)
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x):
        h = self.norm(torch.relu(self.one(x)))
        return self.two(torch.cat([h, x + 2 * h], 1)) + h


def layers(depth):
    return nn.Sequential(
        *[
            layer
            for _ in range(depth)
            for layer in (nn.Conv2d(3, 3, 3, 1, 1), nn.BatchNorm2d(3), nn.LeakyReLU(0.1))
        ]
    )


def test_more_layers_permute_no_more(tmp_path):
    one, four = (permutations(tmp_path, layers(depth), 3, 6, 6) for depth in (1, 4))
    assert four == one > 0


def test_sums_and_joins_keep_the_channels_last(tmp_path):
    blocks = (nn.Sequential(*[Residual() for _ in range(n)]) for n in (1, 3))
    one, three = (permutations(tmp_path, each, 3, 6, 6) for each in blocks)
    assert three <= one


def test_pools_scales_and_norms_of_groups_keep_the_channels_last(tmp_path):
    middle = (
        nn.GroupNorm(2, 4), nn.SiLU(), nn.MaxPool2d(2), nn.Upsample(scale_factor=2),
        nn.Upsample(scale_factor=2, mode="bilinear"), nn.AvgPool2d(2), nn.ReflectionPad2d(1),
        nn.AdaptiveAvgPool2d(3), nn.AdaptiveMaxPool2d(3),
    )  # fmt: skip
    first, last = nn.Conv2d(3, 4, 3, 1, 1), nn.Conv2d(4, 3, 1)
    plain, more = nn.Sequential(first, last), nn.Sequential(first, *middle, last)
    assert 0 < permutations(tmp_path, more, 3, 6, 6) <= permutations(tmp_path, plain, 3, 6, 6)


@pytest.mark.parametrize("operator", ["group_norm", "native_group_norm"])
def test_norms_of_groups_are_the_same_in_both_layouts(operator):
    rng = np.random.default_rng(0)
    x, weight, bias = (rng.normal(size=s).astype(np.float32) for s in ((2, 6, 3, 5), (6,), (6,)))
    tensors = [torch.from_numpy(array) for array in (x, weight, bias)]
    wanted = nn.functional.group_norm(tensors[0], 3, *tensors[1:]).numpy()
    function = find(f"aten.{operator}.default")[0]
    own = {"num_groups": 3} if operator == "group_norm" else {"N": 2, "C": 6, "HxW": 15, "group": 3}
    rest = {"weight": jnp.asarray(weight), "bias": jnp.asarray(bias), "eps": 1e-5, **own}
    last = Last(jnp.moveaxis(jnp.asarray(x), 1, -1))
    for given in (jnp.asarray(x), last):
        found = call(f"aten.{operator}.default", function, {"input": given, **rest})
        first = found[0] if isinstance(found, tuple) else found
        assert isinstance(first, Last) == (given is last)
        np.testing.assert_allclose(second(first), wanted, rtol=1e-5, atol=1e-6)
