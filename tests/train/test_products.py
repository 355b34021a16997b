"""Products in bfloat16 against operands rounded by NumPy and multiplied in float64."""

from __future__ import annotations

import collections
import functools
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import pytest
from jax import lax

from msae_jax import train
from msae_jax.config import ModelConfig, Objective, OptimizerConfig, TrainConfig
from msae_jax.data import Dataset, Split
from msae_jax.errors import InputError
from msae_jax.models import convolution, layers, patches
from msae_jax.system import precision
from msae_jax.train.losses import Likelihood
from msae_jax.train.products import with_products_in
from tests.train.small import Normed

pytestmark = pytest.mark.usefixtures("all_quick_to_compile")

CLOSE = 1e-6
"""Of the largest value: what adding up some hundred float32 products in another order does."""

RNG = np.random.default_rng(0)
NORMED = TrainConfig(
    ModelConfig("tests.train.small:Normed"),
    optimizer=OptimizerConfig("adam", 1e-2),
    batch_size=16,
)
X = RNG.normal(size=(16, 6)).astype(np.float32)


@pytest.fixture(params=["emulated", "units"])
def on(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways of a CPU. Products in bfloat16 run on any, fast only on one that has units."""
    has_units = request.param == "units"
    monkeypatch.setattr(precision, "processor_has_units", lambda *_: has_units)
    return str(request.param)


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def rounded(x: Any) -> np.ndarray:
    return np.asarray(x).astype(ml_dtypes.bfloat16).astype(np.float64)


def in_bfloat16(function: Callable[..., Any], *args: Any) -> Any:
    return jax.jit(lambda *a: with_products_in("bfloat16", function)(*a))(*args)


def check(found: Any, expected: np.ndarray) -> None:
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=CLOSE * np.abs(expected).max())


def test_a_linear_layer_and_its_gradients(on: str) -> None:
    """y = bf16(x) bf16(w) + b, dx = bf16(g) bf16(w)^T, dw = bf16(x)^T bf16(g), db = sum of g."""
    x, w, b, g = normal(12, 40), normal(40, 7), normal(7), normal(12, 7)
    layer = layers.Linear(7)

    def loss(x: Any, w: Any, b: Any, g: Any) -> Any:
        y = layer.apply({"params": {"kernel": w, "bias": b}}, x)
        return (y * g).sum(), y

    gradient = jax.grad(loss, argnums=(0, 1, 2), has_aux=True)
    (dx, dw, db), y = in_bfloat16(gradient, x, w, b, g)
    check(y, rounded(x) @ rounded(w) + b.astype(np.float64))
    check(dx, rounded(g) @ rounded(w).T)
    check(dw, rounded(x).T @ rounded(g))
    check(db, g.astype(np.float64).sum(axis=0))
    assert np.abs(y - (x @ w + b)).max() > 1e-3  # far from float32


def gathered(x: np.ndarray, size: int, kernel: int, stride: int, padding: int) -> np.ndarray:
    """Returns the inputs [B, K, K, S', S', I] under each tap, in the definition's own terms."""
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    last = stride * (size - 1) + 1
    taps = [
        [x[:, i : i + last : stride, j : j + last : stride] for j in range(kernel)]
        for i in range(kernel)
    ]
    return np.stack([np.stack(row, axis=1) for row in taps], axis=1)


def scattered(g: np.ndarray, w: np.ndarray, size: int, stride: int, padding: int) -> np.ndarray:
    """Returns y [B, size, size, I] with y[s i + a - p] += g[i] w[a]^T."""
    y = np.zeros((len(g), *(size + 2 * padding,) * 2, w.shape[2]))
    last = stride * (g.shape[1] - 1) + 1
    for i in range(w.shape[0]):
        for j in range(w.shape[1]):
            y[:, i : i + last : stride, j : j + last : stride] += g @ w[i, j].T
    return y[:, padding : size + padding, padding : size + padding]


@pytest.mark.parametrize(
    ("size", "inputs", "outputs", "stride"),
    [(8, 16, 16, 1), (7, 64, 64, 1), (7, 3, 5, 2)],
    ids=["direct in float32", "Fourier in float32", "strided"],
)
def test_convolutions_and_their_gradients(
    on: str, size: int, inputs: int, outputs: int, stride: int
) -> None:
    """By the definitions of gather, scatter and correlate in models/convolution.py."""
    x, w = normal(32, size, size, inputs), normal(3, 3, inputs, outputs)
    small = (size + 2 - 3) // stride + 1
    g = normal(32, small, small, outputs)

    def loss(x: Any, w: Any, g: Any) -> Any:
        y = convolution.conv(x, w, stride=stride, padding=1)
        return (y * g).sum(), y

    (dx, dw), y = in_bfloat16(jax.grad(loss, argnums=(0, 1), has_aux=True), x, w, g)
    patches = gathered(rounded(x), small, 3, stride, 1)
    check(y, np.einsum("bijhwc,ijco->bhwo", patches, rounded(w)))
    check(dx, scattered(rounded(g), rounded(w), size, stride, 1))
    check(dw, np.einsum("bijhwc,bhwo->ijco", patches, rounded(g)))


def test_the_cases_above_take_other_ways_in_float32() -> None:
    plain = patches.Geometry(1, (1, 1), 1)
    shapes = [(32, 8, 8, 16), (3, 3, 16, 16)], [(32, 7, 7, 64), (3, 3, 64, 64)]
    direct, fourier = ([jnp.zeros(shape) for shape in pair] for pair in shapes)
    assert convolution._direct_pays(*direct, plain)
    assert convolution._fourier_pays(*fourier, plain)
    with jax.default_matmul_precision(precision.ALGORITHM):
        assert not convolution._direct_pays(*direct, plain)
        assert not convolution._fourier_pays(*fourier, plain)


def test_transposed_convolutions_and_their_gradients(on: str) -> None:
    x, w, g = normal(4, 5, 5, 6), normal(4, 4, 6, 3), normal(4, 10, 10, 3)

    def loss(x: Any, w: Any, g: Any) -> Any:
        y = convolution.conv_transpose(x, w, stride=2, padding=1)
        return (y * g).sum(), y

    (dx, dw), y = in_bfloat16(jax.grad(loss, argnums=(0, 1), has_aux=True), x, w, g)
    patches = gathered(rounded(g), 5, 4, 2, 1)
    check(y, scattered(rounded(x), np.swapaxes(rounded(w), 2, 3), 10, 2, 1))
    check(dx, np.einsum("bijhwo,ijco->bhwc", patches, rounded(w)))
    check(dw, np.einsum("bhwc,bijhwo->ijco", rounded(x), patches))


@pytest.mark.parametrize(
    "equation", ["btk,btn->nk", "bhqk,bqhd->bkhd", "k,k->", "mk,k->m", "mk,kn->nm"]
)
def test_products_of_any_axes(on: str, equation: str) -> None:
    """Such as those that XLA's CPU fails on in bfloat16, as it transposes their operands."""
    sizes = {"b": 8, "t": 9, "k": 16, "n": 12, "h": 2, "q": 16, "d": 4, "m": 5}
    left, right = equation.partition("->")[0].split(",")
    a, b = (normal(*(sizes[axis] for axis in axes)) for axes in (left, right))
    found = in_bfloat16(lambda a, b: jnp.einsum(equation, a, b), a, b)
    check(found, np.einsum(equation, rounded(a), rounded(b)))


def test_products_inside_loops_branches_and_calls(on: str) -> None:
    """Two steps of h <- h w in a loop, then one of two branches, and what `remat` computes anew."""
    x, w = normal(6, 9), normal(9, 9) / 3

    def chained(x: Any, w: Any) -> Any:
        h, _ = lax.scan(lambda h, _: (h @ w, None), x, length=2)
        h = lax.cond(h.sum() > jnp.inf, lambda h: h, lambda h: h @ w, h)
        return jax.checkpoint(jax.jit(lambda h: jnp.square(h @ w).sum()))(h), h

    w_ = rounded(w)
    hs = [rounded(x) @ w_]
    for _ in range(3):
        hs.append(rounded(hs[-1].astype(np.float32)) @ w_)
    expected = np.square(hs[-1]).sum()
    (value, h), dx = in_bfloat16(jax.value_and_grad(chained, has_aux=True), x, w)
    check(h, hs[-2])
    assert value == pytest.approx(expected, rel=CLOSE)
    g = 2 * hs[-1]
    for _ in range(4):
        g = rounded(g.astype(np.float32)) @ w_.T
    check(dx, g)


def test_what_says_otherwise_is_not_rounded() -> None:
    """A precision of its own, what `exact` encloses, and numbers that are not float32."""
    a, b = normal(5, 30), normal(30, 4)
    whole = np.arange(300, 312).reshape(3, 4)  # bfloat16 has no odd number above 256

    def three(a: Any, b: Any, whole: Any) -> Any:
        with precision.exact("bfloat16"):
            enclosed = a @ b
        own = jnp.matmul(a, b, precision="highest")
        return enclosed, own, whole @ whole.T

    enclosed, own, integers = in_bfloat16(three, a, b, jnp.asarray(whole))
    check(enclosed, a.astype(np.float64) @ b)
    check(own, a.astype(np.float64) @ b)
    np.testing.assert_array_equal(integers, whole @ whole.T)


def test_in_float32_a_function_is_itself() -> None:
    assert with_products_in("float32", normal) is normal
    assert not precision.asked_for()


def task_of(settings: TrainConfig, x: np.ndarray) -> train.Task:
    return train.make_task(settings, Dataset("x", Split(x), Split(x[:4])))


def step(settings: TrainConfig, x: np.ndarray) -> tuple[Any, Any, Any]:
    task = task_of(settings, x)
    return task, train.init_state(task, 0, x.shape[1:]), jnp.asarray(x)


def operands(settings: TrainConfig, x: np.ndarray) -> collections.Counter[str]:
    """Returns the types of the products of a compiled step, and how many there are."""
    task = task_of(settings, x)
    init = functools.partial(train.state_of_keys, task, sample_shape=x.shape[1:])
    state = jax.eval_shape(lambda: init(train.seed_keys(0)))
    text = jax.jit(train.train_step, static_argnums=0).lower(task, state, x).as_text()
    lines = [line for line in text.splitlines() if re.search(r"\.(dot_general|convolution)", line)]
    types = [re.findall(r"(\w+)>", line.rpartition(" : ")[2]) for line in lines]
    return collections.Counter(" ".join(part.split("x")[-1] for part in each) for each in types)


class Own(nn.Module):
    """A user's own model, of Flax's layers and not of ours."""

    features: int = 6

    @staticmethod
    def sizes_for(sample_shape: tuple[int, ...]) -> dict[str, int]:
        return {"features": sample_shape[0]}

    @nn.compact
    def __call__(self, x: Any, *, key: Any = None, train: bool = False) -> Any:
        from msae_jax.models.output import finish

        z = nn.Dense(4)(x)
        return finish(x, z, nn.Dense(self.features)(z), "identity")


SMALL = {
    "dense": (TrainConfig(ModelConfig("baseline", {"hidden": [8], "latent_dim": 4})), (16,)),
    "convolutional": (TrainConfig(ModelConfig("conv", {"channels": [4, 4, 8]})), (8, 8, 1)),
    "recurrent": (TrainConfig(ModelConfig("lgta", {"hidden": 4})), (6,)),
    "your own": (TrainConfig(ModelConfig("tests.train.test_products:Own")), (6,)),
}


@pytest.mark.parametrize("kind", SMALL)
def test_every_product_of_a_step_is_rounded(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "processor_has_units", lambda *_: True)
    settings, shape = SMALL[kind]
    settings = replace(settings, batch_size=4)
    x = RNG.uniform(size=(4, *shape)).astype(np.float32)
    before = operands(settings, x)
    assert before.keys() == {"f32 f32 f32"}
    after = operands(replace(settings, precision="bfloat16"), x)
    assert after == {"bf16 bf16 f32": before.total()}


def weighed(recon: jax.Array, x: jax.Array) -> jax.Array:
    """A likelihood of a user's own that multiplies matrices, `[B]`."""
    d = (recon - x).reshape(len(x), -1)
    return 0.5 * ((d @ jnp.eye(d.shape[1])) * d).sum(axis=1)


distance = Likelihood(weighed)


def test_a_loss_that_multiplies_stays_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "processor_has_units", lambda *_: True)
    own = replace(
        NORMED, precision="bfloat16", objective=Objective("tests.train.test_products:distance")
    )
    plain = operands(replace(NORMED, precision="bfloat16"), X)
    assert operands(own, X) == plain + collections.Counter({"f32 f32 f32": 2})


