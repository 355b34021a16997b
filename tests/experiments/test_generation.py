"""The study of generation: what it trains, what it concludes, and the whole of it on digits."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from msae_jax import data, figures, generation, models
from msae_jax.analysis import paired
from msae_jax.data import Dataset, Split, cifar
from msae_jax.experiments import generation as study
from msae_jax.experiments import generation_claims as claims
from msae_jax.experiments import generation_data, generation_figures
from msae_jax.experiments import generation_methods as methods
from msae_jax.experiments import generation_verdicts as verdicts
from msae_jax.experiments.generation_measures import packed, some, unpacked
from msae_jax.experiments.study import Setup

FIGURES = ("discriminators", "frechet", "precision_recall", "reconstruction_cost", "samples")
SHAPE = (28, 28, 1)


def test_all_methods_have_the_same_layers_but_for_what_makes_them_what_they_are() -> None:
    counts = {}
    for name, method in methods.METHODS.items():
        settings = methods.configuration("mnist", name, "mnist", SHAPE)
        own = (28 * 28 + 10,) if method.conditional else SHAPE
        counts[name] = models.parameter_count(models.build(settings.model, own), own)
        assert (settings.epochs, settings.batch_size) == (methods.EPOCHS, methods.BATCH_SIZE)
    head = 7 * 7 * 16 * 8 + 8  # a second linear layer to the latents
    planes, marks = 10 * 9 * 8, 10 * 7 * 7 * 16  # a class seen by the encoder and the decoder
    assert counts["wae-mmd"] == counts["adversarial"] == counts["ae"]
    assert counts["beta-vae"] == counts["vae-gan"] == counts["vae"] == counts["ae"] + head
    assert counts["conditional"] == counts["vae"] + planes + marks


def test_published_weights_are_kept_in_the_units_of_the_objective() -> None:
    def objective(key: str, method: str) -> Any:
        return methods.configuration(key, method, key, SHAPE).objective

    assert objective("mnist", "beta-vae").beta == 4
    # published: 10 beside 0.05 times the squared error, and 100 of pixels from -1 to 1; a
    # cross-entropy near its least value is twice the squared error
    assert objective("mnist", "wae-mmd").mmd == pytest.approx(2 * 10 / 0.05)
    assert objective("cifar10", "wae-mmd").mmd == pytest.approx(2 * 100 / (0.05 * 2**2))
    assert objective("mnist", "ae").mmd == objective("mnist", "vae").mmd == 0


def test_pictures_stand_for_cifar10_where_the_official_files_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MSAE_DATA_DIR", raising=False)
    assert generation_data.pictures_of(None) is None
    assert generation_data.pictures_of(tmp_path) is None
    pictures = tmp_path / "cifar10" / "cifar10_jpeg.zip"
    pictures.parent.mkdir()
    pictures.touch()
    assert generation_data.pictures_of(tmp_path) == pictures
    monkeypatch.setenv("MSAE_DATA_DIR", str(tmp_path))
    assert generation_data.pictures_of(None) == pictures
    (tmp_path / cifar.ARCHIVES[0]).touch()
    assert generation_data.pictures_of(tmp_path) is None


def test_samples_are_kept_in_eight_bits() -> None:
    images = np.array([[-0.5, 0.0], [0.5, 2.0]], np.float32).reshape(2, 1, 2, 1)
    kept = unpacked(json.loads(json.dumps(packed(images))))
    np.testing.assert_allclose(kept.ravel(), [0, 0, 128 / 255, 1])


def test_some_rows_are_of_all_classes_of_a_file_that_is_sorted() -> None:
    assert set(some(1000, 100) // 100) == set(range(10))
    assert sorted(some(4, 9)) == [0, 1, 2, 3]


def scattered(mean: float, seeds: int, shift: int = 0) -> dict[int, float]:
    return {seed: mean + 0.01 * ((7 * seed + shift) % seeds) for seed in range(seeds)}


def test_the_best_is_told_from_what_is_worse_at_every_seed() -> None:
    """Twelve seeds: p = 2 / 2^12, times 3 pairs."""
    values = {"far": scattered(3, 12), "first": scattered(1, 12), "near": scattered(1, 12, 5)}
    values["near"] = {seed: value + 1e-6 for seed, value in values["near"].items()}
    ranking = verdicts.rank(values)
    assert ranking is not None
    assert list(ranking.means) == ["first", "near", "far"]
    assert (ranking.beaten, ranking.undecided) == (("far",), ("near",))
    p = {(pair.a, pair.b): pair.p for pair in ranking.pairs}
    assert p["first", "far"] == pytest.approx(3 * 2 / 2**12)
    assert ranking.enough
    words = {"far": "F", "first": "A, flow", "near": "N"}
    said = verdicts.sentence(ranking, words, "distance", "digits")
    assert "the A with the flow has the lowest distance on average, 1.055" in said
    assert (
        "below the F; it is not told from the N (12 seeds, Holm's correction for 3 comparisons)"
        in said
    )


def test_the_best_of_all_is_said_to_be_it() -> None:
    ranking = verdicts.rank({"a": scattered(1, 8), "b": scattered(2, 8)})
    assert ranking is not None
    said = verdicts.sentence(ranking, {"a": "A", "b": "B"}, "distance", "digits")
    assert "On digits, the A generates best" in said
    assert ranking.to_dict()["pairs"][0]["p"] == pytest.approx(2 / 2**8)


def test_three_seeds_cannot_decide_and_how_many_could_is_said() -> None:
    names = [contender.id for contender in methods.CONTENDERS]
    ranking = verdicts.rank({name: scattered(i, 3) for i, name in enumerate(names)})
    assert ranking is not None
    assert len(ranking.pairs) == 9 * 8 / 2
    assert not ranking.enough
    assert ranking.beaten == ()
    needed = verdicts.seeds_needed(36)
    assert needed == 11
    assert 36 * paired.smallest_p(needed) < 0.05 < 36 * paired.smallest_p(needed - 1)
    said = verdicts.sentence(ranking, claims.WORDS, "Fréchet distance", "MNIST")
    assert "not enough seeds" in said
    assert "11 seeds could" in said


def test_one_seed_is_no_ranking() -> None:
    assert verdicts.rank({"a": {0: 1.0}, "b": {0: 2.0}}) is None
    assert verdicts.rank({"a": {0: 1.0, 1: 2.0}, "b": {}}) is None


def test_costs_are_of_equal_seeds() -> None:
    errors = {"ae": {0: 1.0, 1: 2.0, 2: 4.0}, "vae": {0: 2.0, 2: 5.0}, "gone": {}}
    found = verdicts.costs(errors, "ae")
    assert found["vae"].percent == [100.0, 25.0]
    assert found["vae"].why.startswith("not enough seeds")
    assert found["gone"].percent == []
    many = {"ae": scattered(1, 10), "vae": scattered(2, 10)}
    assert verdicts.costs(many, "ae")["vae"].why.startswith("told from")


def made_up(seeds: int, diverged: str | None = None) -> claims.Studied:
    """Returns a study of nothing: contender i has the distance i + 1, method i the error i + 1."""
    pixels = packed(np.full((5, 2, 2, 1), 0.5))
    floor = {"frechet": 0.5, "precision": 0.9, "recall": 0.8, "density": 1.0, "coverage": 0.7}
    floor |= {"n": 6, "k": 5}
    distances = {contender: i + 1.0 for i, contender in enumerate(methods.CONTENDERS)}
    found: dict[str, Any] = {}
    for i, (name, method) in enumerate(methods.METHODS.items()):
        priors = {
            prior: {
                **floor, "frechet": distances[methods.Contender(name, prior)], "nats": -1.0,
                "recognised": 0.6 if method.conditional else None, "shown": pixels,
            }
            for prior in method.priors
        }  # fmt: skip
        one: dict[str, Any] = {"mse": i + 1.0, "floor": floor, "accuracy": 0.99, "priors": priors}
        if method.variational:
            one |= {"negative_elbo": 9.0, "importance_weighted": 8.0}
        found[name] = {} if name == diverged else dict.fromkeys(range(seeds), one)
    trained: Any = {
        name: SimpleNamespace(
            diverged=dict.fromkeys(range(seeds if name == diverged else 0), "nan"),
            final=lambda metric: np.full(seeds, 0.7),
            metrics=lambda metric: np.full((seeds, 2), 0.7),
        )
        for name in methods.METHODS
    }
    x, y = np.zeros((6, 2, 2, 1), np.uint8), np.zeros(6, np.int32)
    images = generation_data.Images("nothing", "mnist", Dataset("n", Split(x, y), Split(x, y)))
    return claims.Studied("none", images, True, trained, found)


def test_every_contender_has_its_rows() -> None:
    stated = claims.claims_of(made_up(2))
    assert len(stated) == len({claim.id for claim in stated}) == 5 * (9 + 1) + 1 + 7 + 6 + 8 + 3 + 4
    by_id = {claim.id: claim for claim in stated}
    assert by_id["none-ae-flow-frechet"].values == [3.0, 3.0]
    assert by_id["none-real-frechet"].mean == 0.5
    assert by_id["none-vae-mse"].mean == 2
    assert by_id["none-vae-cost"].values == [100.0, 100.0]
    assert by_id["none-conditional-recognised"].mean == 0.6
    assert "99.0% of the test images; 6 samples against 6, k = 5" in by_id["none-vae-recall"].why
    shown = [claim.id for claim in stated if not claim.detail]
    assert len(shown) == 9 + 1 + 1 + 7 + 6


def test_the_verdict_names_the_best_and_its_cost() -> None:
    found = claims.verdict_of(made_up(3))
    assert found is not None
    row, values, text = found
    assert row.values == [0.0]
    assert values["best"] == "ae-gaussian"
    assert text.startswith("On nothing, the autoencoder with the Gaussian prior has the lowest")
    assert text.endswith("Its error of reconstruction is 1 per value, the lowest of all methods.")
    assert claims.verdict_of(made_up(1)) is None


def test_a_method_that_is_told_the_class_is_not_best_alone() -> None:
    studied = made_up(3)
    for one in studied.found["conditional"].values():
        one["priors"]["standard"]["frechet"] = 0.1
    found = claims.verdict_of(studied)
    assert found is not None
    assert "of the others the autoencoder with the Gaussian prior is lowest, 1." in found[2]
    assert "7 per value, 600% above the lowest, which the autoencoder has with 1." in found[2]


def test_a_method_of_which_every_seed_diverged_is_left_out() -> None:
    studied = made_up(3, diverged="vae-gan")
    by_id = {claim.id: claim for claim in claims.claims_of(studied)}
    assert (by_id["none-vae-gan-mse"].values, by_id["none-vae-gan-mse"].diverged) == ([], 3)
    found = claims.verdict_of(studied)
    assert found is not None
    assert "vae-gan" not in found[1]["means"]
    assert (generation_figures.samples(studied)["VAE-GAN"] == 1).all()
    assert set(generation_figures.draw([studied])) == set(FIGURES)


@pytest.mark.slow
@pytest.mark.usefixtures("even_digits")
def test_it_trains_measures_and_draws_and_does_none_of_it_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Two seeds of two epochs of all methods, on digits."""
    setup = Setup(2, tmp_path / "out", tmp_path / "runs", quick=True)
    stated = study.reproduce(setup)
    content = json.loads((setup.out / "results.json").read_text())
    assert len(content["claims"]) == len(stated) == 79 + 1
    names = {f"{name}.{kind}" for name in FIGURES for kind in ("png", "svg")}
    assert {p.name for p in setup.out.iterdir()} == {"results.json", *names}
    found = {claim.id: np.array(claim.values) for claim in stated}
    assert all(len(values) == 2 for id, values in found.items() if not id.endswith("-best"))
    for id, values in found.items():
        if id.endswith(("precision", "recall", "coverage", "recognised")):
            assert ((values >= 0) & (values <= 1)).all()
    for key in methods.QUICK_SETS:
        assert (found[f"{key}-real-frechet"] < found[f"{key}-vae-frechet"]).all()
        for method in ("vae", "beta-vae", "vae-gan", "conditional"):
            elbo = found[f"{key}-{method}-negative-elbo"]
            weighted = found[f"{key}-{method}-importance-weighted"]
            assert (weighted < elbo + 0.1).all()  # 0.1 nats for 1,000 draws
    assert len(content["verdicts"]) == 1
    assert "On digits, " in capsys.readouterr().out
    _check_against_anew(setup, found["mnist-vae-mse"][1])

    kept = [*setup.runs.rglob("manifest.ocdbt"), *setup.runs.rglob("seed-*.json")]
    assert sum(path.suffix == ".json" for path in kept) == 7 * 2
    times = {path: path.stat().st_mtime_ns for path in kept}
    monkeypatch.setattr(generation, "sample", None)
    monkeypatch.setattr(figures, "save", lambda *_: None)  # they are drawn
    assert study.reproduce(setup) == stated
    assert {path: path.stat().st_mtime_ns for path in kept} == times


def _check_against_anew(setup: Setup, expected: float) -> None:
    """Computes the error of the VAE's second seed anew, from its weights alone."""
    x = np.asarray(data.load("digits").test.x, np.float32) / 255
    settings = methods.configuration("mnist", "vae", "digits", SHAPE)
    done = setup.train("mnist-vae", settings, data.load("digits"))
    out: Any = done.model.apply(done.variables(1), x)
    assert np.square(np.asarray(out.recon) - x).mean() == pytest.approx(expected, rel=1e-5)
