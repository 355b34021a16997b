"""Certificates: that agreement is found, and that each kind of broken mapping is."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import flax.linen as nn
import jax
import numpy as np
import pytest

from msae_jax import models
from msae_jax.config import ModelConfig
from msae_jax.data import Dataset
from msae_jax.errors import InputError
from msae_jax.interop import load_torch, mapping, save_torch, write_tensors
from msae_jax.interop.verification import verify as v
from msae_jax.interop.verification.certificate import Check
from msae_jax.interop.verification.comparison import compare as compare_traces
from msae_jax.models import conv
from msae_jax.models.layers import BatchNorm, Linear
from msae_jax.models.layout import Layer, Layout
from msae_jax.models.output import Output, finish

torch = pytest.importorskip("torch", reason="PyTorch is not installed (the torch extra)")

from msae_jax.models import torch_reference  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread_of_pytorch")

# Small enough to compile quickly; square where a transposition would else be seen by its shape.
SIZES = {
    "msae": {"channels": [4, 6], "hidden": 12, "latent_dim": 9},
    "baseline": {"hidden": [128], "latent_dim": 128},
    "msae-mlp": {"small_hidden": 16, "large_hidden": 20, "latent_dim": 12},
    "baseline-mlp": {"hidden": [20], "latent_dim": 8},
    "superres": {"channels": [4, 6], "decoder_channels": [5, 3], "hidden": 16, "latent_dim": 8},
    "conv": {"channels": [4, 6, 8], "latent_dim": 8},
    "stacked": {"hidden": [32, 16], "latent_dim": 8},
    "vae3": {"hidden": [24], "latent_dim": 6},
    "vae5": {"hidden": [24, 16], "latent_dim": 6},
    "ae5": {"hidden": [24, 16], "latent_dim": 6},
}
# Of series, and published by nobody; three channels have another order in PyTorch.
SERIES = {
    "pyramid": {
        "features": 90, "input_channels": 3, "pools": [7, 4, 1], "hidden": 12, "latent_dim": 7,
    },
    "pyramid-vae": {
        "features": 90, "input_channels": 3, "pools": [7, 4, 1], "hidden": 12, "latent_dim": 7,
    },
    "lgta": {"features": 30, "input_channels": 3, "step_dim": 2, "hidden": 4},
    "pca": {"features": 90, "input_channels": 3, "latent_dim": 7},
    "pyramid-flat": {"features": 24, "level": "conv", "channels": [4, 6], "latent_dim": 5},
}  # fmt: skip
CHANNELS = {
    "msae": {"signal_length": 24, "input_channels": 3, "channels": [4, 6], "hidden": 12,
             "latent_dim": 9, "pooled": [6, 3]},
    "baseline": {"features": 90, "input_channels": 3, "hidden": [12], "latent_dim": 8},
}  # fmt: skip
ALL = SIZES | SERIES
QUICK = ("baseline", "vae3", "pyramid")
"""Of each kind of samples and latents one that compiles quickly; the sweep is slow."""


def swept(names):
    marked = [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in names]
    return pytest.mark.parametrize("name", marked)


def saved(name: str, folder: Path, seed: int = 0) -> Path:
    """A file as PyTorch saves it, of a model that has trained a little, so that nothing is 0 or 1
    that later is not."""
    torch.manual_seed(seed)
    model = models.build(ModelConfig(name, ALL[name]))
    module = models.reference(name, model)
    *size, last = model.sample_shape
    shape = (last, *size)  # channels first
    optimizer = torch.optim.Adam(module.parameters())
    for _ in range(3):
        x = torch.rand(16, *shape)
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(module(x).recon, x).backward()
        optimizer.step()
    torch.save(module.state_dict(), folder / f"{name}.pth")
    return folder / f"{name}.pth"


@pytest.mark.parametrize("name", SIZES)
def test_our_modules_have_the_published_keys(name: str, published) -> None:
    state = models.reference(name, models.build(ModelConfig(name))).state_dict()
    assert [(k, tuple(t.shape)) for k, t in state.items()] == list(published[name].items())


@pytest.mark.parametrize("name", SIZES)
def test_pytorch_computes_the_same_after_a_round_trip(name: str, tmp_path: Path) -> None:
    """PyTorch -> JAX -> .pth -> PyTorch, published sizes: outputs equal, bit for bit."""
    model = models.build(ModelConfig(name))
    module, again = models.reference(name, model), models.reference(name, model)
    image = len(model.sample_shape) == 3
    x = torch.rand(4, *((1, *model.sample_shape[:2]) if image else model.sample_shape))
    module.train()(x)  # moves the running statistics
    torch.save(module.state_dict(), tmp_path / "a.pth")
    save_torch(tmp_path / "b.pth", load_torch(tmp_path / "a.pth"))
    state = torch.load(tmp_path / "b.pth", weights_only=True)
    again.load_state_dict(state, strict=True)
    before = module.state_dict()
    assert list(state) == list(before)
    assert [t.dtype for t in state.values()] == [t.dtype for t in before.values()]
    with torch.no_grad():
        for a, b in zip(module.eval()(x), again.eval()(x), strict=True):
            assert a is b or torch.equal(a, b)


@swept(CHANNELS)
def test_series_of_channels_are_verified(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ALL, name, CHANNELS[name])
    certificate = v.verify(saved(name, tmp_path), ModelConfig(name, CHANNELS[name]))
    assert certificate.passed, str(certificate)


ACTIVATED = {
    "baseline-mlp": {"activation": "leaky_relu", "output": "tanh", "rectify_latent": True},
    "ae5": {"activation": "tanh", "output": "sigmoid"},
    "vae3": {"activation": "gelu", "output": "sigmoid"},
    "msae": {"activation": "elu", "output": "identity"},
    "conv": {"activation": "sigmoid", "output": "leaky_relu"},
}  # fmt: skip


@pytest.mark.usefixtures("quick_to_compile")
@swept(ACTIVATED)
def test_other_activations_are_verified_where_they_are_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ALL[name] | ACTIVATED[name]
    monkeypatch.setitem(ALL, name, options)
    path = saved(name, tmp_path)
    certificate = v.verify(path, ModelConfig(name, options))
    assert certificate.passed, str(certificate)
    monkeypatch.setattr(v, "against_torch", lambda *_: ([], [[0]]))  # what is assumed hangs on none
    assumed = v.verify(path, ModelConfig(name)).subject["assumed"]
    assert "activation=relu" in assumed


@swept(ALL)
def test_every_model_is_verified(name: str, tmp_path: Path) -> None:
    given = ModelConfig(name, SERIES.get(name, {}))
    certificate = v.verify(saved(name, tmp_path), given)
    assert certificate.passed, str(certificate)
    assert certificate.first_divergence is None
    worst: dict[str, float] = {}
    for check in certificate.checks:
        worst[check.part] = max(worst.get(check.part, 0.0), check.error)
    assert worst["outputs"] <= 1e-5
    assert worst["batch statistics after 1 step" if name == "conv" else "outputs"] <= 1e-5
    layers = {c.name for c in certificate.checks if c.part == "layers, evaluation"}
    layout = models.find_layout(name).layers(models.build(ModelConfig(name, ALL[name])))
    assert layers == {f"{side} of {la.torch}" for la in layout for side in ("input", "output")}
    parameters = torch.load(tmp_path / f"{name}.pth", weights_only=True)
    learned = {k for k in parameters if "running" not in k and "num_batches" not in k}
    assert {c.name for c in certificate.checks if c.part == "gradients"} == learned
    for part in ("parameters", "first moments", "second moments"):
        for steps in ("1 step", "10 steps"):
            found = {c.name for c in certificate.checks if c.part == f"{part} after {steps}"}
            assert found == learned


@pytest.mark.parametrize(
    ("part", "times", "compared", "passed"),
    [
        ("parameters after 10 steps", 1, 2, True),  # where rounding parts them once
        ("second moments after 10 steps", 3, 3, False),
        ("gradients", 1, 1, False),
    ],
)
def test_only_later_steps_are_taken_on_other_batches(
    part: str, times: int, compared: int, passed: bool, tmp_path: Path, monkeypatch
) -> None:
    seen = []

    def compare(*traces) -> list[Check]:
        seen.append(traces)
        checks = compare_traces(*traces)
        fail = len(seen) <= times
        return [replace(c, passed=c.passed and not (fail and c.part == part)) for c in checks]

    monkeypatch.setattr(v, "compare", compare)
    found = v.verify(saved("baseline", tmp_path), "baseline")
    assert (len(seen), found.passed) == (compared, passed)
    assert ("choice" in found.conditions["data"]) == (compared == 2)
    first, *others = (exact for _, _, exact, _ in seen)
    for other in others:  # the same first batch, others after it
        np.testing.assert_array_equal(other.outputs["recon"], first.outputs["recon"])
        assert other.losses[1] != first.losses[1]


def failing(path: Path, name: str) -> tuple[str | None, set[str]]:
    certificate = v.verify(path, name)
    assert not certificate.passed
    assert "NOT VERIFIED" in str(certificate)
    parts = {check.part for check in certificate.checks if not check.passed}
    return certificate.first_divergence, parts


def test_a_transposed_square_kernel_is_caught(tmp_path: Path, monkeypatch) -> None:
    path = saved("baseline", tmp_path)
    monkeypatch.setattr(mapping, "_axes", lambda layer, ndim: tuple(range(ndim)))
    first, parts = failing(path, "baseline")
    assert first == "output of encoder.0 (layers, evaluation)"
    assert {"outputs", "loss", "gradients"} <= parts


@pytest.mark.slow
def test_a_flipped_transposed_convolution_is_caught(tmp_path: Path, monkeypatch) -> None:
    path = saved("superres", tmp_path)
    to_flax, to_torch = mapping.Entry.to_flax, mapping.Entry.to_torch

    def flip(entry: mapping.Entry, array: np.ndarray) -> np.ndarray:
        return array[::-1, ::-1] if entry.path[1:] == ("up_1", "kernel") else array

    monkeypatch.setattr(mapping.Entry, "to_flax", lambda e, a: flip(e, to_flax(e, a)).copy())
    monkeypatch.setattr(mapping.Entry, "to_torch", lambda e, a: to_torch(e, flip(e, a)))
    assert failing(path, "superres")[0] == "output of decoder.7 (layers, evaluation)"


def test_a_wrong_flatten_order_is_caught(tmp_path: Path, monkeypatch) -> None:
    """Both sides of the latent: what the encoder flattens, and what the decoder starts from."""
    path = saved("superres", tmp_path)
    record = models.record("superres")
    assert record.layout is not None
    layers, sizes = record.layout
    for field, first in (
        ("flatten_in", "input of encoder.5"),
        ("flatten_out", "input of decoder.5"),
    ):
        broken = Layout(
            lambda m, field=field: tuple(la._replace(**{field: None}) for la in layers(m)),
            sizes,
        )
        monkeypatch.setitem(models._RECORDS, "superres", replace(record, layout=broken))
        assert failing(path, "superres")[0] == f"{first} (layers, evaluation)"


class BiasedVariance(BatchNorm):
    """Tracks the biased variance, as `flax.linen.BatchNorm` does."""

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        old = self.get_variable("batch_stats", "var")
        y = super().__call__(x, train=train)
        if train and not self.is_initializing():
            n = x.size // x.shape[-1]
            kept = (1 - self.momentum) * old
            new = kept + (self.get_variable("batch_stats", "var") - kept) * ((n - 1) / n)
            self.put_variable("batch_stats", "var", new)
        return y


@pytest.mark.parametrize(
    ("norm", "size", "parts"),
    [
        pytest.param(
            BiasedVariance, 5, {"batch statistics after 1 step, relative"}, id="biased variance"
        ),
        pytest.param(
            partial(BatchNorm, epsilon=1e-6),
            6,
            {"layers, training", "gradients"},
            id="eps 1e-6",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            partial(BatchNorm, momentum=0.11),
            7,
            {"batch statistics after 1 step"},
            id="momentum 0.11",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_wrong_batch_norm_is_caught(
    norm, size: int, parts: set[str], tmp_path: Path, monkeypatch
) -> None:
    # A size of its own, as programs of equal models are found again, whatever they were made of.
    monkeypatch.setitem(ALL, "conv", SIZES["conv"] | {"latent_dim": size})
    path = saved("conv", tmp_path)
    monkeypatch.setattr(conv, "BatchNorm", norm)
    assert parts <= failing(path, "conv")[1]


def test_swapped_heads_are_caught(tmp_path: Path, monkeypatch) -> None:
    path = saved("vae3", tmp_path)
    record = models.record("vae3")
    assert record.layout is not None
    layers, other = record.layout.layers, {"mu": "log_var", "log_var": "mu"}
    layout = record.layout._replace(
        layers=lambda m: tuple(la._replace(flax=other.get(la.flax, la.flax)) for la in layers(m))
    )
    monkeypatch.setitem(models._RECORDS, "vae3", replace(record, layout=layout))
    # The heads have one shape: that the two layers' own outputs agree hides nothing.
    assert "outputs" in failing(path, "vae3")[1]


class Own(nn.Module):
    """A user's own model, with its layout."""

    latent_dim: int = 4
    sample_shape = (10,)
    torch_layout = Layout(lambda model: (Layer("down", "down"), Layer("up", "up")))

    def setup(self) -> None:
        self.down, self.up = Linear(self.latent_dim), Linear(10)

    def encode(self, x: jax.Array) -> jax.Array:
        return self.down(x)

    def decode(self, z: jax.Array) -> jax.Array:
        return self.up(z)

    def __call__(
        self, x: jax.Array, *, key: jax.Array | None = None, train: bool = False
    ) -> Output:
        z = self.encode(x)
        return finish(x, z, self.decode(z), "identity")


