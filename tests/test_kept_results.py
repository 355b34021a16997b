"""What the repository keeps of the studies: the ledger, and trained weights."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from scipy import stats

from msae_jax import experiments, ledger, models
from msae_jax.weights import load_weights

ROOT = Path(__file__).parent.parent
TRAINED = ("msae", "baseline", "msae-mlp", "conv", "vae3")


def test_the_ledger_is_of_the_results_beside_it() -> None:
    kept = json.loads((ROOT / "figures/ledger.json").read_text())["claims"]
    assert kept == ledger.collect(ROOT / "figures", experiments.NAMES)
    assert {claim["study"] for claim in kept} == set(experiments.NAMES)


def test_the_readme_has_the_ledgers_rows() -> None:
    claims = json.loads((ROOT / "figures/ledger.json").read_text())["claims"]
    text = (ROOT / "figures/ledger.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("|")][2:]
    wanted = [
        row
        for row, claim in zip(rows, claims, strict=True)
        if not claim["detail"]
        and (claim["published"] is not None or claim["verdict"] == "underspecified")
    ]
    pattern = rf"^\| (?:{'|'.join(experiments.NAMES)}) \|.*$"
    readme = (ROOT / "README.md").read_text()
    assert re.findall(pattern, readme[readme.index("<details>") :], re.MULTILINE) == wanted


def test_kept_files_are_small() -> None:
    for folder, most in (("figures", 5_000_000), ("checkpoints", 12_000_000)):
        assert sum(p.stat().st_size for p in (ROOT / folder).rglob("*") if p.is_file()) <= most


@pytest.mark.parametrize("name", TRAINED)
def test_kept_weights_open(name: str) -> None:
    weights = load_weights(ROOT / f"checkpoints/{name}.safetensors")
    assert weights.config.model.name == name
    assert models.parameter_count(weights.model) > 40_000


def test_the_twelve_seeds_of_super_resolution_say_what_the_ledger_says() -> None:
    lines = (ROOT / "benchmarks/results/superres_12_seeds.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    first = [row["train_loss"] for row in rows if row["epoch"] == 1]
    last = [row["test_mse"] for row in rows if row["epoch"] == 5]
    assert len(first) == len(last) == 12
    assert round(float(stats.spearmanr(first, last).statistic), 2) == 0.71
    assert [round(v, 3) for v in (min(first), max(first))] == [0.045, 0.067]
    assert [round(v, 4) for v in (min(last), max(last))] == [0.0053, 0.0069]
    assert max(last) < 0.007407  # the published one is above them all
