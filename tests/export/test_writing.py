"""`msae export`: the file, its certificate, and what is refused."""

from __future__ import annotations

import hashlib
import json
from importlib.util import find_spec
from pathlib import Path

import jax
import numpy as np
import pytest

import msae_jax as mj
from msae_jax import models
from msae_jax.config import ModelConfig, TrainConfig
from msae_jax.data.facts import Facts
from msae_jax.export import onnx_format, stablehlo_format, writing
from msae_jax.export.certificate import BatchCheck, ExportCertificate, compared
from msae_jax.weights import Weights
from tests.cli.in_process import msae
from tests.interop import pt2_by_hand as by_hand

ROOT = Path(__file__).parents[2]
WEIGHTS = ROOT / "checkpoints" / "baseline.safetensors"
needs_onnx = pytest.mark.skipif(
    not all(map(find_spec, ("onnx", "onnxruntime"))),
    reason="the extra export is not installed",
)


@needs_onnx
def test_a_file_and_its_certificate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import onnx
    import onnxruntime

    out = tmp_path / "new" / "decoder.onnx"
    assert msae("export", WEIGHTS, "--part", "decode", "--out", out) == 0
    printed = capsys.readouterr().out
    assert "verified" in printed
    assert "latents, as encode gives them" in printed
    found = json.loads((tmp_path / "new" / "decoder.onnx.json").read_text())
    assert found["passed"] is True
    assert found["sha256"] == hashlib.sha256(out.read_bytes()).hexdigest()
    assert (found["model"], found["part"], found["format"]) == ("baseline", "decode", "onnx")
    assert found["input"]["shape"] == ["batch", 64]
    assert found["output"] == {"dtype": "float32", "shape": ["batch", 128]}
    assert [check["batch"] for check in found["checks"]] == [1, 7]
    assert found["conditions"]["data"].startswith("latents of sines")
    assert found["conditions"]["versions"]["onnxruntime"] == onnxruntime.__version__
    loaded = mj.load_weights(WEIGHTS)
    z = np.random.default_rng(0).standard_normal((5, 64), np.float32)
    expected = loaded.model.apply(loaded.variables, z, method="decode")
    got = onnxruntime.InferenceSession(out).run(None, {"input": z})[0]
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
    held = onnx.load(out)
    assert held.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert {p.key: p.value for p in held.metadata_props}["part"] == "decode"


def test_stablehlo_needs_no_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from jax import export as jax_export

    monkeypatch.setattr(onnx_format, "_is_installed", lambda name: False)
    out, beside = tmp_path / "encoder", tmp_path / "certificate.json"
    more = ["--format", "stablehlo", "--json", beside]
    assert msae("export", WEIGHTS, "--part", "encode", "--out", out, *more) == 0
    found = json.loads(beside.read_text())
    assert found["passed"] is True
    assert found["conditions"]["versions"]["platforms"] == ["cpu", "cuda", "tpu"]
    loaded = mj.load_weights(WEIGHTS)
    x = mj.data.load("sines").test.x[:3]
    got = jax_export.deserialize(bytearray(out.read_bytes())).call(x)
    expected = mj.embed(loaded.model, loaded.variables, x)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


