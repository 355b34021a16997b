from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from msae_jax import models
from msae_jax.analysis import arithmetic, decode, interpolate, path_metrics, sample, slerp
from msae_jax.config import ModelConfig
from msae_jax.data import Dataset
from msae_jax.errors import InputError
from msae_jax.models.output import Output, finish


class Plain(nn.Module):
    """z = x E, x' = z D, with the matrices as variables."""

    @property
    def sample_shape(self) -> tuple[int, ...]:
        return (2,)

    def setup(self) -> None:
        self.down, self.up = nn.Dense(2, use_bias=False), nn.Dense(2, use_bias=False)

    def encode(self, x: jax.Array) -> jax.Array:
        return self.down(x)

    def decode(self, z: jax.Array) -> jax.Array:
        return self.up(z)

    def __call__(
        self, x: jax.Array, *, key: jax.Array | None = None, train: bool = False
    ) -> Output:
        z = self.encode(x)
        return finish(x, z, self.decode(z), "identity")


class Variational(Plain):
    """Latents are posterior means of unit variance."""

    def __call__(
        self, x: jax.Array, *, key: jax.Array | None = None, train: bool = False
    ) -> Output:
        z = self.encode(x)
        return finish(x, z, self.decode(z), "identity", z, jnp.zeros_like(z))


def matrices(down: object, up: object) -> dict:
    kernels = {"down": down, "up": up}
    return {"params": {k: {"kernel": np.array(v, np.float32)} for k, v in kernels.items()}}


IDENTITY = matrices(np.eye(2), np.eye(2))


def test_linear_interpolation_of_a_linear_model_is_a_straight_line() -> None:
    """z = 2 x and x' = z D, so the frames are 2 D times the mix of the ends."""
    up = np.array([[1.0, 0.0], [1.0, 3.0]])
    path = interpolate(Plain(), matrices(2 * np.eye(2), up), np.ones(2), np.array([2.0, -1.0]), 5)
    assert path.t.tolist() == [0, 0.25, 0.5, 0.75, 1]
    np.testing.assert_allclose(path.z[1], [2.5, 1.0])
    np.testing.assert_allclose(path.x[[0, 1, 4]], [[4, 6], [3.5, 3], [2, -6]], rtol=1e-6)
    chord = np.sqrt((2**2 + 12**2) / 2)
    assert path.metrics.chord == pytest.approx(chord)
    assert path.metrics.mean_step == pytest.approx(chord / 4)
    assert path.metrics.length_ratio == pytest.approx(1)
    assert path.metrics.step_ratio == pytest.approx(1)


def test_spherical_interpolation_follows_the_arc() -> None:
    """A quarter circle in three steps: three chords of 30 degrees, each 2 sin(15 degrees)."""
    path = interpolate(
        Plain(), IDENTITY, np.array([1.0, 0.0]), np.array([0.0, 1.0]), 4, "spherical", latents=True
    )
    angles = np.radians([0, 30, 60, 90])
    np.testing.assert_allclose(path.x, np.stack([np.cos(angles), np.sin(angles)], 1), atol=1e-6)
    step = 2 * np.sin(np.radians(15)) / np.sqrt(2)  # root mean square over two pixels
    np.testing.assert_allclose(path.metrics.steps, step, rtol=1e-6)
    assert path.metrics.length_ratio == pytest.approx(3 * step, rel=1e-6)  # the chord is 1


def test_slerp_of_vectors_of_two_norms() -> None:
    got = slerp(np.array([2.0, 0.0]), np.array([0.0, 1.0]), np.array([0, 0.5, 1]))
    half = np.sqrt(0.5)
    np.testing.assert_allclose(got, [[2, 0], [2 * half, half], [0, 1]], atol=1e-12)


def test_slerp_keeps_a_norm_and_an_angular_speed() -> None:
    """From 0 to 60 degrees on a circle of radius 2."""
    angles = np.radians([0, 15, 30, 60])
    circle = 2 * np.stack([np.cos(angles), np.sin(angles)], 1)
    got = slerp(circle[0], circle[-1], np.array([0, 0.25, 0.5, 1]))
    np.testing.assert_allclose(got, circle, atol=1e-12)


def test_slerp_where_the_angle_is_degenerate() -> None:
    t = np.array([0.25])
    np.testing.assert_allclose(slerp(np.array([1.0, 2]), np.array([3.0, 6]), t), [[1.5, 3]])
    np.testing.assert_allclose(slerp(np.zeros(2), np.array([4.0, 0]), t), [[1, 0]])
    with pytest.raises(InputError, match="opposite"):
        slerp(np.array([1.0, 0]), np.array([-2.0, 0]), t)


def test_path_metrics_by_hand() -> None:
    """A jump in the last of three steps; then out and back."""
    jump = path_metrics(np.array([[0, 0], [0, 0], [0, 0], [3, 3]]))
    assert (jump.mean_step, jump.max_step, jump.length, jump.chord) == (1, 3, 3, 3)
    assert (jump.length_ratio, jump.step_ratio) == (1, 3)
    detour = path_metrics(np.array([[0.0], [5.0], [1.0]]))
    assert (detour.length, detour.chord, detour.length_ratio) == (9, 1, 9)
    still = path_metrics(np.zeros((3, 2)))
    assert np.isnan([still.length_ratio, still.step_ratio]).all()


