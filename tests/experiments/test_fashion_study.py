from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from msae_jax import analysis, figures
from msae_jax.config import TrainConfig
from msae_jax.data import Dataset, Split
from msae_jax.experiments import fashion_vae
from msae_jax.experiments.study import Setup
from msae_jax.fitting.ensemble import Ensemble
from msae_jax.results.claims import Claim

FIGURES = {
    "best_losses", "configurations_test", "curves_configurations", "curves_models", "latents_pca",
    "loss_curves", "reconstructions", "samples",
}  # fmt: skip


class OneShape(Setup):
    """Trains the six configurations at the size of the 5-layer VAE, each from an order of its own.

    So they are one program, which takes far longer to compile than to run.
    """

    def train(self, name: str, settings: TrainConfig, dataset: Dataset | None = None) -> Ensemble:
        if name.startswith("vae5-"):
            digits = self.dataset(settings)
            train = Split(np.roll(digits.train.x, _shift(settings), axis=0), None)
            dataset = replace(digits, name=_rolled(settings), train=train)
            model = fashion_vae.settings("vae5").model
            settings = replace(settings, data=dataset.name, model=model)
        return super().train(name, settings, dataset)


def _shift(settings: TrainConfig) -> int:
    options = settings.model.options
    return options["hidden"][0] + 2 * options["latent_dim"]


def _rolled(settings: TrainConfig) -> str:
    return f"digits rolled by {_shift(settings)}"


@pytest.fixture(scope="module")
def study(even_digits: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Setup, list[Claim]]:
    """Two seeds of two epochs of all nine models, on digits."""
    folder = tmp_path_factory.mktemp("fashion")
    setup = OneShape(2, folder / "out", folder / "runs", quick=True)
    return setup, fashion_vae.reproduce(setup)


def _results(setup: Setup) -> dict[str, Any]:
    return json.loads((setup.out / "results.json").read_text())


@pytest.mark.slow
def test_every_published_number_is_a_claim(study: tuple[Setup, list[Claim]]) -> None:
    setup, stated = study
    claims = {c["id"]: c for c in _results(setup)["claims"]}
    published = {id: c["published"] for id, c in claims.items() if c["published"] is not None}
    assert len(claims) == len(stated) == 22 + 2 + 9 + 8
    assert len(published) == 22 + 2
    expected = {
        "vae3-reconstruction-epoch-1": 259.9565,
        "vae3-kl-epoch-1": 14.5859,
        "vae3-reconstruction-epoch-15": 224.5569,
        "vae3-kl-epoch-15": 15.7749,
        "vae5-reconstruction-epoch-1": 277.6534,
        "vae5-kl-epoch-1": 8.6707,
        "vae5-reconstruction-epoch-15": 232.6674,
        "vae5-kl-epoch-15": 9.7066,
        "ae5-reconstruction-epoch-1": 266.2543,
        "ae5-reconstruction-epoch-15": 215.6594,
        "vae5-400-40-reconstruction-epoch-10": 230.7663,
        "vae5-300-5-kl-epoch-10": 9.4284,
    }
    assert {id: published[id] for id in expected} == expected
    assert all(c["n_seeds"] == 2 for c in claims.values() if c["unit"] != "parameters")
    assert claims["ae5-test-nats"]["verdict"] == "ours alone"


@pytest.mark.slow
def test_claims_are_of_the_epochs_that_they_name(study: tuple[Setup, list[Claim]]) -> None:
    setup, stated = study
    log = (setup.runs / "vae3/metrics.jsonl").read_text()
    lines = [json.loads(line) for line in log.splitlines()]
    logged = {(line["seed"], line["epoch"]): line["train_kl_nats"] for line in lines}
    claims = {claim.id: list(claim.values) for claim in stated}
    assert claims["vae3-kl-epoch-1"] == [logged[0, 1], logged[1, 1]]
    assert claims["vae3-kl-epoch-15"] == [logged[0, 2], logged[1, 2]]  # the last one


