"""The residual pyramid, against NumPy in float64; `tests/interop/test_verify.py` has PyTorch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from msae_jax import models
from msae_jax.config import ModelConfig
from msae_jax.errors import InputError
from msae_jax.interop import load_torch, mapping, save_torch, write_tensors
from msae_jax.models.levels import average_pool, interpolate, level_sizes
from msae_jax.recipes import recipe
from msae_jax.results.controls import match
from msae_jax.train.evaluation import embed, reconstruct
from msae_jax.weights import Weights
from tests.models.variables import random_variables

RNG = np.random.default_rng(0)


def blocks(x: np.ndarray, size: int) -> np.ndarray:
    """Means of blocks of time steps `[B, T, C]`, the last one of what is left."""
    starts = range(0, x.shape[1], size)
    return np.stack([x[:, start : start + size].mean(axis=1) for start in starts], axis=1)


def between(y: np.ndarray, size: int, length: int) -> np.ndarray:
    """`numpy.interp` between the centres of blocks; beyond them it keeps the value."""
    t, centres = np.arange(length), size * np.arange(y.shape[1]) + (size - 1) / 2
    channels = [[np.interp(t, centres, c) for c in sample.T] for sample in y]
    return np.moveaxis(np.array(channels), 1, 2)


@pytest.mark.parametrize(("length", "size"), [(12, 4), (13, 4), (128, 8), (7, 1), (5, 5), (10, 7)])
def test_pooling_and_interpolation(length: int, size: int) -> None:
    x = RNG.normal(size=(2, length, 3))
    pooled = average_pool(jnp.asarray(x, jnp.float32), size)
    np.testing.assert_allclose(pooled, blocks(x, size), atol=1e-6)
    y = RNG.normal(size=pooled.shape)
    got = interpolate(jnp.asarray(y, jnp.float32), size, length)
    np.testing.assert_allclose(got, between(y, size, length), atol=1e-6)


def linear(layer: dict[str, Any], x: np.ndarray) -> np.ndarray:
    return x @ np.asarray(layer["kernel"], np.float64) + np.asarray(layer["bias"], np.float64)


def mlp(layers: dict[str, Any], x: np.ndarray) -> np.ndarray:
    return linear(layers["linear_1"], np.maximum(linear(layers["linear_0"], x), 0))


@pytest.mark.parametrize(
    ("shape", "pools", "latent_dim"), [((40,), (8, 2, 1), 8), ((30, 3), (7, 4), 5)]
)
def test_each_level_encodes_what_the_others_left(
    shape: tuple[int, ...], pools: tuple[int, ...], latent_dim: int
) -> None:
    options = {"pools": pools, "latent_dim": latent_dim, "hidden": 16}
    model = models.build(ModelConfig("pyramid", options), shape)
    variables = random_variables(model)
    x = RNG.normal(size=(5, *shape)).astype(np.float32)
    residual = x.astype(np.float64).reshape(5, shape[0], -1)
    recon, latents = np.zeros_like(residual), []
    for i, pool in enumerate(pools):
        layers = variables["params"][f"levels_{i}"]
        pooled = blocks(residual, pool)
        latents.append(mlp(layers["encoder"], pooled.reshape(5, -1)))
        decoded = mlp(layers["decoder"], latents[-1]).reshape(pooled.shape)
        part = between(decoded, pool, shape[0])
        recon, residual = recon + part, residual - part
    assert [z.shape[1] for z in latents] == level_sizes(latent_dim, pools, shape[0])
    np.testing.assert_allclose(embed(model, variables, x), np.hstack(latents), atol=1e-5)
    np.testing.assert_allclose(reconstruct(model, variables, x), recon.reshape(x.shape), atol=1e-5)
    decoded = model.apply(variables, np.hstack(latents).astype(np.float32), method="decode")
    np.testing.assert_allclose(decoded, recon.reshape(x.shape), atol=1e-5)


def test_latents_are_shared_as_evenly_as_can_be() -> None:
    assert level_sizes(64, (8, 2, 1), 128) == [22, 21, 21]
    assert level_sizes(3, (8, 2, 1), 128) == [1, 1, 1]


@pytest.mark.parametrize(
    ("options", "shape", "words"),
    [
        ({"latent_dim": 2}, (128,), "at least 3, one a level of pools .8, 2, 1., got 2"),
        ({"pools": [200, 1]}, (128,), "at most the 128 time steps, got .200, 1."),
        ({"level": "lstm"}, (128,), "unknown level 'lstm'"),
        ({}, (28, 28, 1), r"series \[T\] or \[T, C\], got samples of shape \[28, 28, 1\]"),
        ({"features": 10, "input_channels": 3}, None, "10 features .* 3 channels"),
    ],
)
def test_what_cannot_be_is_said(options: dict[str, Any], shape: Any, words: str) -> None:
    def count() -> int:
        return models.parameter_count(models.build(ModelConfig("pyramid", options), shape))

    with pytest.raises(InputError, match=words):
        count()


def test_channels_are_never_time() -> None:
    model = models.build(ModelConfig("pyramid"), (24, 3))
    assert model.sample_shape == (24, 3)
    variables = random_variables(model)
    for wrong in ((2, 72), (2, 3, 24), (2, 24, 3, 1)):
        with pytest.raises(InputError, match=r"expects series \[B, 24, 3\]"):
            model.apply(variables, jnp.zeros(wrong))
    one = models.build(ModelConfig("pyramid"), (24, 1))
    variables = random_variables(one)
    x = jax.random.normal(jax.random.key(1), (2, 24, 1))
    column, row = (one.apply(variables, a).recon for a in (x, x[..., 0]))
    np.testing.assert_array_equal(column[..., 0], row)


def test_the_control_has_the_same_latent_and_as_many_parameters() -> None:
    own, control = (models.build(ModelConfig(name)) for name in ("pyramid", "pyramid-flat"))
    assert own.latent_dim == control.latent_dim == 64
    # By hand: 16, 64, 128 values, 128 hidden, 22 + 21 + 21 latents; the control: 128, 78 hidden.
    levels = [(16, 22), (64, 21), (128, 21)]
    count = sum(128 * (2 * n + 2 * z + 2) + n + z for n, z in levels)
    flat = sum(78 * (2 * 128 + 2 * z + 2) + 128 + z for _, z in levels)
    assert (models.parameter_count(own), models.parameter_count(control)) == (count, flat)
    assert abs(flat / count - 1) < 0.002
    assert recipe("pyramid-flat").epochs == recipe("pyramid").epochs
    target = ModelConfig("pyramid", {"latent_dim": 8})
    matched = match(ModelConfig("pyramid-flat"), target, "latent", (140, 2))
    matched = match(matched, target, "params", (140, 2))
    counts = [models.parameter_count(models.build(c, (140, 2))) for c in (matched, target)]
    assert abs(counts[0] / counts[1] - 1) < 0.02


def weights_of(config: ModelConfig, shape: tuple[int, ...]) -> Weights:
    model = models.build(config, shape)
    return Weights(model, random_variables(model), replace(recipe(config.name), model=config))


@pytest.mark.parametrize("name", ["pyramid", "pyramid-flat"])
@pytest.mark.parametrize("level", ["dense", "conv"])
def test_pytorch_files_come_back(name: str, level: str, tmp_path) -> None:
    """A .safetensors file tells everything; a .pth file all but what is given beside it."""
    options = {"level": level, "latent_dim": 9, "hidden": 12, "channels": [4, 5]}
    trained = weights_of(ModelConfig(name, options), (40, 3))
    given = ModelConfig(name, {"features": 120, "input_channels": 3})
    for file, config in (("a.safetensors", None), ("a.pth", given)):
        save_torch(tmp_path / file, trained)
        loaded = load_torch(tmp_path / file, config)
        assert loaded.config.model.name == name
        assert loaded.model.sample_shape == (40, 3)
        same = jax.tree.map(np.array_equal, loaded.variables, trained.variables)
        assert jax.tree.all(same)


@pytest.mark.parametrize("pools", [[8, 2, 1], [7, 3, 1]])
def test_sizes_are_read_off_a_file(pools: list[int], tmp_path) -> None:
    trained = weights_of(ModelConfig("pyramid", {"pools": pools, "latent_dim": 10}), (96,))
    entries = mapping.table(models.find_layout("pyramid"), trained.model)
    tensors = mapping.to_state_dict(entries, trained.variables, "these")
    write_tensors(tmp_path / "a.pth", tensors)
    loaded = load_torch(tmp_path / "a.pth")
    assert loaded.config.model.name == "pyramid"
    assert (loaded.model.features, loaded.model.latent_dim) == (96, 10)
    assert list(loaded.model.pools) == pools
