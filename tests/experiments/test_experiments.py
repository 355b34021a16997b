from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from msae_jax import experiments
from msae_jax.errors import InputError
from msae_jax.experiments import sines
from msae_jax.experiments.study import Setup
from msae_jax.results.claims import Claim, seeds_of_results, write_results

FIGURES = ("loss_curves", "reconstructions", "test_errors")


def test_every_study_can_be_found() -> None:
    for name in experiments.NAMES:
        assert callable(experiments.find(name).reproduce)
    with pytest.raises(InputError, match="'sines'"):
        experiments.find("sine")


def test_a_registered_study_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiments, "NAMES", dict(experiments.NAMES))
    monkeypatch.setattr(experiments, "_OWN", {})
    seen: list[object] = []
    experiments.register("mine", seen.append, "a look at nothing")
    assert experiments.NAMES["mine"] == "a look at nothing"
    experiments.find("mine").reproduce("setup")
    assert seen == ["setup"]
    with pytest.raises(InputError, match="a study named 'sines' exists already"):
        experiments.register("sines", seen.append)
    with pytest.raises(InputError, match="'five' is of type int, expected an object with"):
        experiments.register("five", 5)


@pytest.mark.slow
@pytest.mark.usefixtures("quick_to_compile")
def test_sines_writes_results_and_figures_and_resumes(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Two seeds of two epochs."""
    setup = Setup(2, tmp_path / "out", tmp_path / "runs", quick=True)
    sines.reproduce(setup)
    content = json.loads((setup.out / "results.json").read_text())
    claims = {c["id"]: c for c in content["claims"]}
    assert content["study"] == "sines"
    assert claims["msae-test-mse"]["published"] == 0.0034824131056666375
    for name in sines.MODELS:
        assert claims[f"{name}-parameters"]["verdict"] == "reproduced"
        assert f"{name}-train-loss-3" not in claims  # of twenty epochs, the two that were trained
        values = claims[f"{name}-train-loss-2"]["values"]
        published = sines.PUBLISHED_CURVES[name][1]
        # the second epoch's loss varies little over seeds
        assert values == pytest.approx([published] * 2, rel=0.1)
    a, b = (claims[f"{name}-test-mse"]["values"] for name in sines.MODELS)
    assert claims["reduction"]["values"] == pytest.approx(
        [100 * (1 - x / y) for x, y in zip(a, b, strict=True)]
    )
    names = {f"{name}.{kind}" for name in FIGURES for kind in ("png", "svg")}
    assert {p.name for p in setup.out.iterdir()} == {"results.json", *names}
    assert "| test error of baseline | MSE per value | 0.004253 |" in capsys.readouterr().out
    names = [(v["name_a"], v["name_b"]) for v in content["verdicts"]]
    assert names == [("msae", "baseline"), ("msae", "matched parameters")]
    assert "parameters" not in " ".join(content["verdicts"][1]["unfair"])

    times = {p: p.stat().st_mtime_ns for p in setup.runs.rglob("manifest.ocdbt")}
    sines.reproduce(setup)
    assert {p: p.stat().st_mtime_ns for p in setup.runs.rglob("manifest.ocdbt")} == times
    assert json.loads((setup.out / "results.json").read_text())["claims"] == content["claims"]
    (setup.runs / "msae" / "notes.txt").write_text("of the first training")
    sines.reproduce(replace(setup, fresh=True))
    assert not (setup.runs / "msae" / "notes.txt").exists()
    again = {p: p.stat().st_mtime_ns for p in setup.runs.rglob("manifest.ocdbt")}
    assert all(again[p] > times[p] for p in times)
    assert json.loads((setup.out / "results.json").read_text())["claims"] == content["claims"]


def test_results_know_their_seeds(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    assert seeds_of_results(path) == 0
    write_results(path, "study", [Claim("a", "s", 1.0, "u", [1.0, 2.0, 3.0])])
    assert seeds_of_results(path) == 3