def test_all_but_operands_stays_float32(on: str) -> None:
    """State and metrics; and a step is near that of float32, but not the same."""
    settings = replace(NORMED, precision="bfloat16")
    run = jax.jit(train.train_step, static_argnums=0)
    state, metrics = run(*step(settings, X))
    plain, expected = run(*step(NORMED, X))
    assert state.batch_stats
    for tree in (state.params, state.batch_stats, state.opt_state, metrics):
        for leaf in jax.tree.leaves(tree):
            assert leaf.dtype in (jnp.float32, jnp.int32)
    assert jax.tree.map(jnp.shape, state) == jax.tree.map(jnp.shape, plain)
    assert metrics.loss == pytest.approx(float(expected.loss), rel=2**-8)
    assert metrics.loss != expected.loss


def test_seeds_together_are_each_alone() -> None:
    """Products of several seeds at once, on the same rounded operands: to 1e-5 after a step."""
    settings = replace(NORMED, precision="bfloat16", optimizer=OptimizerConfig("sgd", 0.1))
    task, _, x = step(settings, X)
    states = [train.init_state(task, seed, (6,)) for seed in range(3)]
    stacked = jax.tree.map(lambda *a: jnp.stack(a), *states)
    run = jax.jit(lambda state: train.train_step(task, state, x))
    together, metrics = jax.vmap(run)(stacked)
    for seed, state in enumerate(states):
        alone, expected = run(state)
        own = jax.tree.map(lambda a, seed=seed: a[seed], (together.params, metrics))
        for a, b in zip(
            jax.tree.leaves(own), jax.tree.leaves((alone.params, expected)), strict=True
        ):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "changes",
    [
        {"accumulate": 3},
        {"objective": Objective(contractive=0.1, mmd=0.1, l1=0.1)},
        {"freeze": "encoder"},
    ],
    ids=["accumulate", "penalties", "freeze"],
)
def test_other_switches_go_with_it(changes: dict[str, Any]) -> None:
    """A step of SGD is that of float32 to 2^-6 of its length, and not the same."""
    settings = replace(NORMED, optimizer=OptimizerConfig("sgd", 0.1), **changes)
    run = jax.jit(train.train_step, static_argnums=0)
    task, before, x = step(settings, X)
    plain, _ = run(task, before, x)
    low, _ = run(task._replace(precision="bfloat16"), before, x)

    def distance(state: train.TrainState) -> float:
        apart = optax.tree.sub(state.params, plain.params)
        return float(optax.tree.norm(apart))

    assert 0 < distance(low) < 2**-6 * distance(before)


def test_a_model_without_a_step_is_refused() -> None:
    x = normal(8, 4)
    with pytest.raises(InputError, match="pca is fitted in closed form and has no step to train"):
        train.make_task(
            TrainConfig(ModelConfig("pca", {"latent_dim": 2}), precision="bfloat16"),
            Dataset("x", Split(x), Split(x)),
        )


def test_an_evaluation_is_of_the_float32_model() -> None:
    model = Normed()
    variables = model.init(jax.random.key(0), X)
    text = jax.jit(model.apply).lower(variables, X).as_text()
    assert "bf16" not in text
    assert "reduce_precision" not in text