class OwnTorch(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = torch.nn.Linear(10, 4), torch.nn.Linear(4, 10)

    def forward(self, x, eps=None):
        z = self.down(x)
        return torch_reference.Result(self.up(z), z)


def test_a_users_model_is_verified_against_a_users_module(tmp_path: Path) -> None:
    module = OwnTorch()
    torch.save(module.state_dict(), tmp_path / "own.pth")
    models.register("own", Own, Own.torch_layout)
    try:
        certificate = v.verify(tmp_path / "own.pth", "own", reference=OwnTorch())
        assert certificate.passed, str(certificate)
        assert certificate.conditions["data"].startswith("uniform noise")
        with pytest.raises(InputError, match="no PyTorch reference module"):
            v.verify(tmp_path / "own.pth", "own")
    finally:
        del models._RECORDS["own"]


def test_data_that_do_not_fit_are_refused(tmp_path: Path, signals: Dataset) -> None:
    with pytest.raises(InputError, match=r"reads samples of shape \[784\], sines has \[128\]"):
        v.verify(saved("stacked", tmp_path), "stacked", data_name="sines")


@pytest.mark.parametrize("file", ["baseae.pth", pytest.param("msae.pth", marks=pytest.mark.slow)])
def test_published_files_are_verified(file: str, reference) -> None:
    certificate = v.verify(reference(file))
    assert certificate.passed, str(certificate)
    assert certificate.facts["recorded figure"][0]


def test_a_file_beyond_float32_is_verified_in_float32(tmp_path: Path) -> None:
    path = saved("baseline", tmp_path)
    state = torch.load(path, weights_only=True)
    torch.save({k: t.double() for k, t in state.items()}, tmp_path / "double.pth")
    assert v.verify(tmp_path / "double.pth", "baseline").passed
    tensors = {k: t.numpy() for k, t in state.items()}
    write_tensors(tmp_path / "nan.pth", tensors | {"encoder.0.bias": np.full(128, np.nan, "f4")})
    assert not v.verify(tmp_path / "nan.pth", "baseline").passed
