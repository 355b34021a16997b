"""Published numbers beside ours: the mean over seeds and its 95% interval."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from msae_jax import environment
from msae_jax.files import replacing


@dataclass(frozen=True)
class Claim:
    """A published number and our value of it for each seed.

    Attributes:
      unit: of `published` and `values`, e.g. `MSE per value`.
    """

    id: str
    statement: str
    published: float
    unit: str
    values: Sequence[float]

    @property
    def mean(self) -> float:
        return float(np.mean(self.values))

    @property
    def std(self) -> float:
        """The standard deviation over seeds (n - 1); NaN for one seed."""
        return float(np.std(self.values, ddof=1)) if len(self.values) > 1 else float("nan")

    @property
    def ci95(self) -> tuple[float, float]:
        """Student's t interval of the mean, at 95%; NaN for one seed."""
        from scipy import stats

        n = len(self.values)
        if n < 2:
            return float("nan"), float("nan")
        half = float(stats.t.ppf(0.975, n - 1)) * self.std / n**0.5
        return self.mean - half, self.mean + half

    def to_dict(self) -> dict[str, Any]:
        low, high = self.ci95
        return {
            "id": self.id,
            "statement": self.statement,
            "published": self.published,
            "unit": self.unit,
            "values": [float(v) for v in self.values],
            "mean": self.mean,
            "ci95": [low, high] if len(self.values) > 1 else [None, None],
            "n_seeds": len(self.values),
        }


def write_results(path: Path, study: str, claims: Sequence[Claim]) -> None:
    """Writes `results.json` of a study, whole or not at all."""
    content = {
        "study": study,
        "claims": [claim.to_dict() for claim in claims],
        "environment": environment.describe(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, overwrite=True) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")


def table(claims: Sequence[Claim]) -> str:
    """Returns a Markdown table: published, our mean, spread over seeds, 95% interval."""
    rows = ["| claim | unit | published | mean | std over seeds | 95% interval | seeds |"]
    rows.append("|---|---|---|---|---|---|---|")
    for c in claims:
        low, high = c.ci95
        one = len(c.values) < 2
        spread = "one seed: none" if one else f"{c.std:.3g}"
        interval = "one seed: none" if one else f"{low:.4g} to {high:.4g}"
        rows.append(
            f"| {c.statement} | {c.unit} | {c.published:.4g} | {c.mean:.4g} | {spread} | "
            f"{interval} | {len(c.values)} |"
        )
    return "\n".join(rows)
