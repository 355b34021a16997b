from __future__ import annotations

import json
from pathlib import Path

import pytest

from msae_jax import experiments
from msae_jax.errors import InputError
from msae_jax.experiments import sines


def test_every_study_can_be_found() -> None:
    for name in experiments.NAMES:
        assert callable(experiments.find(name).reproduce)
    with pytest.raises(InputError, match="'sines'"):
        experiments.find("sine")


def test_sines_writes_results_and_figures_and_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Two seeds of two epochs; the recipes and the rest are the study's own."""
    short = {name: sines.replace(sines.recipe(name), epochs=2) for name in sines.MODELS}
    monkeypatch.setattr(sines, "recipe", short.__getitem__)
    out, runs = tmp_path / "out", tmp_path / "runs"
    sines.reproduce(seeds=2, out=out, runs=runs)
    content = json.loads((out / "results.json").read_text())
    claims = {c["id"]: c for c in content["claims"]}
    assert content["study"] == "sines"
    assert claims["msae-test-mse"]["published"] == 0.0034824131056666375
    for name in sines.MODELS:
        values = claims[f"{name}-train-loss"]["values"]
        published = sines.PUBLISHED_CURVES[name][1]
        # the second epoch's loss varies little over seeds
        assert values == pytest.approx([published] * 2, rel=0.1)
    a, b = (claims[f"{name}-test-mse"]["values"] for name in sines.MODELS)
    assert claims["reduction"]["values"] == pytest.approx(
        [100 * (1 - x / y) for x, y in zip(a, b, strict=True)]
    )
    files = {"results.json", "loss_curves.png", "loss_curves.svg"}
    files |= {"reconstructions.png", "reconstructions.svg"}
    assert {p.name for p in out.iterdir()} == files
    assert "| test error of baseline | MSE per value | 0.004253 |" in capsys.readouterr().out

    times = {p: p.stat().st_mtime_ns for p in runs.rglob("manifest.ocdbt")}
    sines.reproduce(seeds=2, out=out, runs=runs)
    assert {p: p.stat().st_mtime_ns for p in runs.rglob("manifest.ocdbt")} == times
    assert json.loads((out / "results.json").read_text())["claims"] == content["claims"]
    sines.reproduce(seeds=1, out=out, runs=runs, fresh=True)
    assert sorted(p.name for p in runs.iterdir()) == ["baseline-0", "msae-0"]
