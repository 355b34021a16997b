"""Single operators give what PyTorch's give, on arrays; whole programs are in `test_families`."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from msae_jax.errors import InputError
from msae_jax.interop.files.pt2_values import Graph, Input, Meta, Node, Ref, Result
from msae_jax.interop.graph.computation import Computation
from msae_jax.interop.graph.context import Context
from msae_jax.interop.graph.table import OPERATORS, parameters

torch = pytest.importorskip("torch", reason="PyTorch is not installed (the torch extra)")

RNG = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def places(high: int, *shape: int) -> np.ndarray:
    return RNG.integers(0, high, shape)


X, Y = normal(3, 4), normal(3, 4)
LOG_P = np.log(np.full((3, 4), 0.25, np.float32))
P = np.abs(X) / np.abs(X).sum(1, keepdims=True)
P[0, 0] = 0  # at which t log t is 0
SQUARE = normal(2, 3, 3)
IMAGE, VOLUME = normal(2, 3, 5, 6), normal(2, 2, 3, 4, 5)
GRID, GRID_3D = 1.6 * normal(2, 4, 3, 2), 1.6 * normal(2, 2, 4, 3, 3)
CLASSES = np.array([1, -100, 3])
WEIGHT = np.array([0.5, 1.0, 2.0, 3.0], np.float32)
PICKED = np.array([2, 0, 2])

CASES: list[tuple[str, tuple]] = [
    ("kl_div.default", (LOG_P, P)),
    ("kl_div.default", (X, Y, 2, True)),
    *(("nll_loss_nd.default", (X, CLASSES, WEIGHT, r)) for r in (0, 1, 2)),
    ("nll_loss_nd.default", (IMAGE, places(3, 2, 5, 6))),
    ("nll_loss_forward.default", (X, CLASSES, None, 1, -100)),
    *(("cross_entropy_loss.default", (X, CLASSES, WEIGHT, r, -100, 0.1)) for r in (0, 1, 2)),
    ("cross_entropy_loss.default", (X, np.array([1, 0, 3]), None, 1, 3, 0.2)),
    ("cross_entropy_loss.default", (X, P, WEIGHT, 1, -100, 0.1)),
    ("cross_entropy_loss.default", (IMAGE, places(3, 2, 5, 6), normal(3) ** 2)),
    ("cross_entropy_loss.default", (normal(4), np.array(2))),
    ("cosine_similarity.default", (X, np.zeros_like(X), -1)),
    ("cosine_similarity.default", (X, Y[:1])),
    ("pairwise_distance.default", (X, Y, 3.0, 1e-2, True)),
    *(("cdist.default", (SQUARE, normal(2, 5, 3), p)) for p in (2.0, 1.0, float("inf"))),
    *(
        ("grid_sampler.default", (IMAGE, GRID, mode, padding, corners))
        for mode, padding, corners in itertools.product((0, 1), (0, 1, 2), (False, True))
    ),
    *(("grid_sampler.default", (VOLUME, GRID_3D, 0, padding, False)) for padding in (0, 1, 2)),
    *(
        ("affine_grid_generator.default", (normal(2, n, n + 1), size, corners))
        for n, size in ((2, [2, 3, 4, 1]), (3, [2, 1, 2, 3, 4]))
        for corners in (False, True)
    ),
    ("im2col.default", (IMAGE, [2, 3], [2, 1], [1, 0], [1, 2])),
    ("im2col.default", (IMAGE[0], [2, 2], [1, 1], [0, 0], [2, 2])),
    ("col2im.default", (normal(2, 18, 10), [5, 6], [2, 3], [2, 1], [1, 0], [1, 2])),
    ("adaptive_max_pool2d.default", (IMAGE, [3, 4])),
    ("alpha_dropout.default", (X, 0.3, False)),
    ("rrelu.default", (X,)),
    ("rrelu_with_noise_functional.default", (X, Y, 0.1, 0.4)),
    ("_trilinear.default", (X, normal(2, 4, 4), Y, [1, 3], [0], [1, 2], [2, 3])),
    ("diag.default", (X[0], -1)),
    ("diag.default", (X, 1)),
    ("diag_embed.default", (X, -1)),
    ("diag_embed.default", (normal(2, 3, 2), 1, 0, 2)),
    ("trace.default", (X,)),
    ("tensordot.default", (X, Y, [1, 0], [1, 0])),
    ("vdot.default", (X[0], Y[0])),
    ("linalg_inv_ex.default", (SQUARE,)),
    ("inverse.default", (SQUARE,)),
    ("det.default", (SQUARE,)),
    ("logdet.default", (SQUARE,)),
    ("linalg_slogdet.default", (SQUARE,)),
    ("std_mean.correction", (X, [1])),
    ("std_mean.dim", (X, [0], False, True)),
    ("var_mean.dim", (X, [0, 1], False)),
    ("aminmax.default", (X,)),
    ("median.dim", (X, 1)),
    ("median.dim", (np.array([[1, np.nan, 0], [2, 0, 1]], np.float32), -1, True)),
    ("sort.stable", (X, True, 0, True)),
    ("logaddexp.default", (X, Y)),
    ("xlogy.Tensor", (P, np.abs(Y))),
    ("logit.default", (P, 0.01)),
    ("frac.default", (3 * X,)),
    ("type_as.default", (3 * X, CLASSES)),
    ("divide.Tensor", (X, Y)),
    ("less_equal.Scalar", (X, 0.5)),
    ("clamp_min.Tensor", (X, Y)),
    ("tensor_split.sections", (normal(2, 7), 3, 1)),
    ("tensor_split.indices", (normal(2, 7), [2, 2, 5], -1)),
    ("rot90.default", (IMAGE, 3, [2, 3])),
    ("diff.default", (X, 2, 1, X[:, :1])),
    ("fliplr.default", (X,)),
    ("index_add.default", (X, 1, np.array([0, 0, 3, 1]), Y, 0.5)),
    ("index_fill.int_Scalar", (X, 0, PICKED, 2.0)),
    ("take_along_dim.default", (X, places(4, 3, 2), 1)),
    *(
        ("scatter_reduce.two", (X, 1, places(4, 3, 3), Y, reduce))
        for reduce in ("sum", "prod", "amax", "amin")
    ),
    ("eye.m", (2, 3)),
    ("upsample_nearest3d.default", (VOLUME, [6, 4, 7])),
    ("upsample_trilinear3d.default", (VOLUME, [6, 4, 7], False, 2.0)),
]


@pytest.mark.parametrize("number", range(len(CASES)), ids=lambda i: f"{i}-{CASES[i][0]}")
def test_an_operator_gives_what_pytorchs_gives(number):
    name, given = CASES[number]
    operator, overload = name.split(".")
    theirs = getattr(getattr(torch.ops.aten, operator), overload)
    names = [argument.name for argument in theirs._schema.arguments]
    tensors = [torch.from_numpy(v) if isinstance(v, np.ndarray) else v for v in given]
    count = sum(not argument.kwarg_only for argument in theirs._schema.arguments)
    wanted = theirs(*tensors[:count], **dict(zip(names[count:], tensors[count:], strict=False)))
    function = OPERATORS[f"aten.{name}"]
    arguments = dict(zip(names, given, strict=False))
    arrays = {key: value for key, value in arguments.items() if isinstance(value, np.ndarray)}
    if "context" in parameters(function):
        arguments["context"] = Context(None, False)
    quick = {"xla_backend_optimization_level": 0}
    found = jax.jit(lambda arrays: function(**arguments | arrays), compiler_options=quick)(arrays)
    alone = not isinstance(wanted, tuple | list)
    for got, value in zip([found] if alone else found, [wanted] if alone else wanted, strict=True):
        if got is not None:  # a part that no module uses
            np.testing.assert_allclose(got, value, rtol=2e-5, atol=2e-6)


def drawn(name, *given, train=True, **more):
    return OPERATORS[f"aten.{name}"](*given, context=Context(jax.random.key(0), train), **more)


def test_alpha_dropout_keeps_mean_and_variance():
    x = jnp.asarray(normal(100, 1000))
    y = drawn("alpha_dropout.default", x, 0.3, True)
    assert abs(float(y.mean())) < 0.02
    assert abs(float(y.std()) - 1) < 0.02
    least = float(torch.nn.functional.alpha_dropout(torch.zeros(1000), 0.3, True).min())
    np.testing.assert_allclose(
        drawn("alpha_dropout.default", jnp.zeros(1000), 0.3, True).min(), least, rtol=1e-5
    )
    whole = drawn("feature_alpha_dropout.default", jnp.ones((4, 8, 5)), 0.5, True)
    assert (whole == whole[..., :1]).all()
    assert drawn("alpha_dropout.default", x, 0.3, True, train=False) is x


def test_what_is_drawn_has_its_distribution():
    e = drawn("exponential.default", jnp.zeros(20000), 2.0)
    np.testing.assert_allclose([e.mean(), e.std()], 0.5, rtol=0.03)
    r = drawn("rrelu.default", -jnp.ones(20000), 0.1, 0.3, True)
    np.testing.assert_allclose([r.min(), r.mean(), r.max()], [-0.3, -0.2, -0.1], rtol=0.01)
    i = drawn("randint.low", 2, 5, (1000,))
    assert sorted(set(np.asarray(i).tolist())) == [2, 3, 4]
    assert sorted(np.asarray(drawn("randperm.default", 7)).tolist()) == list(range(7))
    n = drawn("normal.float_float", 3.0, 0.5, (20000,))
    np.testing.assert_allclose([n.mean(), n.std()], [3, 0.5], rtol=0.03)


@pytest.mark.parametrize(("other", "lasting"), [("div.Scalar", False), ("mul.Scalar", True)])
def test_bernoulli_numbers_vanish_from_evaluation_or_are_refused(other, lasting):
    p, x = {"p": 0.8}, {"self": Ref("x")}
    nodes = (
        Node("b", "aten.bernoulli.p", x | p, ("b",), "", ""),
        Node("y", f"aten.{other}", {"self": Ref("b"), "other": 0.8}, ("y",), "", ""),
    )
    meta = {name: Meta("float32", (3,)) for name in "xby"}
    outputs = (Result("user", Ref("y")),)
    computation = Computation(Graph((Input("user", "x"),), nodes, outputs, meta, ()), "m.pt2")
    inputs = (jnp.zeros(3),)
    assert computation.run({}, inputs, train=True, key=jax.random.key(0)).outputs[0].shape == (3,)
    if lasting:
        with pytest.raises(InputError, match=r"the node b, draws what evaluation would not"):
            computation.run({}, inputs)
    else:
        np.testing.assert_array_equal(computation.run({}, inputs).outputs[0], np.ones(3))


def test_what_is_not_supported_is_refused():
    with pytest.raises(InputError, match="bicubically"):
        OPERATORS["aten.grid_sampler.default"](jnp.asarray(IMAGE), jnp.asarray(GRID), 2, 0, True)
    with pytest.raises(InputError, match="'mean'"):
        OPERATORS["aten.scatter_reduce.two"](
            jnp.asarray(X), 1, jnp.zeros((3, 4), int), jnp.asarray(Y), "mean"
        )
    with pytest.raises(InputError, match="give a key"):
        OPERATORS["aten.exponential.default"](jnp.zeros(3), context=Context(None, True))
