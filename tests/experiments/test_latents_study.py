from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from msae_jax import figures
from msae_jax.experiments import mnist_latents
from msae_jax.experiments.cache import cached
from msae_jax.experiments.study import Setup
from msae_jax.figures import path_steps

FIGURES = (
    "loss_ae3",
    "loss_vae3",
    "probes",
    "path_steps",
    "pca",
    "tsne",
    "reconstructions",
    "interpolation",
    "arithmetic",
    "samples",
)


@pytest.mark.slow
@pytest.mark.usefixtures("even_digits")
def test_it_measures_and_draws_and_does_neither_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two seeds of two epochs on `digits`."""
    setup = Setup(2, tmp_path / "out", tmp_path / "runs", quick=True)
    mnist_latents.reproduce(setup)
    content = json.loads((setup.out / "results.json").read_text())
    claims = {claim["id"]: claim for claim in content["claims"]}
    names = {f"{name}.{kind}" for name in FIGURES for kind in ("png", "svg")}
    assert {p.name for p in setup.out.iterdir()} == {"results.json", *names}
    for name in mnist_latents.SETTINGS:
        for probe in mnist_latents.PROBES:
            assert all(20 < v <= 100 for v in claims[f"{name}-{probe}"]["values"])
        for kind in mnist_latents.KINDS:
            # frames cannot take a way shorter than the straight one, nor a step below the mean
            assert all(v >= 1 - 1e-5 for v in claims[f"{name}-{kind}-length"]["values"])
            assert all(v >= 1 - 1e-5 for v in claims[f"{name}-{kind}-step"]["values"])
    ae, vae = (np.array(claims[f"{name}-mse"]["values"]) for name in ("ae3", "vae3"))
    np.testing.assert_allclose(claims["reconstruction"]["values"], 100 * (vae / ae - 1))
    knn = [np.array(claims[f"{name}-knn"]["values"]) for name in ("ae3", "vae3")]
    np.testing.assert_allclose(claims["separation"]["values"], knn[1] - knn[0])
    verdicts = {claim["verdict"] for claim in content["claims"]}
    assert verdicts == {"ours alone", "underspecified"}

    kept = [*setup.runs.rglob("manifest.ocdbt"), *setup.runs.rglob("measured/*.json")]
    assert sum(p.suffix == ".json" for p in kept) == 6  # of two seeds and a projection, twice
    times = {p: p.stat().st_mtime_ns for p in kept}
    monkeypatch.setattr(figures, "save", lambda *_: None)  # they are drawn
    mnist_latents.reproduce(setup)
    assert {p: p.stat().st_mtime_ns for p in kept} == times
    assert json.loads((setup.out / "results.json").read_text())["claims"] == content["claims"]


def test_a_kept_result_is_computed_again_only_when_fresh(tmp_path: Path) -> None:
    def refuse() -> None:
        raise AssertionError

    setup = Setup(1, tmp_path / "out", tmp_path / "runs")
    assert cached(setup, "run/a", lambda: {"x": 1.5}) == {"x": 1.5}
    assert cached(setup, "run/a", refuse) == {"x": 1.5}
    fresh = Setup(1, tmp_path / "out", tmp_path / "runs", fresh=True)
    assert cached(fresh, "run/a", lambda: 2) == 2
    assert cached(setup, "run/a", lambda: 3, of="other weights") == 3
    with pytest.raises(AssertionError):
        cached(setup, "run/b", refuse)
    assert not (setup.runs / "run/b.json").exists()


@pytest.mark.parametrize("damage", [b"", b"[]", b"\xff", b'{"of": ""}', b"1.5 -> 2.5"])
def test_a_kept_result_that_is_damaged_is_computed_again(tmp_path: Path, damage: bytes) -> None:
    setup = Setup(1, tmp_path / "out", tmp_path / "runs")
    cached(setup, "a", lambda: {"x": 1.5})
    path = tmp_path / "runs" / "a.json"
    before = path.read_bytes()
    changed = before.replace(b"1.5", b"2.5") if b"->" in damage else damage
    assert changed != before
    path.write_bytes(changed)
    assert cached(setup, "a", lambda: {"x": 0.5}) == {"x": 0.5}
    assert cached(setup, "a", lambda: {"x": 9}) == {"x": 0.5}


def test_path_steps_are_drawn_between_their_frames() -> None:
    steps = np.array([[0.1, 0.3], [0.3, 0.5]])
    axes = path_steps({"ae3": {"linear": steps, "spherical": steps + 1}}).axes[0]
    np.testing.assert_allclose(axes.lines[0].get_xdata(), [0.25, 0.75])
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [0.2, 0.4])
    np.testing.assert_allclose(axes.lines[1].get_ydata(), [1.2, 1.4])
    assert axes.lines[0].get_linestyle() != axes.lines[1].get_linestyle()
    assert axes.lines[0].get_label() == "3-layer autoencoder, linear"
