"""Images of any size and number of channels, against PyTorch; files of them, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from msae_jax import models
from msae_jax.config import ModelConfig
from msae_jax.interop import load_torch, mapping, save_torch
from msae_jax.interop.verification import verify as v

torch = pytest.importorskip("torch", reason="PyTorch is not installed (the torch extra)")

pytestmark = pytest.mark.usefixtures("one_thread_of_pytorch")

# Odd sides in every combination with 4, and another height than width.
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "conv": ("conv", {"image_shape": [9, 6, 3], "channels": [4, 6, 8], "latent_dim": 8}),
    "superres": ("superres", {
        "image_shape": [13, 6, 3], "channels": [2, 3], "decoder_channels": [3, 2], "hidden": 6,
        "latent_dim": 5}),
    "conv-vae": ("conv-vae", {"image_shape": [7, 10, 3], "channels": [2, 3, 4], "latent_dim": 5}),
    "conv-vae of classes": ("conv-vae", {
        "image_shape": [6, 5, 2], "channels": [2, 3, 4], "latent_dim": 5, "classes": 3}),
    "stacked": ("stacked", {"features": 90, "input_channels": 3, "hidden": [12, 7],
                            "latent_dim": 5}),
    "vae3": ("vae3", {"features": 90, "input_channels": 3, "hidden": [12], "latent_dim": 5}),
}  # fmt: skip
TRAINED = ("conv-vae of classes", "vae3")
"""Of images and of series one whose steps of training are compared quickly; others are slow."""


def saved(config: ModelConfig, folder: Path) -> Path:
    """A file as PyTorch saves it, of a model that has trained a little."""
    torch.manual_seed(0)
    model = models.build(config)
    module = models.reference(config.name, model)
    *size, last = model.sample_shape
    optimizer = torch.optim.Adam(module.parameters())
    for _ in range(3):
        x = torch.rand(16, last, *size)
        optimizer.zero_grad()
        made = module(x)
        target = x if made.target is None else made.target
        torch.nn.functional.mse_loss(made.recon, target).backward()
        optimizer.step()
    torch.save(module.state_dict(), folder / "a.pth")
    return folder / "a.pth"


@pytest.mark.parametrize("case", CASES)
def test_it_computes_the_same_and_goes_back(case: str, tmp_path: Path) -> None:
    """In evaluation mode, each output within 1e-5 of its largest value."""
    name, options = CASES[case]
    config = ModelConfig(name, options)
    path = saved(config, tmp_path)
    loaded = load_torch(path, config)
    module = models.reference(name, loaded.model).eval()
    module.load_state_dict(torch.load(path, weights_only=True), strict=True)
    *size, last = loaded.model.sample_shape
    x = torch.rand(5, last, *size)
    with torch.no_grad():
        theirs = module(x)
    ours = jax.jit(loaded.model.apply)(loaded.variables, np.moveaxis(x.numpy(), 1, -1))
    for part in ("z", "mu", "log_var", "recon"):
        expected = getattr(theirs, part)
        if expected is None:
            assert getattr(ours, part) is None
            continue
        got = np.asarray(getattr(ours, part))
        expected = expected.numpy()
        got = np.moveaxis(got, -1, 1) if got.ndim > 2 else got
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    save_torch(tmp_path / "b.pth", loaded)
    before, after = (torch.load(tmp_path / f"{k}.pth", weights_only=True) for k in "ab")
    assert list(before) == list(after)
    assert all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, marks=() if case in TRAINED else pytest.mark.slow) for case in CASES],
)
def test_it_is_verified(case: str, tmp_path: Path) -> None:
    config = ModelConfig(*CASES[case])
    certificate = v.verify(saved(config, tmp_path), config)
    assert certificate.passed, str(certificate)


def test_sizes_are_read_off_a_file(tmp_path: Path) -> None:
    """But for the sides, which the shapes of weights do not tell."""
    options = {"image_shape": [8, 8, 3], "channels": [2, 3, 4], "latent_dim": 5, "classes": 4}
    loaded = load_torch(saved(ModelConfig("conv-vae", options), tmp_path))
    assert loaded.config.model.name == "conv-vae"
    built = loaded.model
    assert (built.image_shape, built.latent_dim, built.channels, built.classes) == (
        (8, 8, 3), 5, (2, 3, 4), 4,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["stacked", "vae3", "ae5", "baseline-mlp"])
def test_channels_of_an_image_are_in_pytorchs_order(name: str) -> None:
    """The first layer's input 1 is, in PyTorch, the second pixel of the first channel."""
    model = models.build(ModelConfig(name, {"hidden": [4], "latent_dim": 2}), (2, 3, 3))
    assert (model.features, model.input_channels) == (18, 3)
    variables = models.init_variables(model, jax.random.key(0), (2, 3, 3))
    entries = mapping.table(models.find_layout(name), model)
    tensors = mapping.to_state_dict(entries, variables, name)
    first = next(iter(tensors.values()))
    kernel = np.asarray(variables["params"]["encoder"]["linear_0"]["kernel"])
    rows = kernel.reshape(2, 3, 3, -1).transpose(2, 0, 1, 3).reshape(18, -1)
    np.testing.assert_array_equal(first, rows.T)
