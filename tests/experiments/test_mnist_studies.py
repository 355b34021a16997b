"""The two MNIST studies in quick mode: two seeds of two epochs of scikit-learn's digits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from msae_jax import figures
from msae_jax.data import digits
from msae_jax.experiments import mnist_architectures, mnist_multiscale
from msae_jax.experiments.study import Setup
from msae_jax.figures.bars import class_counts


def _run(study: Any, setup: Setup) -> dict[str, Any]:
    study.reproduce(setup)
    content = json.loads((setup.out / "results.json").read_text())
    return content | {"claims": {claim["id"]: claim for claim in content["claims"]}}


def _figures(folder: Path) -> set[str]:
    assert all(path.stat().st_size > 1000 for path in folder.iterdir())
    names = {path.stem for path in folder.glob("*.png")}
    assert names == {path.stem for path in folder.glob("*.svg")}
    return names


def _checkpoints(runs: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in runs.rglob("manifest.ocdbt")}


def _guess() -> float:
    """Returns the test MSE of the mean training image."""
    dataset = digits.load()
    train, test = (np.asarray(part.x) / 255 for part in (dataset.train, dataset.test))
    return float(((test - train.mean(axis=0)) ** 2).mean())


@pytest.mark.slow
def test_architectures_state_every_published_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = Setup(2, tmp_path / "out", tmp_path / "runs", quick=True)
    content = _run(mnist_architectures, setup)
    claims = content["claims"]
    assert content["study"] == "mnist-architectures"
    assert {id: c["published"] for id, c in claims.items()} == {
        "superres-test-mse": 0.007407,
        "superres-train-loss-1": 0.073035,
        "superres-train-loss-2": 0.023038,
        "superres-parameters": 728_000,
        "conv-test-mse": 0.002096,
        "conv-train-loss-1": 0.021365,
        "conv-train-loss-2": 0.003606,
        "conv-parameters": 774_000,
        "stacked-test-mse": 0.014568,
        "stacked-train-loss-1": 0.052365,
        "stacked-train-loss-2": 0.026204,
        "stacked-parameters": 1_070_000,
        "conv-svm-accuracy": 98.78,
    }  # of five epochs, the two that were trained
    sizes = {"superres": 1_702_081, "conv": 1_009_569, "stacked": 1_149_520}
    for name, size in sizes.items():
        claim = claims[f"{name}-parameters"]
        assert (claim["values"], claim["verdict"]) == ([size], "not reproduced")
        assert f"{size:,}" in claim["why"]
        first, second = (np.array(claims[f"{name}-train-loss-{i}"]["values"]) for i in (1, 2))
        assert first.shape == second.shape == (2,)
        assert (second > 0).all()
        assert (second < first).all()
        assert (first < 0.25).all()  # (0 - 0.5)^2, what sigmoid(0) gives on black
        assert 0 < max(claims[f"{name}-test-mse"]["values"]) < 0.1
    accuracy = claims["conv-svm-accuracy"]
    assert accuracy["unit"] == "percent"
    assert accuracy["n_seeds"] == 2
    assert all(30 < value <= 100 for value in accuracy["values"])  # 10% by guessing
    drawn = {"class_counts", "digits", "loss_curves", "reconstructions", "test_errors"}
    assert _figures(setup.out) == drawn | {"tsne_20", "tsne_200"}

    before = _checkpoints(setup.runs)
    monkeypatch.setattr(figures, "save", lambda *_: None)  # they are drawn
    monkeypatch.setattr(mnist_architectures.analysis, "probe", _not_again)
    assert _run(mnist_architectures, setup)["claims"] == claims
    assert _checkpoints(setup.runs) == before

    path = setup.runs / "conv/measured/seed-1.json"
    kept = json.loads(path.read_text())
    kept["of"] = "another training"
    path.write_text(json.dumps(kept))
    with pytest.raises(AssertionError, match="a second SVM"):
        mnist_architectures.reproduce(setup)


def _not_again(*_: Any, **__: Any) -> None:
    raise AssertionError("a second SVM")


def test_all_five_epochs_are_published() -> None:
    rows = [numbers.train_loss for numbers in mnist_architectures.PUBLISHED.values()]
    assert [len(row) for row in rows] == [5, 5, 5]
    assert [row[-1] for row in rows] == [0.008047, 0.002153, 0.015532]


@pytest.mark.slow
@pytest.mark.usefixtures("even_digits")  # which stay for the rest of the file
def test_multiscale_mlp_meets_its_controls(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = Setup(2, tmp_path / "out", tmp_path / "runs", quick=True)
    content = _run(mnist_multiscale, setup)
    claims = content["claims"]
    assert content["study"] == "mnist-multiscale"
    assert len(claims) == 9
    assert {id: c["published"] for id, c in claims.items() if c["published"] is not None} == {
        "reduction": 22.0,
        "msae-mlp-parameters": 510_480,
        "baseline-mlp-parameters": 435_536,
    }
    for name in ("msae-mlp", "baseline-mlp"):
        assert claims[f"{name}-parameters"]["verdict"] == "reproduced"
    errors = {name: claims[f"{name}-test-mse"] for name in ("msae-mlp", "baseline-mlp")}
    errors |= {name: claims[f"matched-{name}-test-mse"] for name in ("latent", "parameters")}
    for claim in errors.values():
        assert claim["verdict"] == "ours alone"
        assert claim["n_seeds"] == 2
        assert 0 < max(claim["values"]) < _guess()  # better than to answer the mean image
    pairs = {"": "baseline-mlp", "-latent": "latent", "-params": "parameters"}
    for suffix, name in pairs.items():
        a, b = (np.array(errors[side]["values"]) for side in ("msae-mlp", name))
        assert claims[f"reduction{suffix}"]["values"] == pytest.approx(100 * (1 - a / b))

    verdicts = content["verdicts"]
    names = [(v["name_a"], v["name_b"]) for v in verdicts]
    others = ("baseline-mlp", "matched latent", "matched parameters")
    assert names == [("msae-mlp", other) for other in others]
    assert [v["published_percent"] for v in verdicts] == [22.0, None, None]
    unfair = [" ".join(v["unfair"]) for v in verdicts]
    assert [("latent dimensions" in text, "510,480" in text) for text in unfair] == [
        (True, True),
        (False, True),
        (True, False),
    ]
    printed = capsys.readouterr().out
    assert all(verdict["sentence"] in printed for verdict in verdicts)
    assert _figures(setup.out) == {"loss_curves", "reconstructions", "test_errors"}

    before = _checkpoints(setup.runs)
    assert len(before) >= 4
    monkeypatch.setattr(figures, "save", lambda *_: None)
    assert _run(mnist_multiscale, setup)["claims"] == claims
    assert _checkpoints(setup.runs) == before


def test_bars_count_the_classes(tmp_path: Path) -> None:
    y = np.array([2, 0, 2, 2])
    figure = class_counts({"training": y, "test": y[:1]}, ["a", "b", "c"])
    left, right = figure.axes
    assert [bar.get_height() for bar in left.patches] == [1, 0, 3]
    assert [bar.get_height() for bar in right.patches] == [0, 0, 1]
    assert left.get_title() == "training: 4 samples"
    assert (left.get_xlabel(), left.get_ylabel()) == ("class", "samples")
    figures.save(figure, tmp_path / "bars")