def test_what_is_missing_is_said_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(onnx_format, "_is_installed", lambda name: False)
    given = ["--part", "decode", "--out", tmp_path / "a.onnx"]
    assert msae("export", WEIGHTS, *given) == 2
    said = capsys.readouterr().err
    assert "ONNX needs onnx and onnxruntime, not installed: pip install 'msae-jax[export]'" in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--part", "decode", "--out", "a.bin"], "a.bin does not tell the format: --format onnx"),
        (
            ["--part", "decode", "--out", "a", "--format", "tflite"],
            "--format is onnx or stablehlo, got 'tflite'",
        ),
        (["--part", "decoder", "--out", "a.stablehlo"], "unknown part 'decoder'. Did you mean"),
        (["--part", "decode", "--out", "there.onnx"], "there.onnx exists: choose another"),
        (
            ["--part", "decode", "--out", "a.onnx", "--json", "a.onnx"],
            "the certificate cannot be the exported file",
        ),
        (
            ["--part", "decode", "--out", "a.stablehlo", "--json", "there.onnx"],
            "there.onnx exists: choose another",
        ),
    ],
)
def test_bad_input_is_one_line(
    given: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there.onnx").write_text("kept")
    assert msae("export", WEIGHTS, *given) == 2
    assert message in capsys.readouterr().err
    assert [path.read_text() for path in tmp_path.iterdir()] == ["kept"]


def test_no_file_is_left_without_its_certificate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("kept")
    for beside in ("/proc/a.json", tmp_path / "file" / "a.json"):
        given = ["--part", "decode", "--out", tmp_path / "a.stablehlo", "--json", beside]
        assert msae("export", WEIGHTS, *given) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "cannot be written" in line
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_file_that_differs_is_kept_and_its_certificate_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened = writing.FORMATS["stablehlo"].opened

    def off(file: bytes):
        run = opened(file)
        return lambda x: run(x) * np.float32(1 + 3e-5)

    monkeypatch.setattr(writing.FORMATS["stablehlo"], "opened", off)
    out = tmp_path / "a.stablehlo"
    assert msae("export", WEIGHTS, "--part", "encode", "--out", out) == 1
    assert "NOT VERIFIED" in capsys.readouterr().out
    found = json.loads((tmp_path / "a.stablehlo.json").read_text())
    assert found["passed"] is False
    assert found["largest_relative_error"] == pytest.approx(3e-5, rel=0.05)
    assert out.stat().st_size == found["bytes"]


def test_a_program_of_pytorch_leaves_for_any_batch_size(tmp_path: Path) -> None:
    program = tmp_path / "model.pt2"
    program.write_bytes(by_hand.written(by_hand.members()))
    x, z = (np.random.default_rng(0).normal(size=(5, n)).astype(np.float32) for n in (4, 3))
    encoded = x @ by_hand.WEIGHT.T + by_hand.BIAS
    decoded, whole = (np.maximum(h, 0) @ by_hand.WEIGHT + by_hand.CONSTANT for h in (z, encoded))
    wanted = {"encode": (x, encoded), "decode": (z, decoded), "reconstruct": (x, whole)}
    for part, (given, expected) in wanted.items():
        out = tmp_path / f"{part}.stablehlo"
        assert msae("export", program, "--part", part, "--out", out) == 0
        got = stablehlo_format.opened(out.read_bytes())(given)
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_weights_of_a_series_say_what_their_windows_are(tmp_path: Path) -> None:
    scaling = {"kind": "robust", "center": [5000.0, 0.1], "width": [300.0, 0.5]}
    series = {"channels": ["a", "b"], "scaling": scaling, "window": 16, "stride": 1}
    facts = Facts("float32", (16, 2), -1.0, 1.0, 9, 9, "", series)
    settings = ModelConfig("pca", {"features": 32, "input_channels": 2, "latent_dim": 3})
    model = models.build(settings)
    variables = models.init_variables(model, jax.random.key(0), (16, 2))
    weights = Weights(model, dict(variables), TrainConfig(settings), facts)
    found = writing.export(weights, "reconstruct", tmp_path / "a.stablehlo").to_dict()
    said = (
        "windows of 16 points of the series, channels a, b, scaled as the run scaled them (robust)"
    )
    assert found["input"] == {"dtype": "float32", "shape": ["batch", 16, 2], "units": said}
    assert found["series"] == series
    assert found["conditions"]["data"] == "uniform noise, the first 7"
    assert found == json.loads((tmp_path / "a.stablehlo.json").read_text())


def test_errors_are_relative_to_the_largest_value() -> None:
    expected = np.array([[0.0, -4.0], [1e-9, 2.0]], np.float32)
    got = expected + np.array([[0, 0], [4e-5, 0]], np.float32)
    check = compared(2, got, expected)
    assert check.relative == pytest.approx(1e-5, rel=1e-3)
    assert check.max_abs == pytest.approx(4e-5, rel=1e-3)
    assert compared(2, expected, expected).passed
    assert not compared(2, np.full_like(expected, np.nan), expected).passed
    assert not compared(2, expected[:1], expected).passed
    assert not compared(2, got, np.zeros_like(expected)).passed


def test_a_certificate_holds_no_number_that_json_lacks() -> None:
    subject = {"model": "m", "part": "encode", "input": {"shape": [], "units": ""}}
    found = ExportCertificate(
        subject | {"output": {"shape": []}}, {}, [BatchCheck(1, np.inf, np.nan)]
    )
    assert not found.passed
    kept = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert kept["largest_relative_error"] == "nan"
