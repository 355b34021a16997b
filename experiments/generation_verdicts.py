"""Which of several methods generates best, over paired seeds, and at what cost.

The lower measure is the better one. All pairs of contenders are compared, by the permutation test
of `analysis.paired`, and p is corrected by Holm's method for the number of pairs: the best one is
found by looking, and the correction for all pairs covers that. Few seeds cannot decide: with n of
them p is never below 2 / 2^n, times the number of pairs after the correction.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from msae_jax.analysis import paired
from msae_jax.analysis.statistics import to_json

ALPHA = 0.05
MOST_SEEDS = 64
"""No more seeds are proposed."""

Values = Mapping[str, Mapping[int, float]]
"""By contender and seed; seeds that diverged have none."""


class Pair(NamedTuple):
    """Two contenders, and what their common seeds say. `p` is corrected for all pairs."""

    a: str
    b: str
    seeds: int
    difference: float
    p: float
    smallest_p: float


@dataclass(frozen=True)
class Ranking:
    """Contenders by their mean, the best one first, and all their pairs.

    Attributes:
      means: over seeds, increasing.
      beaten: those that the best one is told from. undecided: the others.
      seeds: the fewest of a pair. enough: whether they could decide at all.
      seeds_needed: the fewest that could; None where `MOST_SEEDS` could not.
    """

    means: dict[str, float]
    pairs: tuple[Pair, ...]
    beaten: tuple[str, ...]
    undecided: tuple[str, ...]
    seeds: int
    enough: bool
    seeds_needed: int | None

    @property
    def best(self) -> str:
        return next(iter(self.means))

    def to_dict(self) -> dict[str, Any]:
        return to_json(
            {**asdict(self), "best": self.best, "pairs": [p._asdict() for p in self.pairs]}
        )


def rank(values: Values) -> Ranking | None:
    """Ranks contenders; None where fewer than two have two seeds in common."""
    means = {name: float(np.mean([*of.values()])) for name, of in values.items() if of}
    means = dict(sorted(means.items(), key=lambda item: item[1]))
    found = []
    for a, b in itertools.combinations(means, 2):
        seeds = sorted(values[a].keys() & values[b].keys())
        if len(seeds) > 1:
            sides = ([values[name][seed] for seed in seeds] for name in (a, b))
            found.append((a, b, paired.compare(*sides, alpha=ALPHA)))
    if not found:
        return None
    corrected = paired.holm([comparison.p for _, _, comparison in found])
    pairs = tuple(
        Pair(a, b, c.difference.n, c.difference.mean, float(p), c.smallest_p)
        for (a, b, c), p in zip(found, corrected, strict=True)
    )
    best = next(iter(means))
    beaten = tuple(p.b for p in pairs if p.a == best and p.p < ALPHA and p.difference < 0)
    undecided = tuple(name for name in means if name not in (best, *beaten))
    enough = min(pair.smallest_p for pair in pairs) * len(pairs) < ALPHA
    fewest = min(pair.seeds for pair in pairs)
    return Ranking(means, pairs, beaten, undecided, fewest, enough, seeds_needed(len(pairs)))


def seeds_needed(pairs: int) -> int | None:
    """Returns the fewest seeds with which a test of so many could be decided after correction."""
    counts = range(2, MOST_SEEDS + 1)
    return next((n for n in counts if paired.smallest_p(n) * pairs < ALPHA), None)


def sentence(ranking: Ranking, words: Mapping[str, str], quantity: str, where: str) -> str:
    """Returns who is best, in words.

    Args:
      words: of the contenders. quantity: the measure. where: the data set.
    """
    best, (first, *others) = named(words[ranking.best]), ranking.means.values()
    lowest = f"has the lowest {quantity} on average, {first:.4g} ({others[0]:.4g} the next)"
    tested = f"{ranking.seeds} seeds, Holm's correction for {len(ranking.pairs)} comparisons"
    if not ranking.enough:
        needed = ranking.seeds_needed
        takes = f"{needed} seeds could" if needed else f"nor could {MOST_SEEDS}"
        return (
            f"On {where}, {best} {lowest}; there are not enough seeds to tell it from any other "
            f"({tested}; {takes})."
        )
    if not ranking.undecided:
        return f"On {where}, {best} generates best: it {lowest}, below every other ({tested})."
    unclear = f"it is not told from {listed(ranking.undecided, words)} ({tested})"
    if not ranking.beaten:
        return f"On {where}, {best} {lowest}, but {unclear}."
    return f"On {where}, {best} {lowest}, below {listed(ranking.beaten, words)}; {unclear}."


def listed(names: Sequence[str], words: Mapping[str, str]) -> str:
    """Returns contenders as a sentence has them."""
    *before, last = (named(words[name]) for name in names)
    return f"{', '.join(before)} and {last}" if before else last


def named(words: str) -> str:
    """Returns a contender as a sentence has it: the autoencoder with the flow prior."""
    return f"the {words.replace(', ', ' with the ')}"


class Cost(NamedTuple):
    """How far errors lie above those of the autoencoder at the same seeds, in per cent."""

    percent: list[float]
    p: float
    smallest_p: float

    @property
    def why(self) -> str:
        """What the seeds say of it, in words."""
        if not self.percent:
            return "no seed that both have"
        if self.smallest_p >= ALPHA:
            return f"not enough seeds: p, corrected, cannot fall below {self.smallest_p:.2g}"
        told = "told from" if self.p < ALPHA else "not told from"
        return f"{told} the autoencoder's: p = {self.p:.2g} after Holm's correction"


def costs(errors: Values, base: str) -> dict[str, Cost]:
    """Returns the cost of each method but `base`; p is corrected for their number."""
    rivals = [name for name in errors if name != base]
    raw: dict[str, tuple[list[float], float, float]] = {}
    for name in rivals:
        seeds = sorted(errors[name].keys() & errors[base].keys())
        own, theirs = ([errors[of][seed] for seed in seeds] for of in (name, base))
        percent = [100 * (a / b - 1) for a, b in zip(own, theirs, strict=True)]
        p, smallest = 1.0, 1.0
        if len(seeds) > 1:
            comparison = paired.compare(own, theirs, alpha=ALPHA)
            p, smallest = comparison.p, comparison.smallest_p
        raw[name] = percent, p, smallest
    corrected = paired.holm([p for _, p, _ in raw.values()])
    return {
        name: Cost(percent, float(p), min(1.0, smallest * len(rivals)))
        for (name, (percent, _, smallest)), p in zip(raw.items(), corrected, strict=True)
    }
