"""Published numbers beside ours: our mean over seeds, its 95% interval, and a verdict."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msae_jax.analysis import statistics
from msae_jax.errors import InputError
from msae_jax.system import environment
from msae_jax.system.files import replacing


@dataclass(frozen=True)
class Claim:
    """A published number, and our value for each seed.

    Attributes:
      published: None where the originals publish no number.
      unit: the unit of `published` and `values`, e.g. `MSE per value`.
      values: one value for each seed that did not diverge.
      source: where the number was published.
      effect: True for the size of an effect, which is 0 if the claim is false; False for a plain
        number from a single run.
      underspecified: why the claim cannot be tested as published; None where it can.
      why: one line that explains a verdict other than `reproduced`.
      diverged: how many seeds are left out because they diverged.
      detail: True for one number of a series, which the ledger shows and the screen does not.
    """

    id: str
    statement: str
    published: float | None
    unit: str
    values: Sequence[float]
    source: str = ""
    effect: bool = False
    underspecified: str | None = None
    why: str = ""
    diverged: int = 0
    detail: bool = False

    @property
    def mean(self) -> float:
        return self._statistics.mean

    @property
    def std(self) -> float:
        """The standard deviation over seeds (n - 1); NaN for one seed."""
        return self._statistics.std

    @property
    def ci95(self) -> tuple[float, float]:
        """Student's t interval of the mean, at 95%; NaN for one seed."""
        return self._statistics.low, self._statistics.high

    @property
    def _statistics(self) -> statistics.Mean:
        if len(self.values) == 0:  # every seed diverged
            nan = float("nan")
            return statistics.Mean(nan, nan, nan, nan, 0)
        return statistics.mean_interval(self.values)

    @property
    def verdict(self) -> str:
        """`reproduced`, `not reproduced`, `not enough seeds`, `underspecified` or `ours alone`.

        The rule is that of `statistics.claim_verdict`. Numbers of parameters, which no seed
        changes, are reproduced if they are equal.
        """
        if self.underspecified is not None:
            return "underspecified"
        if self.published is None:
            return "ours alone"
        if self.unit == "parameters":
            equal = all(value == self.published for value in self.values)
            return "reproduced" if equal else "not reproduced"
        null = 0.0 if self.effect else None
        return statistics.claim_verdict(
            self.values, self.published, null=null, single_run=not self.effect
        )

    @property
    def reason(self) -> str:
        """One line that explains the verdict; it ends with `why` unless that is `reproduced`."""
        if self.underspecified is not None:
            return self.underspecified
        if self.published is None:
            return self.why or "no published number"
        rule = self._rule()
        return f"{rule}; {self.why}" if self.why and self.verdict != "reproduced" else rule

    def _rule(self) -> str:
        assert self.published is not None
        if self.unit == "parameters":
            return "counted"
        if len(self.values) < 2:
            return "one seed says nothing of the spread"
        interval, where = self._statistics.interval, "our interval"
        if not self.effect:
            interval = statistics.prediction_interval(self.values)
            where = "where one more seed of ours would lie"
        elif 0 in interval and self.published in interval:
            where += ", which holds 0 too"
        elif 0 not in interval and (self.mean > 0) != (self.published > 0):
            where += ", on the other side of 0"
        side = "inside" if self.published in interval else "outside"
        found = f"{side} {interval.low:.4g} to {interval.high:.4g}, {where}"
        if self.verdict == "not enough seeds" and not self.effect:
            low, high = self.ci95
            known = (high - low) / 2 / abs(self.published)
            found += f", but our mean is known to {known:.0%} only"
        return found

    def to_dict(self) -> dict[str, Any]:
        low, high = self.ci95
        return {
            "id": self.id,
            "statement": self.statement,
            "source": self.source,
            "published": self.published,
            "unit": self.unit,
            "values": [float(v) for v in self.values],
            "mean": self.mean if self.values else None,
            "ci95": [low, high] if len(self.values) > 1 else [None, None],
            "n_seeds": len(self.values),
            "diverged": self.diverged,
            "verdict": self.verdict,
            "why": self.reason,
            "detail": self.detail,
        }


def write_results(
    path: Path,
    study: str,
    claims: Sequence[Claim],
    *,
    trained_with: Mapping[str, Mapping[str, str]] | None = None,
    **more: Any,
) -> None:
    """Writes `results.json` of a study, whole or not at all.

    Args:
      trained_with: by run, the versions of the packages that trained it.
      more: further results of the study; JSON values.
    """
    content = {
        "study": study,
        "claims": [claim.to_dict() for claim in claims],
        "environment": environment.describe(),
        "trained_with": trained_with or {},
        **more,
    }
    content["sha256"] = _digest(content)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, overwrite=True) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")


def read_results(path: Path) -> list[dict[str, Any]]:
    """Returns the claims in `results.json`, each as `Claim.to_dict` has it.

    Raises:
      InputError: it is damaged; files of older versions have no digest that would tell.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        expected = content.pop("sha256", None)
        damaged = expected not in (None, _digest(content))
        claims = content["claims"]
        names = Claim("", "", None, "", [0.0]).to_dict()
        damaged = damaged or any(claim.keys() != names.keys() for claim in claims)
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        damaged = True
    if damaged:
        raise InputError(f"{path} is not as it was written: run its study again (msae reproduce).")
    return list(claims)


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def seeds_of_results(path: Path) -> int:
    """Returns the largest number of seeds of a claim in `results.json` at `path`; 0 where it is
    missing or damaged."""
    with contextlib.suppress(InputError, OSError):
        return max((c["n_seeds"] for c in read_results(path)), default=0)
    return 0


def table(claims: Sequence[Claim]) -> str:
    """Returns a Markdown table of all claims but the details, which a last line counts."""
    rows = ["| claim | unit | published | mean | std over seeds | 95% interval | seeds | verdict |"]
    rows.append("|---|---|---|---|---|---|---|---|")
    shown = [claim for claim in claims if not claim.detail]
    for c in shown:
        low, high = c.ci95
        one = len(c.values) < 2
        spread = "one seed: none" if one else f"{c.std:.3g}"
        interval = "one seed: none" if one else f"{low:.4g} to {high:.4g}"
        published = "" if c.published is None else _number(c.published)
        rows.append(
            f"| {c.statement} | {c.unit} | {published} | {_number(c.mean)} | {spread} | "
            f"{interval} | {_seeds(len(c.values), c.diverged)} | {c.verdict} |"
        )
    if details := len(claims) - len(shown):
        rows.append(f"\nand {details} numbers in detail: results.json and the ledger")
    return "\n".join(rows)


def _seeds(used: int, diverged: int) -> str:
    return f"{used} ({diverged} more diverged)" if diverged else str(used)


def _number(value: float) -> str:
    if value != value:
        return "none"
    return f"{value:,.0f}" if value == round(value) and abs(value) >= 1000 else f"{value:.4g}"
