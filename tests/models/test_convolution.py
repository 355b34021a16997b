"""Convolutions against loops, against plain `lax` gradients, and against PyTorch.

Tolerances: 1e-5 of the largest expected magnitude; differences of the loops, 1e-5 of the norms.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from msae_jax.errors import InputError
from msae_jax.models import convolution, patches
from msae_jax.models.convolution import conv, conv_transpose

# size, kernel, inputs, outputs, stride, padding, dilation
CONVS = {
    "first layer": ((9, 8), (3, 3), 1, 6, 2, 1, 1),
    "stride 2, odd": ((7, 9), (3, 3), 5, 6, 2, 1, 1),
    "stride 3, even kernel": ((8, 11), (4, 2), 3, 4, 3, 2, 1),
    "one output": ((9, 9), (3, 3), 8, 1, 1, 1, 1),
    "one output, dilated": ((9, 7), (3, 2), 8, 1, 1, 1, 2),
    "pointwise": ((4, 5), (1, 1), 3, 4, 1, 0, 1),
    "pointwise, padded": ((4, 5), (1, 1), 4, 2, 1, 2, 1),
    "strided and dilated": ((9, 8), (3, 2), 2, 5, 2, 2, 3),
    "fourier": ((7, 7), (3, 3), 4, 6, 1, 1, 1),
    "fourier, oblong": ((6, 9), (5, 3), 3, 2, 1, 2, 1),
    "fourier, unpadded": ((8, 5), (4, 4), 5, 1, 1, 0, 1),
    "fourier, mostly padding": ((2, 1), (3, 2), 2, 3, 1, 4, 1),
    "fourier, signal": ((9,), (3,), 2, 3, 1, 1, 1),
    "wide": ((7, 7), (3, 3), 4, 6, 1, 1, 1),
    "direct": ((6, 5), (3, 3), 16, 17, 1, 1, 1),
    "direct, stride 2": ((7, 6), (3, 2), 18, 16, 2, 1, 1),
    "direct, signal": ((9,), (3,), 16, 20, 1, 2, 1),
    "direct, narrower": ((6, 5), (3, 3), 33, 16, 1, 1, 1),
    "narrower": ((6, 5), (3, 3), 34, 17, 1, 1, 1),
    "signal": ((16,), (3,), 1, 4, 1, 1, 1),
    "signal, dilated": ((16,), (7,), 4, 8, 1, 6, 2),
    "signal, stride 2": ((17,), (5,), 3, 2, 2, 2, 1),
}
# size, kernel, inputs, outputs, stride, padding
TRANSPOSED = {
    "k4 s2 p1": ((5, 7), (4, 4), 6, 4, 2, 1),
    "k4 s2 p1 to one": ((4, 4), (4, 4), 8, 1, 2, 1),
    "k3 s2 p0": ((4, 3), (3, 3), 2, 5, 2, 0),
    "k2 s3 p0, with gaps": ((3, 4), (2, 2), 3, 2, 3, 0),
    "k5 s2 p3": ((5, 4), (5, 5), 3, 2, 2, 3),
    "k3 s1 p1": ((5, 6), (3, 3), 4, 4, 1, 1),
    "k1 s1 p1": ((5, 6), (1, 1), 4, 4, 1, 1),
    "fourier": ((7, 7), (3, 3), 5, 4, 1, 1),
    "direct k4 s2 p1": ((4, 3), (4, 4), 20, 16, 2, 1),
    "direct k3 s1 p1": ((4, 5), (3, 3), 16, 16, 1, 1),
    "signal k4 s2 p1": ((9,), (4,), 3, 5, 2, 1),
}
CASES = {conv: CONVS, conv_transpose: TRANSPOSED}


def every(*batches):
    """All cases in batches of 3, which share a program; other batches are slow."""
    return pytest.mark.parametrize(
        ("op", "name", "batch"),
        [
            pytest.param(
                op,
                name,
                batch,
                id=f"{op.__name__}, {name}, batch {batch}",
                marks=() if batch == 3 else pytest.mark.slow,
            )
            for op, cases in CASES.items()
            for name in cases
            for batch in batches
        ],
    )


@pytest.fixture(autouse=True)
def _fourier_where_a_case_says_so(request, monkeypatch):
    """The rule is about speed, and would leave images as small as these to the other method."""
    if ", fourier" in request.node.name or "[fourier" in request.node.name:
        monkeypatch.setattr(convolution, "_fourier_pays", lambda *_: True)


@pytest.fixture(autouse=True)
def _quick(quick_to_compile):
    """Each case is several programs of its own, and none is timed."""


def options(op, case):
    return dict(zip(("stride", "padding", "dilation"), case[4:], strict=op is conv))


def arrays(case, batch, *, leading=()):
    size, kernel, inputs, outputs, *_ = case
    rng = np.random.default_rng(sum(size) + batch)
    x = rng.standard_normal((*leading, batch, *size, inputs)).astype(np.float32)
    w = rng.standard_normal((*leading, *kernel, inputs, outputs)).astype(np.float32)
    return x, w


def cotangent(op, case, x, w):
    shape = jax.eval_shape(lambda x, w: op(x, w, **options(op, case)), x, w).shape
    return np.random.default_rng(7).standard_normal(shape).astype(np.float32)


def looped(op, x, w, stride, padding, dilation=1):
    """The defining sums, one product of a tap and a position at a time, in float64."""
    x, w = x.astype(np.float64), w.astype(np.float64)
    size, kernel = x.shape[1:-1], w.shape[:-2]
    transposed = op is conv_transpose
    result = [
        (s - 1) * stride - 2 * padding + k
        if transposed
        else (s + 2 * padding - dilation * (k - 1) - 1) // stride + 1
        for s, k in zip(size, kernel, strict=True)
    ]
    y = np.zeros((x.shape[0], *result, w.shape[-1]))
    for i in np.ndindex(*(size if transposed else result)):
        for a in np.ndindex(*kernel):
            j = tuple(stride * p + dilation * q - padding for p, q in zip(i, a, strict=True))
            within = result if transposed else size
            if all(0 <= p < s for p, s in zip(j, within, strict=True)):
                source, target = (i, j) if transposed else (j, i)
                y[(slice(None), *target)] += x[(slice(None), *source)] @ w[a]
    return y


def plain(op, x, w, stride, padding, dilation=1):
    """The same as one `lax.conv_general_dilated`, for its ordinary gradients."""
    n = x.ndim - 2
    if op is conv_transpose:
        w = jnp.flip(w, tuple(range(n)))
    pads = [k - 1 - padding if op is conv_transpose else padding for k in w.shape[:n]]
    return lax.conv_general_dilated(
        x,
        w,
        (1 if op is conv_transpose else stride,) * n,
        [(p, p) for p in pads],
        lhs_dilation=(stride if op is conv_transpose else 1,) * n,
        rhs_dilation=(dilation,) * n,
        dimension_numbers=("NHWC", "HWIO", "NHWC") if n == 2 else ("NHC", "HIO", "NHC"),
        precision=lax.Precision.HIGHEST,
    )


def gradients(function, x, w, g):
    return jax.jit(lambda x, w, g: jax.vjp(function, x, w)[1](g))(x, w, g)


@functools.cache
def computed(op, name, batch):
    """Returns the arrays of a case; ours of them: alone, beside its gradients, the gradients."""
    case = CASES[op][name]
    x, w = arrays(case, batch)
    g = cotangent(op, case, x, w)

    def ours(x, w):
        return op(x, w, **options(op, case))

    @jax.jit
    def values_and_gradients(x, w, g):
        y, pullback = jax.vjp(ours, x, w)
        return ours(x, w), y, pullback(g)

    with jax.numpy_rank_promotion("raise"):
        return (x, w, g), *values_and_gradients(x, w, g)


def mapped(function):
    return lambda *arguments: lax.map(lambda seed: function(*seed), arguments)


def assert_close(got, expected):
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * np.abs(b).max())


@every(1, 3)
def test_value_is_the_defining_sum(op, name, batch):
    (x, w, _), *values, _ = computed(op, name, batch)
    expected = looped(op, x, w, **options(op, CASES[op][name]))
    for y in values:
        assert y.dtype == jnp.float32
        assert_close(y, expected)


@every(1, 3)
def test_gradients_are_those_of_the_plain_operation(op, name, batch):
    (x, w, g), *_, got = computed(op, name, batch)
    how = options(op, CASES[op][name])
    assert_close(got, gradients(lambda x, w: plain(op, x, w, **how), x, w, g))


@every(3)
def test_gradients_are_finite_differences_of_the_loops(op, name, batch):
    case = CASES[op][name]
    (x, w, g), *_, (dx, dw) = computed(op, name, batch)
    ux, uw = arrays(case, batch + 10)
    ux = ux[:batch]
    # Both operations are linear in each argument, so a difference over any step is exact.
    for moved, expected in (((ux, w), np.vdot(dx, ux)), ((x, uw), np.vdot(dw, uw))):
        difference = np.vdot(g, looped(op, *moved, **options(op, case)))
        scale = np.linalg.norm(g) * np.linalg.norm(looped(op, *moved, **options(op, case)))
        assert difference == pytest.approx(expected, rel=0, abs=1e-5 * scale)


@every(3)
def test_pytorch_agrees(op, name, batch):
    torch = pytest.importorskip("torch")
    case = CASES[op][name]
    (x, w, g), _, *got = computed(op, name, batch)
    n = x.ndim - 2
    transposed = "_transpose" if op is conv_transpose else ""
    reference = getattr(torch.nn.functional, f"conv{transposed}{n}d")
    to_torch = (n, n + 1, *range(n)) if op is conv_transpose else (n + 1, n, *range(n))
    tx = torch.tensor(np.moveaxis(x, -1, 1).copy(), requires_grad=True)
    tw = torch.tensor(w.transpose(to_torch).copy(), requires_grad=True)
    ty = reference(tx, tw, **options(op, case))
    ty.backward(torch.tensor(np.moveaxis(g, -1, 1).copy()))
    expected = (
        np.moveaxis(ty.detach().numpy(), 1, -1),
        np.moveaxis(tx.grad.numpy(), 1, -1),
        tw.grad.numpy().transpose(np.argsort(to_torch)),
    )
    assert_close(got, expected)


SOME = [
    pytest.param(op, cases[name], id=f"{op.__name__}, {name}")
    for op, cases, names in (
        (conv, CONVS, ("stride 2, odd", "one output", "fourier", "signal, dilated", "direct")),
        (conv_transpose, TRANSPOSED, ("k4 s2 p1", "fourier")),
    )
    for name in names
]


@pytest.mark.parametrize(("op", "case"), SOME)
@pytest.mark.parametrize("over_seeds", [jax.vmap, mapped])
def test_gradients_over_seeds(op, case, over_seeds):
    x, w = arrays(case, 2, leading=(3,))
    g = np.stack([cotangent(op, case, x[0], w[0])] * 3)

    def grads(function):
        def of(x, w, g):
            return jax.vjp(lambda x, w: function(x, w, **options(op, case)), x, w)[1](g)

        return of

    got = jax.jit(over_seeds(grads(op)))(x, w, g)
    expected = jax.jit(grads(functools.partial(plain, op)))
    for seed in range(3):
        assert_close(jax.tree.map(lambda a, s=seed: a[s], got), expected(x[seed], w[seed], g[seed]))


@pytest.mark.parametrize(("op", "case"), SOME)
def test_gradient_descent_inside_a_scan(op, case):
    x, w = arrays(case, 2)
    g = cotangent(op, case, x, w)

    def descend(function):
        def loss(x, w):
            return jnp.mean((function(x, w, **options(op, case)) - g) ** 2)

        def step(carry, _):
            x, w = carry
            value, (dx, dw) = jax.value_and_grad(loss, (0, 1))(x, w)
            return (x - 0.01 * dx, w - 0.01 * dw), value

        return jax.jit(lambda x, w: lax.scan(step, (x, w), length=4))(x, w)

    assert_close(descend(op), descend(lambda x, w, **o: plain(op, x, w, **o)))


@pytest.mark.parametrize("case", [CONVS["direct"], CONVS["stride 2, odd"]])
def test_derivatives_of_gradients(case):
    x, w = arrays(case, 2)

    def of_gradients(function):
        def loss(x, w):
            return jnp.sum(jnp.sin(function(x, w, **options(conv, case))))

        def squares(x, w):
            return sum(jnp.sum(g**2) for g in jax.grad(loss, (0, 1))(x, w))

        return jax.jit(jax.grad(squares, (0, 1)))(x, w)

    assert_close(of_gradients(conv), of_gradients(lambda x, w, **o: plain(conv, x, w, **o)))


@pytest.mark.parametrize(("op", "case"), SOME)
def test_each_platform_compiles_its_own_branch_only(op, case):
    x, w = arrays(case, 2)
    g = cotangent(op, case, x, w)

    def grads(x, w, g):
        y, pullback = jax.vjp(lambda x, w: op(x, w, **options(op, case)), x, w)
        return y, pullback(g)

    def lowered(platform):
        return jax.jit(grads).trace(x, w, g).lower(lowering_platforms=(platform,)).as_text()

    direct = case is CONVS["direct"]
    assert lowered("cpu").count("stablehlo.convolution") == (3 if direct else 0)
    assert (lowered("cpu").count("stablehlo.dot_general") > 0) is not direct
    plain_form = lowered("cpu").count("[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]")
    assert plain_form == lowered("cpu").count("stablehlo.convolution")  # others are slow in loops
    for accelerator in ("cuda", "tpu"):
        assert lowered(accelerator).count("stablehlo.convolution") == 3
        assert lowered(accelerator).count("stablehlo.dot_general") == 0
    if jax.default_backend() == "cpu":
        assert " conditional(" not in jax.jit(grads).lower(x, w, g).compile().as_text()


@pytest.mark.parametrize(("name", "kernels"), [("direct, narrower", 1), ("narrower", 0)])
def test_which_narrowing_convolutions_are_xlas_own(name, kernels):
    x, w = arrays(CONVS[name], 2)
    own = options(conv, CONVS[name])
    lowered = jax.jit(lambda x, w: conv(x, w, **own)).trace(x, w).lower(lowering_platforms=("cpu",))
    assert lowered.as_text().count("stablehlo.convolution") == kernels


@pytest.mark.parametrize("op", [conv, conv_transpose])
@pytest.mark.parametrize(
    ("x", "kernel"),
    [((2, 5, 5, 3), (3, 3, 4, 2)), ((2, 5, 3), (3, 3, 3, 2)), ((5, 3), (3, 2))],
    ids=["channels", "axes", "no axes"],
)
def test_shapes_that_do_not_fit_are_refused(op, x, kernel):
    with pytest.raises(InputError, match=r"cannot convolve .* expected \[B, L, I\]"):
        op(jnp.zeros(x), jnp.zeros(kernel))


@pytest.mark.parametrize(
    ("x", "kernel", "geometry", "pays"),
    [
        ((128, 7, 7, 64), (3, 3, 64, 128), patches.Geometry(1, (1, 1), 1), True),
        ((128, 7, 7, 128), (3, 3, 128, 64), patches.Geometry(1, (1, 1), 1), True),
        ((1, 7, 7, 64), (3, 3, 64, 128), patches.Geometry(1, (1, 1), 1), False),
        ((128, 28, 28, 16), (3, 3, 16, 1), patches.Geometry(1, (1, 1), 1), False),
        ((128, 14, 14, 32), (3, 3, 32, 64), patches.Geometry(2, (1, 1), 1), False),
        ((64, 128, 16), (7, 16, 32), patches.Geometry(1, (6,), 2), False),
    ],
)
def test_fourier_space_is_for_small_images_and_many_channels(x, kernel, geometry, pays):
    assert convolution._fourier_pays(np.zeros(x), np.zeros(kernel), geometry) is pays


@pytest.mark.parametrize("operation", [conv, conv_transpose])
def test_patches_made_in_blocks_give_the_same(operation, monkeypatch):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.standard_normal((24, 9, 9, 3)), jnp.float32)
    kernel = jnp.asarray(rng.standard_normal((3, 3, 3, 4)), jnp.float32)
    counts = []
    real = patches._blocks
    monkeypatch.setattr(patches, "_blocks", lambda *a: counts.append(real(*a)) or counts[-1])

    def computed() -> list[np.ndarray]:
        def loss(x: jax.Array, kernel: jax.Array) -> jax.Array:
            return (operation(x, kernel, stride=2, padding=1) ** 2).sum()

        counts.clear()
        gradients = jax.jit(jax.grad(loss, (0, 1)))(x, kernel)
        return [np.asarray(g) / np.abs(g).max() for g in gradients]

    whole = computed()
    assert set(counts) == {1}
    monkeypatch.setattr(patches, "WHOLE", 0)
    monkeypatch.setattr(patches, "BLOCK", 5 * 9 * 9 * 9 * 4 * 4)  # five samples of the larger ones
    in_blocks = computed()
    assert min(counts) > 1
    for one, other in zip(whole, in_blocks, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize(("batch", "blocks"), [(24, 6), (13, 1), (4, 1)])
def test_a_batch_is_divided_where_its_size_can_be(batch, blocks, monkeypatch):
    monkeypatch.setattr(patches, "WHOLE", 4 * 5 * 5 * 27 * 4)
    monkeypatch.setattr(patches, "BLOCK", 5 * 5 * 5 * 27 * 4)  # five samples
    geometry = patches.Geometry(2, (1, 1), 1)
    x = np.zeros((batch, 9, 9, 3), np.float32)
    assert patches._blocks(x, (3, 3), geometry) == blocks