@pytest.mark.slow
def test_every_configuration_is_trained_and_found_again(study: tuple[Setup, list[Claim]]) -> None:
    setup, stated = study
    values = {claim.id: list(claim.values) for claim in stated}
    found = set()
    for name in fashion_vae.CONFIGURATIONS:
        run = setup.runs / fashion_vae.run_name(name)
        trained = json.loads((run / "config.json").read_text())
        assert trained["data"] == _rolled(fashion_vae.settings(name))
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        last = {line["seed"]: line["test_nats"] for line in lines if line["epoch"] == 2}
        assert values[f"{run.name}-test-nats"] == [last[0], last[1]]
        found |= set(last.values())
    assert len(found) == 6 * 2


def test_configurations_train_as_published() -> None:
    found = {name: fashion_vae.settings(name) for name in fashion_vae.CONFIGURATIONS}
    sizes = [(s.model.options["hidden"], s.model.options["latent_dim"]) for s in found.values()]
    assert sizes[1] == ([200, 200, 100], 50)
    assert [(hidden[0], latent) for hidden, latent in sizes] == [
        (400, 40), (200, 50), (400, 70), (300, 30), (250, 80), (300, 5),
    ]  # fmt: skip
    assert {s.epochs for s in found.values()} == {10}
    assert {fashion_vae.settings(name).epochs for name in fashion_vae.MODELS} == {15}


@pytest.mark.slow
def test_comparisons_and_figures(study: tuple[Setup, list[Claim]]) -> None:
    setup, stated = study
    content = _results(setup)
    values = {claim.id: claim.values for claim in stated}
    means = content["configurations"]["means"]
    assert means["hidden 300, latent 5"] == pytest.approx(np.mean(values["vae5-300-5-test-nats"]))
    assert len(means) == 6
    assert -1 <= content["ranking"]["spearman"] <= 1
    (verdict,) = content["verdicts"]
    assert verdict["values"]["a"] == values["vae3-test-nats"]
    assert set(content["longest_wait"]) == set(fashion_vae.PUBLISHED)
    names = {f"{name}.{kind}" for name in FIGURES for kind in ("png", "svg")}
    assert {p.name for p in setup.out.iterdir()} == {"results.json", *names}


@pytest.mark.slow
def test_log_likelihood_is_above_the_elbo(study: tuple[Setup, list[Claim]]) -> None:
    """On the same images, by the weights of one seed, and as kept beside the runs."""
    setup, stated = study
    (claim,) = [claim for claim in stated if claim.id == "vae3-log-likelihood"]
    assert "first 100 test images, 20 importance samples" in claim.statement
    kept = [json.loads(path.read_text()) for path in sorted(setup.runs.glob("*/measured/*"))]
    assert len(kept) == 8 * 2
    assert set(claim.values) < {one["found"]["log_likelihood"] for one in kept}
    assert all(one["of"].endswith("100 images, 20 samples") for one in kept)
    done = setup.train("vae3", fashion_vae.settings("vae3"))
    x = setup.dataset(done.config).test.x[:100]  # type: ignore[index]
    bounds = analysis.bounds(done.model, done.variables(1), x, 20)
    assert claim.values[1] == pytest.approx(bounds.log_likelihood.mean(), rel=1e-6)
    assert claim.values[1] > bounds.elbo.mean()


@pytest.mark.slow
def test_a_second_call_repeats_nothing(
    study: tuple[Setup, list[Claim]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    setup, stated = study

    def times() -> dict[Path, int]:
        files = [*setup.runs.rglob("manifest.ocdbt"), *setup.runs.glob("*/measured/*")]
        return {p: p.stat().st_mtime_ns for p in files}

    before = times()
    monkeypatch.setattr(analysis, "log_likelihood", None)
    monkeypatch.setattr(figures, "save", lambda *_: None)
    again = fashion_vae.reproduce(replace(setup, out=tmp_path))
    assert times() == before
    assert again == stated


@pytest.mark.parametrize(
    ("losses", "longest"),
    [
        ([[5.0, 4.0, 3.0], [5.0, 3.0, 1.0]], 0),
        ([[5.0, 4.0, 4.5, 4.0, 3.0], [5.0, 4.0, 3.0, 2.0, 2.5]], 2),
        ([[3.0, 2.0, np.nan], [np.nan] * 3], 0),
    ],
)
def test_longest_wait(losses: list[list[float]], longest: int) -> None:
    assert fashion_vae.longest_wait(np.array(losses)) == longest
