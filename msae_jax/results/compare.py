"""Does A beat B? Two runs of many seeds, their statistics, and whether the comparison is fair."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jax

from msae_jax import config
from msae_jax.analysis import paired, statistics
from msae_jax.analysis.paired import Comparison
from msae_jax.analysis.statistics import Mean
from msae_jax.config import METRICS, TrainConfig
from msae_jax.errors import InputError, unknown_name
from msae_jax.fitting.ensemble import Ensemble
from msae_jax.runs import checkpoint
from msae_jax.system import html
from msae_jax.weights import model_of


@dataclass(frozen=True)
class Side:
    """One of the two methods.

    Attributes:
      values: by seed, the metric after its last epoch.
      epochs: by seed, how many it trained.
      diverged: by seed, what happened to those that have no value.
      parameters: trainable. latent_dim: None for a model without that field.
    """

    name: str
    settings: TrainConfig
    values: dict[int, float]
    epochs: dict[int, int]
    diverged: dict[int, str]
    parameters: int
    latent_dim: int | None


@dataclass(frozen=True)
class Verdict:
    """What the seeds that both sides have say.

    Attributes:
      unfair: how the two differ in anything but what is compared, one clause each.
      left_out: seeds that only one side has, or that diverged, one clause each.
      claim: of a published reduction in per cent: `reproduced`, `not reproduced` or `not enough
        seeds`, by the rule of `statistics.claim_verdict`.
    """

    a: Side
    b: Side
    metric: str
    seeds: list[int]
    comparison: Comparison
    unfair: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    published_percent: float | None = None
    claim: str | None = None

    @property
    def sentence(self) -> str:
        return paired.sentence(self.a.name, self.b.name, self.comparison, words_of(self.metric))

    @property
    def heading(self) -> str:
        """The sentence as it stands alone: with a capital, unless it begins with a name."""
        said = self.sentence
        return f"T{said[1:]}" if not self.comparison.enough_seeds else said

    def to_dict(self) -> dict[str, Any]:
        return {
            "name_a": self.a.name,
            "name_b": self.b.name,
            "metric": self.metric,
            "seeds": self.seeds,
            "values": {
                "a": [self.a.values[seed] for seed in self.seeds],
                "b": [self.b.values[seed] for seed in self.seeds],
            },
            **self.comparison.to_dict(),
            "fair": not self.unfair,
            "unfair": self.unfair,
            "left_out": self.left_out,
            "published_percent": self.published_percent,
            "claim": self.claim,
            "sentence": self.sentence,
        }

    def __str__(self) -> str:
        unit = METRICS[self.metric].unit
        width = max(len(self.a.name), len(self.b.name), 10)
        lines = [f"{words_of(self.metric)} ({unit}), {len(self.seeds)} seeds, mean (95% interval)"]
        for name, mean in self._means():
            interval = f"({mean.low:.4g} to {mean.high:.4g})"
            lines.append(f"  {name:{width}}  {mean.mean:.5g} {interval}, std {mean.std:.2g}")
        claim = [] if self.claim is None else [self._claim_sentence]
        return "\n".join([*lines, *self._remarks(), self.sentence, *claim])

    def _repr_html_(self) -> str:
        """Returns what notebooks and reports show: the sentence, the means, and the remarks."""
        rows = [
            (name, m.mean, html.Figure(f"{m.low:.4g} to {m.high:.4g}"), m.std)
            for name, m in self._means()
        ]
        head = (words_of(self.metric), "mean", "95% interval", "std over seeds")
        caption = f"{METRICS[self.metric].unit}, {len(self.seeds)} seeds that both have"
        claim = [] if self.claim is None else [html.element("p", self._claim_sentence)]
        return html.joined(
            [
                html.element("p", html.element("strong", self.heading)),
                html.table(head, rows, caption),
                *claim,
                html.bullets(self._remarks()),
            ]
        )

    def _means(self) -> list[tuple[str, Mean]]:
        c = self.comparison
        return [(self.a.name, c.a), (self.b.name, c.b), ("difference", c.difference)]

    def _remarks(self) -> list[str]:
        c = self.comparison
        low, high = c.improvement_interval.low, c.improvement_interval.high
        lines = [
            f"probability of improvement {c.improvement:.2f} ({low:.2f} to {high:.2f})",
            f"effect size {c.d_z:.2f} (paired d_z), {c.d_pooled:.2f} (Cohen's d)",
            f"p = {c.p:.3g} (sign-flip permutation), {c.p_wilcoxon:.3g} (Wilcoxon)",
        ]
        if c.seeds_needed is not None:
            lines.append(f"{c.seeds_needed:,} seeds show a difference of this size (80% power)")
        lines += [f"left out: {text}" for text in self.left_out]
        return lines + [f"not a fair comparison: {text}" for text in self.unfair]

    @property
    def _claim_sentence(self) -> str:
        reduction = self.comparison.reduction_percent
        return (
            f"claim of {self.published_percent:g}% lower: {self.claim} (ours "
            f"{reduction.mean:.1f}%, 95% interval {reduction.low:.1f} to {reduction.high:.1f}%)"
        )


def side_of(
    run: Ensemble | str | Path,
    metric: str = "test_mse",
    name: str | None = None,
    named: Collection[str | None] = (),
) -> Side:
    """Returns one side from a finished ensemble, or from its run directory.

    Args:
      named: what the user names of a run directory's own code, see `weights.model_of`.

    Raises:
      InputError: an unknown metric, a run of one seed, or members that are no plain seeds.
    """
    if metric not in METRICS:
        raise unknown_name("metric", metric, METRICS)
    if isinstance(run, Ensemble):
        settings, model = run.config, run.model
        members = [(m.seed, m.vary, m.learning_rate, m.beta) for m in run.members]
        diverged, histories = run.diverged, run.histories
        count = sum(a[0].size for a in jax.tree.leaves(run.weights["params"]))
    else:
        opened = checkpoint.load_all(run)
        if len(opened.members) == 1:
            raise InputError(
                f"{run} holds one seed, and one seed is never a result: train it with --seeds."
            )
        settings, model = model_of(opened, named)
        members = [(m["seed"], m["vary"], m["learning_rate"], m["beta"]) for m in opened.members]
        diverged = {
            i: m["diverged"] for i, m in enumerate(opened.members) if m["diverged"] is not None
        }
        histories = opened.histories
        count = sum(a[0].size for a in jax.tree.leaves(opened.variables["params"]))
        name = name or Path(run).name
    if any(vary != "all" or (rate, beta) != (None, None) for _, vary, rate, beta in members):
        raise InputError(
            f"{name or 'the run'} varies more than seeds: compare runs made with --seeds alone."
        )
    seeds = [member[0] for member in members]
    done = [i for i in range(len(seeds)) if i not in diverged and histories[i]]
    return Side(
        name or settings.model.name,
        settings,
        {seeds[i]: histories[i][-1][metric] for i in done},
        {seeds[i]: len(histories[i]) for i in done},
        {seeds[i]: text for i, text in diverged.items()},
        count,
        getattr(model, "latent_dim", None),
    )


def compare(
    a: Side,
    b: Side,
    metric: str = "test_mse",
    *,
    published_percent: float | None = None,
    meant: Collection[str] = (),
) -> Verdict:
    """Compares two sides over the seeds that both have; lower is better.

    Args:
      published_percent: a published claim that A's metric is so many per cent below B's.
      meant: dotted fields of the configuration that are what is compared, and therefore not unfair.

    Raises:
      InputError: fewer than two seeds in common.
    """
    if a.name == b.name:
        a, b = replace(a, name=f"{a.name} (A)"), replace(b, name=f"{b.name} (B)")
    seeds = sorted(a.values.keys() & b.values.keys())
    if len(seeds) < 2:
        raise InputError(
            f"{a.name} and {b.name} have {len(seeds)} seeds in common, expected at least 2: one "
            "seed is never a result."
        )
    comparison = paired.compare([a.values[s] for s in seeds], [b.values[s] for s in seeds])
    claim = None
    if published_percent is not None:
        reductions = [100 * (1 - a.values[s] / b.values[s]) for s in seeds]
        claim = statistics.claim_verdict(reductions, published_percent)
    return Verdict(
        a,
        b,
        metric,
        seeds,
        comparison,
        unfair(a, b, seeds, meant),
        _left_out(a, b),
        published_percent,
        claim,
    )


def unfair(a: Side, b: Side, seeds: Sequence[int], meant: Collection[str] = ()) -> list[str]:
    """Returns how two sides differ in more than the method: parameters, latent size, training."""
    found = []
    if a.parameters != b.parameters and not _close(a.parameters, b.parameters):
        found.append(
            f"{a.name} has {a.parameters:,} parameters, {b.name} {b.parameters:,} (--match params)"
        )
    if a.latent_dim != b.latent_dim:
        found.append(
            f"{a.name} has {a.latent_dim} latent dimensions, {b.name} {b.latent_dim} (--match "
            "latent)"
        )
    epochs = [sorted({side.epochs[seed] for seed in seeds}) for side in (a, b)]
    if epochs[0] != epochs[1]:
        trained = [", ".join(map(str, each)) for each in epochs]
        plural = "" if trained[0] == "1" else "s"
        found.append(f"{a.name} trained {trained[0]} epoch{plural}, {b.name} {trained[1]}")
    left, right = (config.to_dict(side.settings) for side in (a, b))
    kept = ("model", "epochs", "seed", "checkpoint_every", "best_metric", "pipeline")
    for name, (x, y) in config.differences(left, right).items():
        if name.split(".")[0] not in kept and name not in meant:
            found.append(f"{name} is {x!r} for {a.name}, {y!r} for {b.name}")
    return found


def _close(x: int, y: int) -> bool:
    """Whether two numbers of parameters are within 1%, as near as whole widths may come."""
    return abs(x - y) <= 0.01 * max(x, y)


def _left_out(a: Side, b: Side) -> list[str]:
    found = []
    for side, other in ((a, b), (b, a)):
        found += [f"{side.name} seed {seed}: {text}" for seed, text in side.diverged.items()]
        known = other.values.keys() | other.diverged.keys()
        alone = sorted(side.values.keys() - known)
        if alone:
            found.append(f"{len(alone)} seeds that only {side.name} has: {alone}")
    return found


def words_of(metric: str) -> str:
    """Returns a metric in words, such as `test MSE`."""
    split, _, _ = metric.partition("_")
    return f"{'training' if split == 'train' else split} {METRICS[metric].words}"
