"""What each run found: curves with bands over seeds, metrics with intervals, spread by source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from msae_jax.analysis import statistics, variance
from msae_jax.config import METRIC_KINDS, METRICS, Metric
from msae_jax.errors import InputError
from msae_jax.figures.history import COLOURS, Curve, epoch_curves
from msae_jax.fitting.ensemble import who
from msae_jax.report.drawing import Drawings, plain
from msae_jax.report.gather import Run, Subject
from msae_jax.results import report as words
from msae_jax.results.compare import words_of
from msae_jax.system.html import Figure, Html, element, joined, paragraphs, table
from msae_jax.train.seeds import Member

BAND = "Lines are means over seeds; bands span the lowest and the highest seed."
ROWS = 200
"""Rows of a table of members at most."""


def sentences(subject: Subject, metric: str) -> list[str]:
    """Returns what the command line says of a run after training, line by line."""
    if subject.is_sweep:
        begun = [r for r in subject.rows(metric) if r["diverged"] or r[metric] is not None]
        return words.of_sweep(begun, subject.axes, metric).splitlines()
    run = subject.runs[0]
    if not any(run.histories):
        return [f"{subject.name} has not finished an epoch."]
    try:
        return words.of_ensemble(run.ensemble(), metric).splitlines()
    except InputError as error:
        return [str(error)]


def curves(run: Run, drawings: Drawings) -> Html:
    """Returns a figure for each metric, training and test, that is not that of another."""
    if not any(run.histories):
        return paragraphs(["There are no curves: no epoch is finished."])
    seeds = sum(map(bool, run.histories))
    drawn = []
    for metric in _different(run):
        found = [
            Curve(text, run.curves(f"{split}_{metric.name}"))
            for split, text in (("test", "test"), ("train", "training"))
        ]
        figure = epoch_curves(found, quantity=metric.words, unit=metric.unit)
        said = f"{metric.words} of the training and the test split against the epoch, {seeds} seeds"
        drawn.append(drawings.add(figure, said))
    band = BAND if seeds > 1 else "One seed: there is no band, and one seed is not a result."
    return joined([element("p", band), element("div", *drawn, class_="figures")])


def _different(run: Run) -> list[Metric]:
    """Returns the metrics, MSE first, whose test values are not 0 and not those of one before."""
    found: list[tuple[Metric, np.ndarray]] = []
    for metric in sorted(METRIC_KINDS, key=lambda metric: metric.name != "mse"):
        tested = run.curves(f"test_{metric.name}")
        equal = any(np.allclose(tested, other, 1e-6, 0, True) for _, other in found)
        if np.nan_to_num(tested).any() and not equal:
            found.append((metric, tested))
    return [metric for metric, _ in found]


def joint_curves(listed: Sequence[tuple[str, np.ndarray]], metric: str, drawings: Drawings) -> Html:
    """Returns one figure of a metric of several runs; of many, of those that end lowest."""
    known = [(name, values) for name, values in listed if values.size]
    lowest = sorted(known, key=lambda pair: _last_mean(pair[1]))[: len(COLOURS)]
    chosen = [pair for pair in known if any(pair is other for other in lowest)]
    if not chosen:
        return Html("")
    lines = [Curve(plain(name), values) for name, values in chosen]
    figure = epoch_curves(lines, quantity=words_of(metric), unit=METRICS[metric].unit)
    few = (
        f" The {len(chosen)} of {len(known)} that end lowest are drawn."
        if known[len(chosen) :]
        else ""
    )
    names = ", ".join(name for name, _ in chosen)
    drawn = drawings.add(figure, f"{words_of(metric)} against the epoch: {names}", BAND + few)
    return element("div", drawn, class_="figures")


def _last_mean(values: np.ndarray) -> float:
    known = np.isfinite(values)
    last = values.shape[1] - 1 - known[:, ::-1].argmax(axis=1)
    return float(values[np.arange(len(values)), last].mean())


def metrics(run: Run) -> Html:
    """Returns the metrics of the last epoch over the plain seeds of a run, with intervals."""
    rows: list[list[Any]] = []
    for name, metric in METRICS.items():
        values = list(run.finals(name).values())
        if not values:
            return paragraphs(["There are no metrics: no seed has finished an epoch."])
        if not any(values):
            continue
        mean = statistics.mean_interval(values)
        row: list[Any] = [words_of(name), mean.mean]
        if len(values) > 1:
            row += [Figure(f"{mean.low:.5g} to {mean.high:.5g}"), mean.std]
        rows.append([*row, metric.unit])
    count = len(values)
    if count == 1:
        caption = "After the last epoch. One seed is not a result: it says nothing of the spread."
        return table(("metric", "value", "unit"), rows, caption)
    caption = f"After the last epoch of each of {count} seeds; Student's 95% interval of the mean."
    return table(("metric", "mean", "95% interval", "std over seeds", "unit"), rows, caption)


def members(subject: Subject, metric: str) -> Html:
    """Returns a row a member: what sets it apart, how far it is, and a metric."""
    rows = []
    for row in subject.rows(metric):
        run, index = row["run"], row["index"]
        point = [_as_cell(row[axis]) for axis in subject.axes]
        value = row[metric]
        seed = run.members[index].seed if subject.is_sweep else who(run.members[index])
        final = "" if value is None else value
        rows.append([str(seed), *point, run.state(index), final])
    head = ["seed", *subject.axes, "state", f"{words_of(metric)} ({METRICS[metric].unit})"]
    left = f"The first {ROWS} of {len(rows)} rows." if len(rows) > ROWS else None
    return table(head, rows[:ROWS], left)


def _as_cell(value: object) -> object:
    return f"{value:g}" if isinstance(value, float) else str(value)


def spread(run: Run, metric: str) -> Html | None:
    """Returns the spread by source; None of a run whose seeds vary everything at once."""
    final = run.finals(metric)
    sources = list(dict.fromkeys(member.vary for member in run.members))
    if sources == ["all"]:
        return None
    by_source = {
        source: [v for i, v in final.items() if run.members[i].vary == source] for source in sources
    }
    enough = {source: found for source, found in by_source.items() if len(found) > 1}
    few = [f"{source}: too few seeds." for source in sources if source not in enough]
    split = variance.split(enough) if enough else []
    rows = [
        (
            s.name if s.share is not None else "all together",
            s.n,
            s.std,
            Figure(f"{s.low:.3g} to {s.high:.3g}"),
            Figure("" if s.share is None or s.share != s.share else f"{100 * s.share:.0f}%"),
        )
        for s in split
    ]
    head = ("source", "seeds", "std", "95% interval", "share of the variance")
    caption = f"Spread of {words_of(metric)} ({METRICS[metric].unit}), each source varied alone"
    return joined([table(head, rows, caption) if rows else Html(""), paragraphs(few)])


def facts(run: Run) -> Html:
    """Returns the sizes of the model and of its data."""
    rows: list[tuple[str, object]] = [("model", str(run.settings.model.name))]
    opened = run.checkpoint
    if opened is not None:
        count = sum(a[0].size for a in jax.tree.leaves(opened.variables["params"]))
        kinds = sorted({str(a.dtype) for a in jax.tree.leaves(opened.variables["params"])})
        rows += [("trainable parameters", count), ("weights kept as", ", ".join(kinds))]
        rows.append(("shape of a sample", str(list(opened.sample_shape))))
    rows.append(("data", str(run.settings.data)))
    if opened is not None and opened.facts is not None:
        f = opened.facts
        rows += [("training samples", f.train), ("test samples", f.test)]
        rows.append(("values of the training split", f"{f.dtype}, {f.low:g} to {f.high:g}"))
        rows.append(("SHA-256 of the data", f"{f.digest[:16]}..."))
        if f.series is not None:
            rows.append(("channels", ", ".join(map(str, f.series["channels"]))))
    return table(("of the model and the data", "value"), rows)


def is_plain(run: Run) -> bool:
    """Whether the members of a run differ in nothing but their seeds."""
    return all(member == Member(member.seed) for member in run.members)
