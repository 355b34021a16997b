"""The ledger: every published number of every study, with ours and the verdict, in one table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from msae_jax.results.claims import read_results
from msae_jax.system import html
from msae_jax.system.files import replacing

_HEAD = """# Ledger of claims

Every published number beside ours. The interval is Student's, of the mean over seeds, at 95%. The
rule, fixed before the runs: a plain number, published from a single run, is *reproduced* if it lies
where one more of our seeds would with 95% probability (and our mean is known to 25%); an effect
such as "22% lower" if it lies in the interval of our mean and 0 does not; a number of parameters if
it is the same. *Underspecified* claims lack what it takes to test them; *ours alone* stand beside
no published number.
"""


class Ledger(list[dict[str, Any]]):
    """Claims, each as `Claim.to_dict` has it, with the name of its `study`."""

    def _repr_html_(self) -> str:
        """Returns what notebooks show: the table of `ledger.md`."""
        head, *rows = _cells(self)
        return html.table(head, rows, tally(self))


def collect(folder: Path, studies: Sequence[str]) -> Ledger:
    """Returns the claims of the studies that have a `results.json` in `folder`/STUDY.

    Raises:
      InputError: one is damaged.
    """
    found = Ledger()
    for study in studies:
        path = folder / study / "results.json"
        if path.exists():
            found += [{"study": study, **claim} for claim in read_results(path)]
    return found


def write(folder: Path, studies: Sequence[str]) -> Ledger:
    """Writes `ledger.json` and `ledger.md` from the studies' results in `folder`."""
    claims = collect(folder, studies)
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / "ledger.json", overwrite=True) as temporary:
        temporary.write_text(json.dumps({"claims": claims}, indent=1) + "\n")
    with replacing(folder / "ledger.md", overwrite=True) as temporary:
        temporary.write_text(f"{_HEAD}\n{_table(claims)}\n\n{tally(claims)}\n")
    return claims


def tally(claims: Sequence[dict[str, Any]]) -> str:
    """Returns a sentence with the number of claims of each verdict."""
    verdicts = [claim["verdict"] for claim in claims]
    counts = {name: verdicts.count(name) for name in dict.fromkeys(sorted(verdicts))}
    return f"{len(claims)} claims: " + ", ".join(f"{n} {name}" for name, n in counts.items()) + "."


def _table(claims: Sequence[dict[str, Any]]) -> str:
    head, *rows = [f"| {' | '.join(cells)} |" for cells in _cells(claims)]
    return "\n".join([head, "|" + "---|" * 9, *rows])


def _cells(claims: Sequence[dict[str, Any]]) -> list[list[str]]:
    """Returns the cells of a table, its head first."""
    head = "study | claim | source | unit | published | ours (95% interval) | seeds | verdict | why"
    rows = [head.split(" | ")]
    for c in claims:
        low, high = c["ci95"]
        interval = "" if low is None else f" ({low:.4g} to {high:.4g})"
        published = "" if c["published"] is None else f"{c['published']:.6g}"
        cells = [c["study"], c["statement"], c["source"], c["unit"], published]
        ours = "every seed diverged" if c["mean"] is None else f"{c['mean']:.6g}{interval}"
        seeds = f"{c['n_seeds']}" + (f" ({c['diverged']} diverged)" if c["diverged"] else "")
        rows.append([*cells, ours, seeds, c["verdict"], c["why"]])
    return rows
