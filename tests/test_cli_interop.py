"""convert, verify, replay, and weights of PyTorch in the other commands, as a user runs them."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from msae_jax import cli, models
from msae_jax.config import ModelConfig
from msae_jax.interop import mapping, read_tensors, write_tensors


def msae(*args: str | Path) -> int:
    """Runs a command in this process and returns its exit status."""
    argv = sys.argv
    sys.argv = ["msae", *map(str, args)]
    try:
        return cli.main()
    finally:
        sys.argv = argv


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of a small `baseline`."""
    model = models.build(ModelConfig("baseline", {"hidden": [16], "latent_dim": 4}))
    rng = np.random.default_rng(0)
    tensors = {
        entry.key: rng.uniform(-0.2, 0.2, entry.shape).astype(np.float32)
        for entry in mapping.table(models.find_layout("baseline"), model)
    }
    path = tmp_path_factory.mktemp("weights") / "small.pth"
    write_tensors(path, tensors)
    return path


def test_convert_goes_around(weights: Path, tmp_path: Path, capsys) -> None:
    run, there, back = tmp_path / "run", tmp_path / "a.safetensors", tmp_path / "b.pth"
    assert msae("convert", weights, run) == 0
    assert capsys.readouterr().out.splitlines() == [
        "baseline (hidden=[16], latent_dim=4)",
        str(run),
    ]
    assert msae("convert", run, there) == 0
    assert msae("convert", there, back) == 0
    assert back.read_bytes() == weights.read_bytes()
    assert msae("convert", there, back) == 2
    assert "exists already" in capsys.readouterr().err
    assert msae("convert", there, back, "--overwrite") == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["out.onnx"], "suffix '.onnx'"),
        (
            ["out.pth", "--model", "conv"],
            "as model 'conv', does not fit; missing: encoder.1.weight",
        ),
        (["out.pth", "--set", "latent_dim=4"], "--set needs --model"),
        (["out.pth", "--best"], "--best picks a checkpoint of a run directory"),
    ],
)
def test_a_conversion_that_fails_writes_nothing(
    arguments: list[str], words: str, weights: Path, tmp_path: Path, capsys
) -> None:
    assert msae("convert", weights, tmp_path / arguments[0], *arguments[1:]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert len(error.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_the_other_commands_take_weights_of_pytorch(weights: Path, tmp_path: Path, capsys) -> None:
    x = np.random.default_rng(1).normal(size=(6, 128)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    assert msae("evaluate", weights, "--data", "sines", "--json") == 0
    assert json.loads(capsys.readouterr().out)["model"] == "baseline"
    z, r = tmp_path / "z.npy", tmp_path / "r.npy"
    assert msae("embed", weights, "--input", tmp_path / "x.npy", "--out", z) == 0
    assert msae("reconstruct", weights, "--input", tmp_path / "x.npy", "--out", r) == 0
    state = read_tensors(weights)

    def linear(name: str, a: np.ndarray) -> np.ndarray:
        return a @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    latents = linear("encoder.2", np.maximum(linear("encoder.0", x), 0))
    np.testing.assert_allclose(np.load(z), latents, atol=1e-5)
    recon = linear("decoder.2", np.maximum(linear("decoder.0", latents), 0))
    np.testing.assert_allclose(np.load(r), recon, atol=1e-5)
    assert msae("evaluate", weights, "--data", "sines", "--model", "conv") == 2
    assert msae("evaluate", weights, "--best") == 2


def test_verify_without_pytorch_verifies_what_can_be(
    weights: Path, tmp_path: Path, capsys, monkeypatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name, *a: None if name == "torch" else find(name, *a)
    )
    out = tmp_path / "certificate.json"
    assert msae("verify", weights, "--json", out) == 0
    printed = capsys.readouterr().out
    assert "PyTorch: not installed: outputs, gradients and training are not verified" in printed
    assert printed.splitlines()[-1] == "verified as far as can be without PyTorch"
    found = json.loads(out.read_text())
    assert found["passed"] is True
    assert found["checks"] == []
    assert found["sizes"] == {"hidden": [16], "latent_dim": 4}
    assert set(found["facts"]) == {"keys and shapes", "parameter count", "round trip", "finite"}
    assert msae("verify", weights, "--json", out) == 2
    assert "exists" in capsys.readouterr().err


def test_a_broken_mapping_is_exit_status_1(
    weights: Path, tmp_path: Path, capsys, monkeypatch
) -> None:
    """Without PyTorch: weights that do not come back are not verified."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *a: None)
    monkeypatch.setattr(mapping.Entry, "to_torch", lambda entry, a: np.zeros(entry.shape, a.dtype))
    assert msae("verify", weights, "--json", tmp_path / "c.json") == 1
    assert "FAIL  round trip" in capsys.readouterr().out
    assert json.loads((tmp_path / "c.json").read_text())["passed"] is False


def test_verify_with_pytorch_compares_everything(weights: Path, capsys) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed (the torch extra)")
    assert msae("verify", weights, "--data", "sines") == 0
    printed = capsys.readouterr().out
    for part in ("layers, evaluation", "gradients", "second moments after 10 steps"):
        assert f"\n{part}, " in printed
    assert "first layer that diverges" not in printed


def test_replay_of_what_is_not_recorded(capsys) -> None:
    assert msae("replay", "mnist") == 2
    assert "unknown replay 'mnist'" in capsys.readouterr().err
