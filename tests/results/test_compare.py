from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from msae_jax import models
from msae_jax.config import ModelConfig, TrainConfig
from msae_jax.data import Dataset
from msae_jax.errors import InputError
from msae_jax.fitting.loop import fit_many, fit_one
from msae_jax.results import compare, controls
from msae_jax.results.compare import Side
from msae_jax.train.seeds import Member

SETTINGS = TrainConfig(
    model=ModelConfig("baseline", {"hidden": [8], "latent_dim": 2}), batch_size=32, epochs=2
)


def side(name: str, values: list[float], **changes) -> Side:
    listed = dict(enumerate(values))
    given = {
        "settings": SETTINGS,
        "epochs": dict.fromkeys(listed, 2),
        "diverged": {},
        "parameters": 1000,
        "latent_dim": 2,
    }
    return Side(name, values=listed, **(given | changes))


def test_a_verdict_over_the_seeds_both_have() -> None:
    """Eight pairs, each a lower by 1: exact p = 2 / 2^8, reduction 100 / b."""
    b = [10.0, 11, 12, 13, 14, 15, 16, 17]
    verdict = compare.compare(side("a", [v - 1 for v in b]), side("b", [*b, 99.0]))
    assert verdict.seeds == list(range(8))
    assert verdict.comparison.verdict == "a"
    assert verdict.comparison.p == pytest.approx(2 / 256)
    assert verdict.left_out == ["1 seeds that only b has: [8]"]
    assert verdict.sentence.startswith("a beats b: its test MSE is ")
    assert verdict.to_dict()["reduction_percent"]["mean"] == pytest.approx(
        np.mean([100 / v for v in b])
    )
    json.dumps(verdict.to_dict(), allow_nan=False)


@pytest.mark.parametrize(("published", "claim"), [(7.5, "reproduced"), (22.0, "not reproduced")])
def test_a_claim_gets_its_verdict(published: float, claim: str) -> None:
    b = [10.0, 11, 12, 13, 14, 15, 16, 17]
    a = side("a", [v - 1 for v in b])
    verdict = compare.compare(a, side("b", b), published_percent=published)
    assert verdict.claim == claim
    assert f"claim of {published:g}% lower: {claim}" in str(verdict)


def test_what_is_unfair_is_said() -> None:
    a = side("a", [1.0, 2.0])
    longer = replace(SETTINGS, epochs=5, batch_size=16, data="digits")
    b = side("b", [1.0, 2.0], parameters=2000, latent_dim=7, epochs={0: 5, 1: 5}, settings=longer)
    found = " | ".join(compare.unfair(a, b, [0, 1]))
    for words in (
        "a has 1,000 parameters, b 2,000",
        "a has 2 latent dimensions, b 7",
        "a trained 2 epochs, b 5",
        "batch_size is 32 for a, 16 for b",
        "data is 'sines' for a, 'digits' for b",
    ):
        assert words in found
    assert compare.unfair(a, replace(a, name="c", parameters=1009), [0, 1]) == []
    brief = replace(a, epochs={0: 1, 1: 1})
    assert compare.unfair(brief, replace(a, name="c"), [0, 1]) == ["a trained 1 epoch, c 2"]


def test_diverged_seeds_are_named(signals: Dataset, tmp_path: Path) -> None:
    a = side("a", [1.0, 2.0, 3.0], diverged={3: "the loss became non-finite"})
    verdict = compare.compare(a, side("b", [1.0, 2.5, 3.0, 4.0]))
    assert verdict.left_out == ["a seed 3: the loss became non-finite"]
    assert verdict.seeds == [0, 1, 2]


def test_sides_come_from_runs_and_ensembles(signals: Dataset, tmp_path: Path) -> None:
    done = fit_many(SETTINGS, [Member(0), Member(1)], signals, out=tmp_path / "run")
    opened, made = compare.side_of(tmp_path / "run"), compare.side_of(done, name="run")
    assert opened == made
    assert opened.values == {k: done.histories[k][-1]["test_mse"] for k in (0, 1)}
    assert opened.parameters == models.parameter_count(done.model, (128,))
    fit_one(SETTINGS, signals, out=tmp_path / "one")
    with pytest.raises(InputError, match="one seed is never a result"):
        compare.side_of(tmp_path / "one")
    with pytest.raises(InputError, match="varies more than seeds"):
        compare.side_of(fit_many(SETTINGS, [Member(0, "init"), Member(1, "init")], signals))
    with pytest.raises(InputError, match="metric"):
        compare.side_of(done, "test_mes")


def test_one_seed_in_common_is_refused() -> None:
    with pytest.raises(InputError, match="1 seeds in common"):
        compare.compare(side("a", [1.0]), side("b", [1.0, 2.0]))


def test_a_control_of_equal_parameters() -> None:
    """`baseline`: 128 h + h + 64 h + 64 twice over, less the difference of biases; h by hand."""
    control = controls.match(ModelConfig("baseline"), ModelConfig("msae"), "params", (128,))
    goal = models.parameter_count(models.build(ModelConfig("msae")))
    counts = {
        h: models.parameter_count(models.build(ModelConfig("baseline", {"hidden": [h]})), (128,))
        for h in range(340, 372)
    }
    nearest = min(counts, key=lambda h: abs(counts[h] - goal))
    assert control.options["hidden"] == [nearest]
    assert abs(counts[nearest] - goal) < 200


@pytest.mark.parametrize(
    "name",
    [
        "msae-mlp",
        "superres",  # widths of both kinds
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("baseline-mlp", "conv", "stacked")),
    ],
)
def test_controls_of_any_model_come_within_two_per_cent(name: str) -> None:
    shape = (28, 28, 1)
    target = ModelConfig("vae5")
    control = controls.match(ModelConfig(name), target, "params", shape)
    got = models.parameter_count(models.build(control, shape), shape)
    goal = models.parameter_count(models.build(target, shape), shape)
    assert abs(got - goal) < 0.02 * goal


def test_a_control_of_equal_latent() -> None:
    control = controls.match(ModelConfig("baseline-mlp"), ModelConfig("msae-mlp"), "latent", (784,))
    assert control.options == {"latent_dim": 128}
    with pytest.raises(InputError, match="match"):
        controls.match(ModelConfig("baseline"), ModelConfig("msae"), "parms", (128,))
