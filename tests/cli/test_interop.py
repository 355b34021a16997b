"""convert, verify, replay, and weights of PyTorch in the other commands, as a user runs them."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from msae_jax import models
from msae_jax.config import ModelConfig
from msae_jax.interop import mapping, read_tensors, write_tensors
from tests.cli.in_process import msae


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


def test_an_evaluation_worse_than_the_mean_sample_says_so(weights, tmp_path, capsys) -> None:
    x = np.random.default_rng(1).normal(5, 0.1, (50, 128)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    assert msae("evaluate", weights, "--data", tmp_path / "x.npy") == 0
    error = capsys.readouterr().err
    assert "is worse than that of the mean sample, 0.0" in error
    assert "activations or output of the model (--set)" in error


def test_a_state_dict_of_several_is_picked(weights: Path, tmp_path: Path, capsys) -> None:
    """The file is that of tests/interop/test_pth_reading.py, with the arrays of a model."""
    pytest.importorskip("torch", reason="PyTorch is not installed (the torch extra)")
    import torch

    state = torch.load(weights, weights_only=True)
    torch.save({"generator": state, "ema": state, "epoch": 3}, tmp_path / "two.pth.tar")
    assert msae("convert", tmp_path / "two.pth.tar", tmp_path / "a.pth") == 2
    assert "several state dicts: generator (8 tensors), ema (8 tensors)" in capsys.readouterr().err
    arguments = ("convert", tmp_path / "two.pth.tar", tmp_path / "a.pth", "--key", "ema")
    assert msae(*arguments) == 0
    assert (tmp_path / "a.pth").read_bytes() == weights.read_bytes()


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


@pytest.mark.slow
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


def linear(state: dict[str, np.ndarray], name: str, x: np.ndarray) -> np.ndarray:
    return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def test_what_was_assumed_is_said_and_can_be_set(weights: Path, tmp_path: Path, capsys) -> None:
    """Of a decoder that ends in a sigmoid, whose shapes are those of one that does not."""
    x = np.random.default_rng(1).normal(size=(6, 128)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    files = "--input", tmp_path / "x.npy", "--out", tmp_path / "r.npy", "--overwrite"
    assert msae("reconstruct", weights, *files) == 0
    [note] = capsys.readouterr().err.splitlines()
    assert note.startswith(f"msae: note: {weights}: taken as model 'baseline' with ")
    assert "output=identity" in note
    assert "activation=relu" in note
    assert "--model baseline --set FIELD=VALUE" in note
    assert (
        msae("reconstruct", weights, *files, "--model", "baseline", "--set", "output=sigmoid") == 0
    )
    assert "output" not in capsys.readouterr().err.split("with")[1].split(",")[0]
    state = read_tensors(weights)
    latents = linear(state, "encoder.2", np.maximum(linear(state, "encoder.0", x), 0))
    logits = linear(state, "decoder.2", np.maximum(linear(state, "decoder.0", latents), 0))
    np.testing.assert_allclose(np.load(tmp_path / "r.npy"), 1 / (1 + np.exp(-logits)), atol=1e-5)
    assert msae("embed", weights, *files, "--set", "output=sigmoid") == 2
    assert "--set needs --model" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("dtype", "value"), [("float32", np.nan), ("float32", -np.inf), ("float64", 1e300)]
)
def test_weights_that_are_no_numbers_are_refused(
    dtype: str, value: float, weights: Path, tmp_path: Path, capsys
) -> None:
    tensors = {key: array.astype(dtype) for key, array in read_tensors(weights).items()}
    tensors["decoder.0.bias"][1] = value
    write_tensors(tmp_path / "bad.pth", tensors)
    np.save(tmp_path / "x.npy", np.zeros((2, 128), np.float32))
    files = "--input", tmp_path / "x.npy", "--out", tmp_path / "z.npy"
    for command in (["embed", *files], ["reconstruct", *files], ["evaluate", "--data", "sines"]):
        assert msae(command[0], tmp_path / "bad.pth", *command[1:]) == 2
        [error] = capsys.readouterr().err.splitlines()
        assert "values that are NaN, infinite or beyond float32 in decoder.0.bias:" in error
    assert not (tmp_path / "z.npy").exists()
    assert msae("convert", tmp_path / "bad.pth", tmp_path / "run") == 0  # bit for bit
    capsys.readouterr()
    assert msae("evaluate", tmp_path / "run", "--data", "sines") == 2
    assert "float32 in params/decoder/linear_0/bias:" in capsys.readouterr().err


def test_results_that_are_no_numbers_are_null_and_counted(
    weights: Path, tmp_path: Path, capsys
) -> None:
    x = np.zeros((30, 128), np.float32)
    x[[2, 5]] = 3e38  # squared, and summed, beyond float32
    np.save(tmp_path / "x.npy", x)
    out = tmp_path / "z.npy"
    assert msae("embed", weights, "--input", tmp_path / "x.npy", "--out", out) == 0
    bad = int((~np.isfinite(np.load(out))).any(axis=1).sum())
    assert bad == 2
    assert "msae: warning: 2 of 30 rows are not finite" in capsys.readouterr().err.splitlines()
    arguments = "--data", tmp_path / "x.npy", "--split", "train", "--json"
    assert msae("evaluate", weights, *arguments) == 0
    found = json.loads(capsys.readouterr().out, parse_constant=lambda name: pytest.fail(name))
    assert found["mse"] is None


def test_images_of_several_channels_are_refused_where_the_order_is_unknown(
    tmp_path: Path, capsys
) -> None:
    """PyTorch's Flatten makes (C, H, W) of them; the result is that of the same weights there."""
    rng = np.random.default_rng(0)
    sizes = {"encoder.1": (5, 48), "encoder.3": (4, 5), "decoder.0": (5, 4), "decoder.2": (48, 5)}
    state = {
        f"{name}.{part}": rng.normal(size=shape[:axes], scale=0.2).astype(np.float32)
        for name, shape in sizes.items()
        for part, axes in (("weight", 2), ("bias", 1))
    }
    write_tensors(tmp_path / "rgb.pth", state)
    images = rng.random((8, 4, 4, 3), np.float32)
    np.save(tmp_path / "last.npy", images)
    np.save(tmp_path / "first.npy", images.transpose(0, 3, 1, 2))
    out = tmp_path / "z.npy"
    for command in ("embed", "reconstruct"):
        assert (
            msae(command, tmp_path / "rgb.pth", "--input", tmp_path / "last.npy", "--out", out) == 2
        )
        assert "x.transpose(0, 3, 1, 2)" in capsys.readouterr().err
    assert msae("evaluate", tmp_path / "rgb.pth", "--data", tmp_path / "last.npy") == 2
    assert not out.exists()
    assert msae("embed", tmp_path / "rgb.pth", "--input", tmp_path / "first.npy", "--out", out) == 0
    flat = images.transpose(0, 3, 1, 2).reshape(8, 48)
    hidden = np.maximum(linear(state, "encoder.1", flat), 0)
    np.testing.assert_allclose(np.load(out), linear(state, "encoder.3", hidden), atol=1e-6)
