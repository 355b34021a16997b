"""What an exported file was found to compute, against JAX, as text and as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from msae_jax.errors import InputError, printable
from msae_jax.system import html

TOLERANCE = 1e-5
MEASURE = "the largest |file - JAX| of a batch, relative to its largest |JAX|"


@dataclass(frozen=True)
class BatchCheck:
    """One batch. `max_abs` is the largest difference, `relative` that in terms of `MEASURE`."""

    batch: int
    max_abs: float
    relative: float

    @property
    def passed(self) -> bool:
        return self.relative <= TOLERANCE  # which a NaN is not


@dataclass(frozen=True)
class ExportCertificate:
    """What is known of an exported file.

    Attributes:
      subject: the file, its digest, the model, the part, its input and output.
      conditions: versions, device, data.
      checks: of each batch.
    """

    subject: dict[str, Any]
    conditions: dict[str, Any]
    checks: list[BatchCheck] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)

    @property
    def verdict(self) -> str:
        return "verified" if self.passed else "NOT VERIFIED"

    @property
    def worst(self) -> float:
        """The largest relative error; NaN where one is."""
        return float(np.max([check.relative for check in self.checks]))

    def to_dict(self) -> dict[str, Any]:
        """Returns the certificate as JSON values; what is not finite as strings."""
        return {
            "passed": self.passed,
            "largest_relative_error": _number(self.worst),
            "tolerance": TOLERANCE,
            "measure": MEASURE,
            **self.subject,
            "conditions": self.conditions,
            "checks": [
                {
                    "batch": check.batch,
                    "max_abs": _number(check.max_abs),
                    "relative": _number(check.relative),
                    "passed": check.passed,
                }
                for check in self.checks
            ],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ExportCertificate:
        """Returns the certificate that `to_dict` wrote; whether it passed is told by its checks.

        Raises:
          InputError: it is none.
        """
        own = ("passed", "largest_relative_error", "tolerance", "measure", "conditions", "checks")
        try:
            subject = {name: value for name, value in values.items() if name not in own}
            checks = [
                BatchCheck(int(c["batch"]), float(c["max_abs"]), float(c["relative"]))
                for c in values["checks"]
            ]
            if not checks:
                raise ValueError("it has no checks")
            return cls(subject, dict(values["conditions"]), checks)
        except (LookupError, TypeError, ValueError, OverflowError, AttributeError) as error:
            raise InputError(f"it is no certificate of msae export: {error!r}.") from error

    def _repr_html_(self) -> str:
        """Returns what notebooks and reports show: each batch that was compared, and conditions."""
        head = ("compared with JAX", "verdict", "largest difference", "relative error")
        rows = [
            (
                f"batch of {check.batch}",
                "holds" if check.passed else "FAILS",
                html.Figure(f"{check.max_abs:.1e}"),
                html.Figure(f"{check.relative:.1e}"),
            )
            for check in self.checks
        ]
        caption = f"The relative error is {MEASURE}; it may be {TOLERANCE:.0e}."
        conditions = [(k, html.shown(v)) for k, v in (self.subject | self.conditions).items()]
        return html.joined(
            [
                html.element("p", html.element("strong", self.verdict)),
                html.table(head, rows, caption),
                html.table(("condition", "value"), conditions),
            ]
        )

    def __str__(self) -> str:
        given, made = self.subject["input"], self.subject["output"]
        lines = [
            f"{self.subject['model']}, {self.subject['part']}: float32 {given['shape']} to "
            f"{made['shape']}",
            f"input: {given['units']}",
        ]
        lines += [
            f"{'ok  ' if c.passed else 'FAIL'}  batch of {c.batch}: relative error "
            f"{c.relative:.1e} (largest difference {c.max_abs:.1e})"
            for c in self.checks
        ]
        lines.append(f"{self.verdict}: {self.worst:.1e} against JAX, tolerance {TOLERANCE:.0e}")
        return printable("\n".join(lines))


def compared(batch: int, got: np.ndarray, expected: np.ndarray) -> BatchCheck:
    """Compares what a file computes of a batch with what JAX does; another shape never passes."""
    if got.shape != expected.shape or got.dtype != expected.dtype:
        return BatchCheck(batch, math.inf, math.inf)
    most = float(np.abs(got.astype(np.float64) - expected).max(initial=0.0))
    scale = float(np.abs(expected).max(initial=0.0))
    if most == 0.0:
        return BatchCheck(batch, 0.0, 0.0)
    return BatchCheck(batch, most, most / scale if scale else math.inf)


def _number(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)