def test_images_come_back_as_images(images: Dataset) -> None:
    """Between uint8 images, through a sigmoid; against the model's own encode and decode."""
    model = models.build(ModelConfig("vae3", {"hidden": [16], "latent_dim": 3}))
    variables = models.init_variables(model, jax.random.key(0), (784,))
    a, b = images.test.x[:2]
    path = interpolate(model, variables, a, b, 3)
    assert path.x.shape == (3, 28, 28, 1)
    x = jnp.asarray(images.test.x[:2] / np.float32(255))
    z = np.asarray(model.apply(variables, x, method="encode")).mean(axis=0, keepdims=True)
    h = np.maximum(
        z @ variables["params"]["decoder"]["linear_0"]["kernel"] + _bias(variables, 0), 0
    )
    logits = h @ variables["params"]["decoder"]["linear_1"]["kernel"] + _bias(variables, 1)
    expected = 1 / (1 + np.exp(-logits))
    np.testing.assert_allclose(path.x[1].reshape(1, -1), expected, atol=1e-6)


def _bias(variables: dict, i: int) -> np.ndarray:
    return variables["params"]["decoder"][f"linear_{i}"]["bias"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "spheric"}, "Did you mean 'spherical'"),
        ({"steps": 1}, "steps must be at least 2, the two ends, got 1"),
        ({"b": np.ones(3)}, "must have the same shape"),
    ],
)
def test_interpolation_says_what_is_wrong(arguments: dict, message: str) -> None:
    call = {"a": np.ones(2), "b": np.ones(2), **arguments}
    with pytest.raises(InputError, match=message):
        interpolate(Plain(), IDENTITY, **call)


def test_decoding_wants_a_batch() -> None:
    with pytest.raises(InputError, match=r"\[N, latent_dim\], got \[2\]"):
        decode(Plain(), IDENTITY, np.ones(2))


def test_arithmetic_on_class_means() -> None:
    """Means of groups of 2, 1 and 3: (1, 2) - (1, 0) + (0, 4) = (0, 6), decoded by D."""
    a = np.array([[0, 0], [2, 4]], np.float32)
    b = np.array([[1, 0]], np.float32)
    c = np.array([[0, 3], [0, 4], [0, 5]], np.float32)
    got = arithmetic(Plain(), matrices(np.eye(2), [[1, 1], [1, -1]]), a, b, c)
    np.testing.assert_allclose(got.z, [[0, 6]], atol=1e-6)
    np.testing.assert_allclose(got.x, [[6, -6]], atol=1e-6)
    with pytest.raises(InputError, match="group b has no samples"):
        arithmetic(Plain(), IDENTITY, a, b[:0], c)


def test_samples_of_the_prior_are_standard_normal() -> None:
    """n = 20,000; every moment within five standard errors."""
    n = 20_000
    got = sample(Variational(), matrices(np.eye(2), 3 * np.eye(2)), n, jax.random.key(1))
    np.testing.assert_allclose(got.x, 3 * got.z, rtol=1e-6)
    np.testing.assert_allclose(got.z.mean(0), 0, atol=5 / np.sqrt(n))
    np.testing.assert_allclose(np.cov(got.z.T), np.eye(2), atol=5 * np.sqrt(2 / n))
    again = sample(Variational(), IDENTITY, n, jax.random.key(1))
    assert np.array_equal(got.z, again.z)
    assert not np.array_equal(got.z, sample(Variational(), IDENTITY, n, jax.random.key(2)).z)


def test_a_model_without_a_prior_needs_a_fit() -> None:
    """Correlated latents about (5, -1): mean and covariance of the draws are those of the fit."""
    with pytest.raises(InputError, match="Plain has no prior"):
        sample(Plain(), IDENTITY, 3, jax.random.key(0))
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 2)) @ np.array([[2.0, 1.0], [0.0, 0.5]]) + np.array([5.0, -1.0])
    x, n = x.astype(np.float32), 40_000
    z = sample(Plain(), IDENTITY, n, jax.random.key(0), fit_to=x).z
    np.testing.assert_allclose(z.mean(0), x.mean(0), atol=5 * 2.3 / np.sqrt(n))
    np.testing.assert_allclose(np.cov(z.T), np.cov(x.T), atol=5 * 4.1 * np.sqrt(2 / n))


def test_a_unit_that_never_varies_is_sampled_at_its_value() -> None:
    x = np.array([[1, 7], [2, 7], [3, 7]], np.float32)
    got = sample(Plain(), IDENTITY, 100, jax.random.key(0), fit_to=x)
    np.testing.assert_allclose(got.z[:, 1], 7, rtol=1e-6)
    assert got.z[:, 0].std() == pytest.approx(1, abs=0.3)
    with pytest.raises(InputError, match="2 samples or more"):
        sample(Plain(), IDENTITY, 1, jax.random.key(0), fit_to=x[:1])


def test_samples_have_the_shape_of_what_was_fitted(images: Dataset) -> None:
    model = models.build(ModelConfig("ae5", {"hidden": [8], "latent_dim": 2}))
    variables = models.init_variables(model, jax.random.key(0), (784,))
    got = sample(model, variables, 4, jax.random.key(0), fit_to=images.train.x)
    assert got.x.shape == (4, 28, 28, 1)
