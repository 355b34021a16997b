"""Adam's moments from a checkpoint of PyTorch: training goes on as it would have there."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import msae_jax as mj
from msae_jax import models, train, weights
from msae_jax.config import ModelConfig
from msae_jax.interop import optimizer_state
from msae_jax.interop.torch_files import load_torch, save_torch
from msae_jax.runs import directory

torch = pytest.importorskip("torch", reason="PyTorch is not installed (the torch extra)")

CONFIG = ModelConfig("baseline", {"features": 12, "hidden": [8], "latent_dim": 4})
RATE = 3e-3


def step(module, optimizer, x) -> None:
    optimizer.zero_grad()
    torch.nn.functional.mse_loss(module(x).recon, x).backward()
    optimizer.step()


def trained(folder, **settings):
    """A PyTorch module after five steps of Adam, its optimizer, and the file of both."""
    torch.manual_seed(0)
    module = models.reference("baseline", models.build(CONFIG))
    optimizer = torch.optim.Adam(module.parameters(), **{"lr": RATE, **settings})
    for _ in range(5):
        step(module, optimizer, torch.rand(16, 12))
    saved = {"net": module.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 1}
    torch.save(saved, folder / "a.pth")
    return module, optimizer, folder / "a.pth"


def test_the_next_step_is_that_of_torch(tmp_path) -> None:
    module, optimizer, path = trained(tmp_path)
    loaded, adam = optimizer_state.taken_over(path, None, load_torch(path, CONFIG))
    assert loaded.config.optimizer.learning_rate == RATE
    rule = train.optimizer_of(loaded.config, 1)
    params = loaded.variables["params"]
    fresh = jax.tree.map(lambda a: jnp.asarray(a)[None], rule.init(params))
    state = jax.tree.map(lambda a: a[0], optimizer_state.into(fresh, adam))
    x = torch.rand(16, 12)

    def loss(params):
        out = loaded.model.apply({"params": params}, jnp.asarray(x.numpy()))
        return jnp.square(out.recon - x.numpy()).mean()

    updates, _ = rule.update(jax.grad(loss)(params), state, params)
    ours = optax.apply_updates(params, updates)
    step(module, optimizer, x)
    torch.save(module.state_dict(), tmp_path / "next.pth")
    theirs = load_torch(tmp_path / "next.pth", CONFIG).variables["params"]
    for a, b, before in zip(*map(jax.tree.leaves, (ours, theirs, params)), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-7)
        assert not np.allclose(b, before, rtol=0, atol=1e-4)


def test_a_converted_run_goes_on_from_them(tmp_path, signals) -> None:
    """One epoch: a run with moments and another rate differs from one without."""
    settings = mj.recipe("baseline")
    module = models.reference("baseline", models.build(settings.model))
    optimizer = torch.optim.Adam(module.parameters(), lr=RATE)
    for _ in range(3):
        step(module, optimizer, torch.rand(16, 128))
    both = {"net": module.state_dict(), "optimizer": optimizer.state_dict()}
    torch.save(both, tmp_path / "a.pth")
    torch.save(module.state_dict(), tmp_path / "b.pth")
    found = {}
    for name in "ab":
        weights.convert(tmp_path / f"{name}.pth", tmp_path / name)
        kept = directory.read_config(tmp_path / name)
        usual = settings.optimizer.learning_rate
        assert kept.optimizer.learning_rate == (RATE if name == "a" else usual)
        one_epoch = mj.config.override(kept, {"epochs": 1})
        run = mj.fit(one_epoch, signals, resume=True, out=tmp_path / name)
        found[name] = run.history[-1]["train_loss"]
    assert found["a"] != found["b"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"amsgrad": True}, "amsgrad is True"), ({"betas": (0.5, 0.9)}, r"betas is \(0.5, 0.9\)")],
)
def test_what_cannot_be_taken_over_is_said(tmp_path, settings, words) -> None:
    path = trained(tmp_path, **settings)[2]
    with pytest.warns(UserWarning, match=f"optimizer's state is not used: its {words}"):
        adam = optimizer_state.taken_over(path, None, load_torch(path, CONFIG))[1]
    assert adam is None


def test_moments_of_another_optimizer_are_left(tmp_path) -> None:
    module = models.reference("baseline", models.build(CONFIG))
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    step(module, optimizer, torch.rand(16, 12))
    saved = {"net": module.state_dict(), "optimizer": optimizer.state_dict()}
    torch.save(saved, tmp_path / "a.pth")
    with pytest.warns(UserWarning, match="only those of Adam can be taken over"):
        optimizer_state.taken_over(tmp_path / "a.pth", None, load_torch(tmp_path / "a.pth", CONFIG))


def test_files_without_an_optimizer_start_afresh(tmp_path) -> None:
    path = trained(tmp_path)[2]
    save_torch(tmp_path / "b.safetensors", load_torch(path, CONFIG))
    torch.save(torch.load(path, weights_only=True)["net"], tmp_path / "c.pth")
    for name in ("b.safetensors", "c.pth"):
        loaded = load_torch(tmp_path / name, CONFIG)
        assert optimizer_state.taken_over(tmp_path / name, None, loaded) == (loaded, None)
