"""What the repository keeps of the studies: the ledger, and trained weights."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from scipy import stats

from msae_jax import data, experiments, train
from msae_jax.recipes import recipe
from msae_jax.results import ledger
from msae_jax.train import blocks, evaluation
from msae_jax.weights import load_weights

ROOT = Path(__file__).parents[2]
KEPT = {  # weights: the study that trained them, the metric of its claim
    "msae": ("sines", "mse"),
    "baseline": ("sines", "mse"),
    "msae-mlp": ("mnist-multiscale", "mse"),
    "conv": ("mnist-architectures", "mse"),
    "vae3": ("fashion-vae", "nats"),
}


def test_the_ledger_is_of_the_results_beside_it() -> None:
    kept = json.loads((ROOT / "figures/ledger.json").read_text())["claims"]
    assert kept == ledger.collect(ROOT / "figures", experiments.NAMES)
    assert {claim["study"] for claim in kept} == set(experiments.NAMES)


def test_kept_files_are_small() -> None:
    for folder, most in (("figures", 9_000_000), ("checkpoints", 12_000_000)):
        assert sum(p.stat().st_size for p in (ROOT / folder).rglob("*") if p.is_file()) <= most


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] * (not name.endswith(("msae", "baseline"))))
        for name in KEPT
    ],
)
def test_kept_weights_are_seed_0_of_their_study(
    name: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The studies drew the latents of a batch at once, as a batch of one block still does.
    monkeypatch.setattr(blocks, "LIMIT", 2**40)
    if name.startswith("vae"):
        jax.clear_caches()  # programs of more blocks
    study, metric = KEPT[name]
    weights = load_weights(ROOT / f"checkpoints/{name}.safetensors")
    assert weights.config.model.name == name
    settings = recipe(name)
    sines = settings.data == "sines"
    dataset = data.load("sines") if sines else request.getfixturevalue(settings.data)
    x, objective = dataset.test.x, settings.objective
    key = evaluation.noise_key(train.seed_keys(0).noise)  # as in its run
    got = evaluation.evaluate(weights.model, weights.variables, x, objective, key=key)

    claims = json.loads((ROOT / f"figures/{study}/results.json").read_text())["claims"]
    (claim,) = (c for c in claims if c["id"] == f"{name}-test-{metric}")
    assert got[metric] == pytest.approx(claim["values"][0], rel=1e-5)
    readme = (ROOT / "checkpoints/README.md").read_text()
    (row,) = re.findall(rf"^\| `{name}\.safetensors` \|.* \| (.*) \|$", readme, re.MULTILINE)
    said = [float(number) for number in re.findall(r"[\d.]+", row)]
    assert said == pytest.approx([got["mse"], got["nats"]][: len(said)], rel=1e-3)


def _kept_lines(name: str) -> list[dict[str, Any]]:
    lines = (ROOT / f"benchmarks/results/{name}.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_super_resolution_ends_high_where_it_starts_slowly() -> None:
    rows = _kept_lines("superres_60_seeds")
    first = {row["seed"]: row["train_loss"] for row in rows if row["epoch"] == 1}
    last = {row["seed"]: row["test_mse"] for row in rows if row["epoch"] == 5}
    assert sorted(first) == [*range(60)]
    twelve = [*range(12)]
    slowest = sorted(first, key=first.__getitem__)[-2:]
    assert sorted(last) == sorted(twelve + slowest)
    pairs = [first[seed] for seed in twelve], [last[seed] for seed in twelve]
    assert stats.spearmanr(*pairs).statistic == pytest.approx(0.71, abs=0.005)
    curve = [f"{row['train_loss']:.4f}" for row in rows if row["seed"] == slowest[-1]]
    losses, end = ", ".join(curve), f"{last[slowest[-1]]:.5f}"

    seed = _kept_lines("superres_seed_42")
    starts = [row["train_loss"] for row in seed if row["epoch"] == 1]
    errors = [row["test_mse"] for row in seed if row["epoch"] == 5]
    assert len(starts) == len(errors) == 13
    assert min(starts) > np.median([*first.values()])
    start = f"at {min(starts):.3f} to {max(starts):.3f}"
    low = f"{min(errors):.4f} to {max(errors):.4f}"

    claims = json.loads((ROOT / "figures/ledger.json").read_text())["claims"]
    (claim,) = (c for c in claims if c["id"] == "superres-test-mse")
    for said in (losses, end, start, low):
        assert said in claim["why"]
