from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from msae_jax.errors import InputError
from msae_jax.results import ledger
from msae_jax.results.claims import Claim, seeds_of_results, table, write_results


def test_the_interval_is_students() -> None:
    """The textbook sample 1..5: mean 3, s = 1.5811, t(0.975, 4) = 2.7764."""
    claim = Claim("c", "s", 2.5, "u", [1, 2, 3, 4, 5])
    assert claim.mean == 3
    assert claim.std == pytest.approx(1.58114, abs=1e-5)
    half = 2.7764451 * 1.5811388 / np.sqrt(5)
    assert claim.ci95 == pytest.approx((3 - half, 3 + half), abs=1e-5)


def test_results_are_complete_json(tmp_path: Path) -> None:
    claims = [Claim("a", "many", 1.0, "u", [1.0, 3.0]), Claim("b", "one", 1.0, "u", [2.0])]
    write_results(tmp_path / "x" / "results.json", "study", claims)
    content = json.loads((tmp_path / "x/results.json").read_text())
    assert content["study"] == "study"
    a, b = content["claims"]
    assert {
        "id", "statement", "published", "unit", "values", "mean", "ci95", "n_seeds",
    } < set(a)  # fmt: skip
    assert (a["values"], a["mean"], a["n_seeds"]) == ([1.0, 3.0], 2.0, 2)
    assert a["ci95"][0] < 2.0 < a["ci95"][1]
    assert b["ci95"] == [None, None]
    assert content["environment"]["versions"]["jax"]
    assert "cpu" in content["environment"]["device"] or "gpu" in content["environment"]["device"]
    assert [p.name for p in (tmp_path / "x").iterdir()] == ["results.json"]


def test_the_table_says_where_there_is_no_spread() -> None:
    text = table([Claim("b", "one", 1.0, "nats", [2.0])])
    assert "one seed: none" in text
    assert "| nats | 1 | 2 |" in text


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({"published": 2.5}, "reproduced"),  # within the spread of single runs, 1 to 3
        ({"published": 9.0}, "not reproduced"),
        ({"published": None}, "ours alone"),
        ({"underspecified": "no sizes given"}, "underspecified"),
        ({"published": 2.2, "effect": True}, "reproduced"),  # the interval of the mean: 1.5 to 2.5
        ({"published": 2.9, "effect": True}, "not reproduced"),
        ({"unit": "parameters", "published": 2.0}, "not reproduced"),
        ({"values": [2.0]}, "not enough seeds"),
    ],
)
def test_verdicts(changes: dict, verdict: str) -> None:
    given = {"published": 2.0, "unit": "u", "values": [1.0, 2.0, 3.0, 2.0, 2.0, 1.9, 2.1, 2.0]}
    claim = Claim("a", "s", **(given | changes))
    assert claim.verdict == verdict
    assert claim.to_dict()["verdict"] == verdict


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, "inside 0.6527 to 3.347, where one more seed of ours would lie"),
        ({"published": 9.0}, "outside 0.6527 to 3.347, where one more seed of ours would lie"),
        (
            {"published": 9.0, "why": "it is so"},
            "outside 0.6527 to 3.347, where one more seed of ours would lie; it is so",
        ),
        ({"why": "of others"}, "inside 0.6527 to 3.347, where one more seed of ours would lie"),
        (
            {"published": 2.2, "effect": True, "values": [-1.0, 5.0]},
            "inside -36.12 to 40.12, our interval, which holds 0 too",
        ),
        (
            {"published": 1.0, "values": [1.0, 2.0]},
            "inside -9.504 to 12.5, where one more seed of ours would lie, but our mean is known "
            "to 635% only",
        ),
        ({"published": 2.2, "effect": True}, "inside 1.551 to 2.449, our interval"),
        ({"published": None}, "no published number"),
        ({"values": [2.0]}, "one seed says nothing of the spread"),
    ],
)
def test_every_verdict_has_a_reason(changes: dict, reason: str) -> None:
    given = {"published": 2.0, "unit": "u", "values": [1.0, 2.0, 3.0, 2.0, 2.0, 1.9, 2.1, 2.0]}
    assert Claim("a", "s", **(given | changes)).to_dict()["why"] == reason


def test_details_are_not_in_the_table() -> None:
    claims = [
        Claim("a", "shown", 1.0, "u", [1.0]),
        Claim("b", "one of", 1.0, "u", [1.0], detail=True),
    ]
    assert "one of" not in table(claims)
    assert "and 1 numbers in detail" in table(claims)


def test_the_ledger_lists_every_claim_and_its_verdict(tmp_path: Path) -> None:
    values = [1.9, 2.0, 2.1, 2.0]
    claim = Claim("a", "an error", 9.0, "u", values, source="Table 1", why="it is so")
    write_results(tmp_path / "one" / "results.json", "one", [claim])
    written = ledger.write(tmp_path, ["one", "not run yet"])
    assert [(c["study"], c["id"], c["verdict"]) for c in written] == [
        ("one", "a", "not reproduced")
    ]
    assert json.loads((tmp_path / "ledger.json").read_text()) == {"claims": written}
    text = (tmp_path / "ledger.md").read_text()
    assert (
        "| one | an error | Table 1 | u | 9 | 2 (1.87 to 2.13) | 4 | not reproduced | outside "
        "1.709 to 2.291, where one more seed of ours would lie; it is so |" in text
    )
    assert "1 claims: 1 not reproduced." in text


@pytest.mark.parametrize("digest", [True, False])
def test_damaged_results_are_refused(tmp_path: Path, digest: bool) -> None:
    """Another number is found by the digest; those of older versions have none."""
    path = tmp_path / "one" / "results.json"
    write_results(path, "one", [Claim("a", "an error", 9.0, "u", [1.5, 2.5])])
    content = json.loads(path.read_text())
    if not digest:
        del content["sha256"]
        path.write_text(json.dumps(content))
        assert len(ledger.collect(tmp_path, ["one"])) == 1
    content["claims"][0].update({"mean": 3.0} if digest else {"n_seeds": 2, "more": 1})
    for damaged in (json.dumps(content).encode(), b"[]", b"{", b"\xff", b"[" * 100_000):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="is not as it was written: run its study again"):
            ledger.collect(tmp_path, ["one"])
        assert seeds_of_results(path) == 0
