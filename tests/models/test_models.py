from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit

from msae_jax import models
from msae_jax.config import ModelConfig
from msae_jax.errors import InputError
from msae_jax.models.images import halve
from msae_jax.models.layers import Linear
from msae_jax.models.multiscale import adaptive_average_pool
from msae_jax.models.output import Output, finish
from tests.models.variables import random_variables

PARAMETERS = {
    "msae": 137_024,
    "baseline": 49_600,
    "msae-mlp": 510_480,
    "baseline-mlp": 435_536,
    "superres": 1_702_081,
    "conv": 1_009_569,
    "stacked": 1_149_520,
    "vae3": 652_824,
    "vae5": 835_424,
    "ae5": 833_404,
}


SMALL = {  # of the others, which compile as quickly, the sizes are those of their recipes
    "msae": {"channels": [4, 8]},
    "superres": {"channels": [4, 8], "decoder_channels": [4, 2]},
    "conv": {"channels": [4, 4, 8]},
}


@pytest.fixture(scope="module")
def made(all_quick_to_compile: None) -> dict[str, tuple]:
    """Each model with variables and a batch of three samples in [0, 1]."""
    found = {}
    for name in PARAMETERS:
        model = models.build(ModelConfig(name, SMALL.get(name, {})))
        x = jax.random.uniform(jax.random.key(1), (3, *model.sample_shape))
        found[name] = model, random_variables(model), x
    return found


def test_the_registry_is_complete() -> None:
    for name, count in PARAMETERS.items():
        record = models.record(name)
        assert record.parameters == count
        assert None not in (record.layout, record.recipe, record.reference, record.colour)
    assert {*PARAMETERS} <= {*models.names()}


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameter_counts(name: str) -> None:
    assert models.parameter_count(models.build(ModelConfig(name))) == PARAMETERS[name]


@pytest.mark.parametrize("name", PARAMETERS)
def test_encode_decode_and_call_agree(name: str, made: dict[str, tuple]) -> None:
    model, variables, x = made[name]

    @jax.jit
    def all_three(x: jax.Array) -> tuple[Output, jax.Array, jax.Array]:
        z = model.apply(variables, x, method="encode")
        return model.apply(variables, x), z, model.apply(variables, z, method="decode")

    out, z, recon = all_three(x)
    assert out.recon.shape == x.shape
    np.testing.assert_allclose(out.z, z, atol=1e-6)
    np.testing.assert_allclose(out.recon.reshape(3, -1), recon.reshape(3, -1), atol=1e-6)
    if out.logits is not None:
        np.testing.assert_allclose(out.recon, expit(np.asarray(out.logits, np.float64)), atol=1e-6)
    assert float(jnp.std(out.recon[0] - out.recon[1])) > 0  # it depends on the input


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_wrong_shape_says_what_was_expected(name: str, made: dict[str, tuple]) -> None:
    model, variables, _ = made[name]
    with pytest.raises(InputError, match=r"expects .* got \[3, 5\]"):
        model.apply(variables, jnp.zeros((3, 5)))


@pytest.mark.parametrize("name", ["vae3", pytest.param("vae5", marks=pytest.mark.slow)])
def test_a_vae_samples_its_posterior(name: str, made: dict[str, tuple]) -> None:
    model, variables, x = made[name]
    x = jnp.repeat(x[:1], 4000, axis=0)
    out = model.apply(variables, x, key=jax.random.key(5))
    np.testing.assert_array_equal(model.apply(variables, x).z, out.mu)
    noise = np.asarray((out.z - out.mu) / jnp.exp(out.log_var / 2), np.float64)
    assert abs(noise.mean()) < 5 / np.sqrt(noise.size)
    assert abs(noise.var() - 1) < 5 * np.sqrt(2 / noise.size)
    again = model.apply(variables, x, key=jax.random.key(5))
    np.testing.assert_array_equal(out.z, again.z)


def test_the_small_encoder_reads_its_share(made: dict[str, tuple]) -> None:
    model, variables, x = made["msae-mlp"]
    moved = x.at[:, 392:].add(1.0)
    z, z_moved = (model.apply(variables, a, method="encode") for a in (x, moved))
    np.testing.assert_array_equal(z[:, :64], z_moved[:, :64])
    assert (z[:, 64:] != z_moved[:, 64:]).any()
    quarter = models.build(ModelConfig("msae-mlp", {"small_fraction": 0.25}))
    assert models.parameter_count(quarter) == PARAMETERS["msae-mlp"] - 196 * 128


