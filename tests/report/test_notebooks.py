"""What notebooks show of results: tables with the right numbers, in which names are escaped."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from msae_jax.config import ModelConfig, TrainConfig
from msae_jax.fitting.ensemble import Ensemble, Run
from msae_jax.results.claims import Claim
from msae_jax.results.compare import Side, compare
from msae_jax.results.ledger import Ledger
from msae_jax.train.seeds import Member
from tests.report.conftest import history

SETTINGS = TrainConfig(ModelConfig("baseline"), data="<i>.npy")
RNG = np.random.default_rng(0)


def ensemble(members: list[Member], diverged: dict[int, str]) -> Ensemble:
    histories = [history(RNG, 2, 0.1) for _ in members]
    nothing: dict = {}
    return Ensemble(SETTINGS, None, members, nothing, histories, diverged, [], {})  # type: ignore[arg-type]


def test_a_run_shows_its_last_epoch() -> None:
    lines = history(RNG, 3, 0.1)
    made = Run(SETTINGS, None, {}, lines, [])._repr_html_()  # type: ignore[arg-type]
    train, test = lines[-1]["train_mse"], lines[-1]["test_mse"]
    assert f'MSE</th><td class="n">{train:.5g}</td><td class="n">{test:.5g}</td>' in made
    assert "baseline on &lt;i&gt;.npy, seed 0, after epoch 3; one seed is not a result" in made
    assert "after epoch 0" in Run(SETTINGS, None, {}, [], [])._repr_html_()  # type: ignore[arg-type]


def test_an_ensemble_shows_each_seed_and_means_of_those_that_did_not_diverge() -> None:
    done = ensemble([Member(seed) for seed in range(4)], {2: "the <loss> became non-finite"})
    made = done._repr_html_()
    mse = [done.histories[i][-1]["test_mse"] for i in (0, 1, 3)]
    assert "<td>the &lt;loss&gt; became non-finite</td>" in made
    mean, std = (
        made.partition(f">{name}</th>")[2].partition("</tr>")[0] for name in ("mean", "std")
    )
    assert mean.endswith(f"{np.mean(mse):.5g}</td>")
    assert std.endswith(f"{np.std(mse, ddof=1):.5g}</td>")


def test_members_that_differ_in_more_than_seeds_have_no_mean() -> None:
    made = ensemble([Member(0, learning_rate=0.1), Member(0, learning_rate=0.2)], {})._repr_html_()
    assert "0, learning rate 0.1" in made
    assert ">mean<" not in made


def test_a_verdict_shows_its_sentence_and_what_is_unfair() -> None:
    values = {seed: 1.0 + seed / 100 for seed in range(6)}
    a = Side("<a>", SETTINGS, values, dict.fromkeys(values, 2), {}, 1000, 2)
    b = Side(
        "b", SETTINGS, {k: v + 1 for k, v in values.items()}, dict.fromkeys(values, 2), {}, 9, 2
    )
    verdict = compare(a, b)
    made = verdict._repr_html_()
    assert made.startswith("<p><strong>&lt;a&gt; beats b: ")
    assert "not a fair comparison: &lt;a&gt; has 1,000 parameters, b 9" in made
    assert '>difference</th><td class="n">-1</td>' in made
    assert str(verdict).splitlines()[-1] == verdict.sentence


def test_a_ledger_is_a_list_that_shows_a_table(tmp_path: Path) -> None:
    claim = Claim("id", "error | of <a>", 1.0, "MSE", [1.0, 1.1, 0.9]).to_dict()
    ledger = Ledger([{"study": "sines", **claim}])
    made = ledger._repr_html_()
    assert "error | of &lt;a&gt;" in made
    assert "<caption>1 claims: 1 reproduced.</caption>" in made
    assert ledger == [{"study": "sines", **claim}]
