"""Which of several runs is better: what `msae compare` says of each pair."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence

from msae_jax.analysis import paired
from msae_jax.errors import InputError
from msae_jax.report.gather import Subject
from msae_jax.results.compare import Side, Verdict, compare, side_of, words_of
from msae_jax.system.html import Figure, Html, element, joined, paragraphs, table

PAIRS = 45
"""Pairs that are compared at most: ten runs."""


def verdicts(
    subjects: Sequence[Subject], metric: str, named: Collection[str | None]
) -> tuple[list[Verdict], list[str]]:
    """Returns the verdict of each pair, in order, and why others have none, a sentence each."""
    sides: dict[str, Side] = {}
    left_out = []
    for subject in subjects:
        try:
            if subject.is_sweep:
                raise InputError(
                    f"{subject.name} varies more than seeds: give the directories of its groups, "
                    "where these differ in seeds alone."
                )
            if subject.runs[0].checkpoint is None:
                raise InputError(f"{subject.name} has no finished checkpoint yet.")
            sides[subject.name] = side_of(subject.path, metric, subject.name, named)
        except InputError as error:
            left_out.append(f"{subject.name} is not compared: {error}")
    pairs = list(itertools.combinations(sides.values(), 2))
    if len(pairs) > PAIRS:
        left_out.append(f"The first {PAIRS} of {len(pairs)} pairs are compared.")
    found = []
    for a, b in pairs[:PAIRS]:
        try:
            found.append(compare(a, b, metric))
        except InputError as error:
            left_out.append(f"{a.name} and {b.name} are not compared: {error}")
    return found, left_out


def section(found: Sequence[Verdict], left_out: Sequence[str]) -> Html:
    """Returns the verdicts in full; of several, a table with p corrected for their number."""
    parts: list[Html] = []
    if len(found) > 1:
        parts.append(_overview(found))
    for verdict in found:
        title = f"{verdict.a.name} and {verdict.b.name}"
        parts.append(element("article", element("h3", title), Html(verdict._repr_html_())))
    if not found:
        parts.append(element("p", "There is no verdict: no two of these runs can be compared."))
    return joined([*parts, paragraphs(left_out)])


def _overview(found: Sequence[Verdict]) -> Html:
    corrected = paired.holm([verdict.comparison.p for verdict in found])
    rows = [
        (
            f"{v.a.name} - {v.b.name}",
            v.comparison.difference.mean,
            Figure(f"{v.comparison.difference.low:.4g} to {v.comparison.difference.high:.4g}"),
            len(v.seeds),
            Figure(f"{v.comparison.p:.3g}"),
            Figure(f"{p:.3g}"),
        )
        for v, p in zip(found, corrected, strict=True)
    ]
    head = ("pair", "difference", "95% interval", "seeds", "p", "p (Holm)")
    caption = (
        f"Differences of {words_of(found[0].metric)}: negative where the first is better. The last "
        f"column corrects p for {len(found)} comparisons; the sentences below do not."
    )
    return table(head, rows, caption)
