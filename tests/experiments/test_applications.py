from __future__ import annotations

import json
from pathlib import Path

import pytest

from msae_jax import figures
from msae_jax.experiments import anomalies, applications
from msae_jax.experiments.study import Setup

FIGURES = (
    "anomalies",
    "anomaly_auroc",
    "denoising",
    "denoising_errors",
    "features",
    "conditional_samples",
)


@pytest.mark.slow
@pytest.mark.usefixtures("even_digits")
def test_it_measures_and_draws_and_does_neither_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two seeds of two epochs on `digits`."""
    setup = Setup(2, tmp_path / "out", tmp_path / "runs", quick=True)
    applications.reproduce(setup)
    content = json.loads((setup.out / "results.json").read_text())
    claims = {claim["id"]: claim for claim in content["claims"]}
    names = {f"{name}.{kind}" for name in FIGURES for kind in ("png", "svg")}
    assert {p.name for p in setup.out.iterdir()} == {"results.json", *names}
    assert {claim["verdict"] for claim in content["claims"]} == {"ours alone"}
    assert all(claim["n_seeds"] == 2 for claim in content["claims"])
    for digit in anomalies.DIGITS:
        for key in ("auroc", "auprc", "recall", "false_positive_rate"):
            assert all(0 <= v <= 1 for v in claims[f"anomaly-{digit}-{key}"]["values"])
        # the threshold leaves 5% of the training normals above, so about as many of the test ones
        assert all(v < 0.2 for v in claims[f"anomaly-{digit}-false_positive_rate"]["values"])
    # noise of standard deviation 0.3; of 250,880 values, a standard error of 0.3%
    assert claims["corrupted-mse"]["values"] == pytest.approx([0.09] * 2, rel=0.01)
    for name in ("denoiser", "plain"):
        assert all(v < 0.09 for v in claims[f"{name}-corrupted-mse"]["values"])
    assert all(v > 85 for v in claims["features-pixels"]["values"])
    assert all(v > 85 for v in claims["features-PCA"]["values"])
    assert all(v > 90 for v in claims["conditional-real"]["values"])
    config = json.loads((setup.runs / "denoiser" / "config.json").read_text())
    assert config["objective"]["noise_std"] == 0.3
    assert json.loads((setup.runs / "without-4" / "config.json").read_text())["data"] == (
        "digits without 4"
    )

    kept = [*setup.runs.rglob("manifest.ocdbt"), *setup.runs.rglob("seed-*.json")]
    assert sum(p.suffix == ".json" for p in kept) == 14  # of two seeds: six models, the features
    times = {p: p.stat().st_mtime_ns for p in kept}
    monkeypatch.setattr(figures, "save", lambda *_: None)  # they are drawn
    applications.reproduce(setup)
    assert {p: p.stat().st_mtime_ns for p in kept} == times
    assert json.loads((setup.out / "results.json").read_text())["claims"] == content["claims"]
