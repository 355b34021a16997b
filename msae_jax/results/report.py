"""What the command line prints after many seeds: means with intervals, and the diverged seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from msae_jax.analysis import statistics, variance
from msae_jax.config import METRICS
from msae_jax.fitting.ensemble import Ensemble
from msae_jax.results.compare import words_of
from msae_jax.runs.history import in_words


def of_ensemble(done: Ensemble, metric: str = "test_mse") -> str:
    """Returns the mean of a metric over seeds or, where sources vary one at a time, its spread by
    source; and a line for each seed that diverged."""
    values = done.final(metric)
    sources = list(dict.fromkeys(member.vary for member in done.members))
    by_source = {
        source: values[[m.vary == source for m in done.members] & np.isfinite(values)]
        for source in sources
    }
    epochs = max(map(len, done.histories), default=0)
    head = f"{done.config.model.name} on {done.config.data}, {in_words(epochs)}"
    lines = [f"{head}: diverged, {_who(done, i)}: {text}" for i, text in done.diverged.items()]
    if sources == ["all"]:
        lines.append(f"{head}: {words_of(metric)} {_mean(by_source['all'])} {_unit(metric)}")
        lines[-1] += _left_out(len(values), len(by_source["all"]))
    else:
        enough = {source: found for source, found in by_source.items() if len(found) > 1}
        lines.append(variance.table(variance.split(enough), words_of(metric)))
        lines += [f"  {source}: too few seeds" for source in sources if source not in enough]
    return "\n".join(lines)


def of_sweep(rows: Sequence[dict[str, Any]], axes: Sequence[str], metric: str = "test_mse") -> str:
    """Returns a line for each point of the grid: the mean of a metric over its seeds."""
    lines = []
    points = list(dict.fromkeys(tuple(repr(row[axis]) for axis in axes) for row in rows))
    for point in points:
        here = [row for row in rows if tuple(repr(row[axis]) for axis in axes) == point]
        values = np.array([row[metric] for row in here if row["diverged"] is None])
        name = ", ".join(f"{axis}={value}" for axis, value in zip(axes, point, strict=True))
        text = "every seed diverged"
        if len(values):
            text = f"{words_of(metric)} {_mean(values)} {_unit(metric)}"
        lines.append(f"{name}: {text}{_left_out(len(here), len(values))}")
    return "\n".join(lines)


def _who(done: Ensemble, index: int) -> str:
    member = done.members[index]
    return f"seed {member.seed}" + ("" if member.vary == "all" else f" (varies {member.vary})")


def _unit(metric: str) -> str:
    unit = METRICS[metric].unit
    return "per value" if unit == "mean per value" else f"({unit})"


def _mean(values: np.ndarray) -> str:
    if len(values) == 0:
        return "of no seed"
    if len(values) == 1:
        return f"{values[0]:.6g} (one seed is not a result)"
    m = statistics.mean_interval(values)
    return f"{m.mean:.5g} (95% interval {m.low:.5g} to {m.high:.5g}, std {m.std:.2g}, {m.n} seeds)"


def _left_out(given: int, used: int) -> str:
    return f"; {given - used} of {given} seeds diverged and are left out" if used < given else ""