def test_the_latent_of_ae5_is_rectified(made: dict[str, tuple]) -> None:
    model, variables, x = made["ae5"]
    z = model.apply(variables, x, method="encode")
    assert z.min() == 0
    assert z.max() > 0


def test_sizes_are_fields() -> None:
    options = {"latent_dim": 9, "channels": [4, 6, 8]}
    out = _shapes(models.build(ModelConfig("conv", options), (32, 16, 3)), (32, 16, 3))
    assert out.recon.shape == (2, 32, 16, 3)
    assert out.z.shape == (2, 9)
    out = _shapes(models.build(ModelConfig("msae", {"latent_dim": 10}), (100,)), (100,))
    assert out.recon.shape == (2, 100)
    assert out.z.shape == (2, 10)


def _shapes(model: nn.Module, sample_shape: tuple[int, ...]) -> Output:
    """Returns the shapes of the output for a batch of two."""
    x = jnp.zeros((2, *sample_shape))
    return jax.eval_shape(lambda: model.init_with_output(jax.random.key(0), x))[0]


@pytest.mark.parametrize(
    ("config", "shape", "words"),
    [
        (ModelConfig("convv"), None, "'conv'"),
        (ModelConfig("conv", {"latent_dimm": 3}), None, "'latent_dim'"),
        (ModelConfig("conv", {"latent_dim": 0}), None, "must be positive, got 0"),
        (ModelConfig("conv", {"latent_dim": "x"}), None, "type int"),
        (ModelConfig("vae5", {"hidden": [400, 0]}), None, "list of positive integers"),
        (ModelConfig("conv"), (784,), "expects images"),
        (ModelConfig("no_such_module:Model"), None, "cannot import"),
        (ModelConfig("math:pi"), None, "expected a flax.linen.Module"),
    ],
)
def test_bad_configurations_are_named(config: ModelConfig, shape, words: str) -> None:
    with pytest.raises(InputError, match=words):
        models.build(config, shape)


def test_halving_is_a_two_by_two_mean() -> None:
    x = np.arange(32, dtype=np.float32).reshape(1, 4, 8, 1)
    halved = np.asarray(halve(jnp.asarray(x)))[0, :, :, 0]
    np.testing.assert_allclose(halved, [[4.5, 6.5, 8.5, 10.5], [20.5, 22.5, 24.5, 26.5]])


@pytest.mark.parametrize(("length", "size"), [(128, 16), (100, 16), (7, 3), (5, 8)])
def test_adaptive_pooling(length: int, size: int) -> None:
    """Against the definition in the documentation of `torch.nn.AdaptiveAvgPool1d`."""
    x = np.random.default_rng(0).normal(size=(2, length, 3)).astype(np.float32)
    expected = [
        x[:, i * length // size : int(np.ceil((i + 1) * length / size))].mean(1)
        for i in range(size)
    ]
    pooled = adaptive_average_pool(jnp.asarray(x), size)
    np.testing.assert_allclose(pooled, np.stack(expected, axis=1), atol=1e-6)


class Tiny(nn.Module):
    """A user's own model: the whole contract."""

    latent_dim: int = 2

    def setup(self) -> None:
        self.down, self.up = Linear(self.latent_dim), Linear(128)

    def encode(self, x: jax.Array) -> jax.Array:
        return self.down(x)

    def decode(self, z: jax.Array) -> jax.Array:
        return self.up(z)

    def __call__(
        self, x: jax.Array, *, key: jax.Array | None = None, train: bool = False
    ) -> Output:
        z = self.encode(x)
        return finish(x, z, self.decode(z), "identity")


def test_a_users_model_is_built_by_name_and_by_path() -> None:
    models.register("tiny", Tiny)
    try:
        model = models.build(ModelConfig("tiny", {"latent_dim": 3}), (128,))
        assert models.parameter_count(model, (128,)) == 128 * 3 + 3 + 3 * 128 + 128
        with pytest.raises(InputError, match="exists already"):
            models.register("tiny", Tiny)
    finally:
        del models._RECORDS["tiny"]
    assert isinstance(
        models.build(ModelConfig("flax.linen:Sequential", {"layers": []})), nn.Sequential
    )
    with pytest.raises(InputError, match=r"cannot be built: .*'features'"):
        models.build(ModelConfig("flax.linen:Dense"))
