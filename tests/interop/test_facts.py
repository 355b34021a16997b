"""The part of a certificate that needs no PyTorch: parameter counts, finite values."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from msae_jax import models
from msae_jax.config import ModelConfig
from msae_jax.interop import load_torch, mapping, save_torch, write_tensors
from msae_jax.interop.verification import verify as v
from msae_jax.models import conv
from msae_jax.models.dense import DenseAutoencoder


@pytest.fixture(autouse=True)
def without_pytorch(monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *a: None)


def count(path: Path, model: ModelConfig | None = None) -> tuple[bool, str]:
    certificate = v.verify(path, model)
    holds, description = certificate.facts["parameter count"]
    assert certificate.passed is holds
    return holds, description


PUBLISHED = [name for name in models.names() if models.record(name).parameters is not None]


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_sizes_have_the_published_count(
    name: str, tmp_path: Path, published, random_state_dict
) -> None:
    write_tensors(tmp_path / "a.pth", random_state_dict(published[name]))
    n = f"{models.record(name).parameters:,}"
    assert count(tmp_path / "a.pth") == (True, f"{n} in the file, {n} in the model, {n} published")


def test_values_that_are_not_finite_are_named(tmp_path: Path, published, random_state_dict) -> None:
    tensors = random_state_dict(published["baseline"])
    key = list(tensors)[1]
    tensors[key] = np.full_like(tensors[key], np.nan)
    write_tensors(tmp_path / "a.pth", tensors)
    certificate = v.verify(tmp_path / "a.pth")
    assert not certificate.passed
    assert certificate.facts["finite"] == (False, f"NaN or infinite values in {key}")


def test_default_sizes_that_are_not_the_published_ones_are_caught(
    tmp_path: Path, published, random_state_dict, monkeypatch
) -> None:
    """File and model agree with each other, and both are wrong."""
    narrow = partial(DenseAutoencoder, features=128, hidden=(100,))
    monkeypatch.setitem(
        models._RECORDS, "baseline", replace(models.record("baseline"), factory=narrow)
    )
    entries = mapping.table(models.find_layout("baseline"), narrow())
    write_tensors(tmp_path / "a.pth", random_state_dict({e.key: e.shape for e in entries}))
    words = "38,792 in the file, 38,792 in the model, 49,600 published"
    assert count(tmp_path / "a.pth") == (False, words)


class TrainedMean(nn.Module):
    """A batch norm that takes the running mean for a parameter."""

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        shape, zeros, ones = x.shape[-1:], nn.initializers.zeros, nn.initializers.ones
        mean = self.param("mean", zeros, shape)
        scale, bias = self.param("scale", ones, shape), self.param("bias", zeros, shape)
        self.variable("batch_stats", "var", jnp.ones, shape)
        self.variable("batch_stats", "count", jnp.zeros, (), jnp.int32)
        return (x - mean) * scale + bias


def test_a_statistic_that_the_model_trains_is_caught(
    tmp_path: Path, random_state_dict, monkeypatch
) -> None:
    """Sizes that were not published: keys and shapes fit, and the weights come back."""
    monkeypatch.setattr(conv, "BatchNorm", TrainedMean)
    monkeypatch.setitem(mapping._BATCH_NORM_PARTS, "running_mean", ("params", "mean"))
    model = models.build(ModelConfig("conv", {"channels": [4, 6, 9], "latent_dim": 7}))
    entries = mapping.table(models.find_layout("conv"), model)
    tensors = random_state_dict({e.key: e.shape for e in entries})
    write_tensors(tmp_path / "a.pth", tensors)
    learned = sum(a.size for k, a in tensors.items() if k.endswith((".weight", ".bias")))
    holds, description = count(tmp_path / "a.pth", ModelConfig("conv"))
    assert not holds
    extra = 4 + 6 + 9 + 6 + 4
    assert description == f"{learned:,} in the file, {learned + extra:,} in the model"


def test_values_beyond_float32_are_named(tmp_path: Path, published, random_state_dict) -> None:
    """Finite in the file, and infinite in what is computed."""
    tensors = random_state_dict(published["baseline"], "float64")
    key = list(tensors)[2]
    tensors[key][0] = 1e300
    write_tensors(tmp_path / "a.pth", tensors)
    facts = v.verify(tmp_path / "a.pth").facts
    assert facts["finite"] == (False, f"NaN or infinite values in {key}")


def test_an_old_batch_norm_is_verified_and_said(
    tmp_path: Path, published, random_state_dict
) -> None:
    tensors = random_state_dict(published["conv"])
    counts = [key for key in tensors if key.endswith("num_batches_tracked")]
    for key in counts:
        del tensors[key]
    write_tensors(tmp_path / "a.pth", tensors)
    certificate = v.verify(tmp_path / "a.pth")
    assert certificate.passed
    words = f"all 36 fit; missing and taken as 0, as in PyTorch: {', '.join(counts)}"
    assert certificate.facts["keys and shapes"] == (True, words)


def test_a_certificate_says_which_model_was_assumed(
    tmp_path: Path, published, random_state_dict
) -> None:
    write_tensors(tmp_path / "a.pth", random_state_dict(published["baseline"]))
    assumed = v.verify(tmp_path / "a.pth").subject["assumed"]
    assert "output=identity" in assumed
    assert "holds for that model only" in assumed
    given = ModelConfig("baseline", {"output": "sigmoid"})
    assert "output" not in v.verify(tmp_path / "a.pth", given).subject["assumed"].split("with")[1]
    save_torch(tmp_path / "a.safetensors", load_torch(tmp_path / "a.pth", given))
    assert "assumed" not in v.verify(tmp_path / "a.safetensors").subject  # the file notes it
