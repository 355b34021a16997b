"""The certificate of a verification: what was compared and what came out, as text and as JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from msae_jax.errors import InputError, printable
from msae_jax.system import html

SLACK = 4  # times PyTorch's own error
WIDEST = 10  # times the stated tolerance


@dataclass(frozen=True)
class Check:
    """One comparison.

    Attributes:
      part: e.g. `gradients`. name: e.g. `encoder.0.weight`.
      max_abs: the largest difference, JAX in float32 to PyTorch in float32.
      relative: that difference in the L2 norm, relative to PyTorch's.
      error: of JAX in float32, in terms of `measure`. own: of PyTorch in float32.
      stated: the tolerance by itself. tolerance: what `error` may be, `stated` or wider.
    """

    part: str
    name: str
    max_abs: float
    relative: float
    measure: str
    error: float
    own: float
    stated: float
    tolerance: float
    passed: bool

    def is_late(self, steps: int) -> bool:
        """Whether it is of more than the first of so many steps."""
        return self.part.endswith(f"after {steps} steps") or self.name == f"all {steps} steps"

    @property
    def widened(self) -> str | None:
        """By how much the tolerance is wider than stated, and why; None where it is not."""
        if self.tolerance == self.stated:
            return None
        most = f" (no wider than {WIDEST} times)" if SLACK * self.own > self.tolerance else ""
        return (
            f"tolerance {self.stated:.1e}, widened to {self.tolerance:.1e}{most}: PyTorch's own "
            f"float32 is {self.own:.1e} from float64"
        )


@dataclass(frozen=True)
class Certificate:
    """What was found about a file.

    Attributes:
      subject: the file, its digest, the model. conditions: precision, device, versions, batch.
      facts: what needs no PyTorch: name -> (holds, description).
      checks: JAX against PyTorch; empty without PyTorch.
    """

    subject: dict[str, Any]
    conditions: dict[str, Any]
    facts: dict[str, tuple[bool, str]]
    checks: list[Check] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return all(holds for holds, _ in self.facts.values()) and all(c.passed for c in self.checks)

    @property
    def first_divergence(self) -> str | None:
        """The first layer, in the order of computation, that is out of tolerance."""
        for check in self.checks:
            if check.part.startswith("layers") and not check.passed:
                return f"{check.name} ({check.part})"
        return None

    def to_dict(self) -> dict[str, Any]:
        """Returns the certificate as JSON values; what is not finite as strings."""
        return {
            "passed": self.passed,
            "first_divergence": self.first_divergence,
            **self.subject,
            "conditions": self.conditions,
            "facts": {k: {"holds": h, "description": d} for k, (h, d) in self.facts.items()},
            "checks": [
                {k: v if not isinstance(v, float) or math.isfinite(v) else str(v)
                 for k, v in asdict(check).items()}
                | {"widened": check.widened}
                for check in self.checks
            ],
        }  # fmt: skip

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Certificate:
        """Returns the certificate that `to_dict` wrote; whether it passed is told by its checks.

        Raises:
          InputError: it is none.
        """
        own = ("passed", "first_divergence", "conditions", "facts", "checks")
        try:
            subject = {name: value for name, value in values.items() if name not in own}
            facts = {
                str(name): (_truth(fact["holds"]), str(fact["description"]))
                for name, fact in values["facts"].items()
            }
            checks = [_check(entry) for entry in values["checks"]]
            return cls(subject, dict(values["conditions"]), facts, checks)
        except (LookupError, TypeError, ValueError, OverflowError, AttributeError) as error:
            raise InputError(f"it is no certificate of msae verify: {error!r}.") from error

    @property
    def verdict(self) -> str:
        """`verified`, how far where PyTorch was not there, or `NOT VERIFIED`."""
        passed = "verified" if self.checks else "verified as far as can be without PyTorch"
        return passed if self.passed else "NOT VERIFIED"

    def _repr_html_(self) -> str:
        """Returns what notebooks and reports show: facts, and the worst check of each part."""
        rows = [(name, "holds" if holds else "FAILS", d) for name, (holds, d) in self.facts.items()]
        found = [html.table(("fact", "verdict", "found"), rows)]
        parts = []
        for part in dict.fromkeys(check.part for check in self.checks):
            here = [check for check in self.checks if check.part == part]
            worst = _worst(here)
            failed = sum(not check.passed for check in here)
            parts.append(
                (
                    part,
                    f"{failed} FAIL" if failed else "all hold",
                    len(here),
                    worst.name,
                    html.Figure(f"{worst.max_abs:.2e}"),
                    html.Figure(f"{worst.error:.1e}"),
                    html.Figure(f"{worst.tolerance:.1e}"),
                    sum(check.widened is not None for check in here),
                )
            )
        head = ("part", "verdict", "compared", "worst", "max |JAX - PyTorch|", "its error",
                "tolerance", "widened")  # fmt: skip
        found += [html.table(head, parts)] if parts else []
        if self.first_divergence:
            first = f"The first layer that diverges is {self.first_divergence}."
            found.append(html.element("p", first))
        conditions = self.subject | self.conditions
        found.append(
            html.table(("condition", "value"), [(k, html.shown(v)) for k, v in conditions.items()])
        )
        return html.joined([html.element("p", html.element("strong", self.verdict)), *found])

    def __str__(self) -> str:
        lines = [f"{name}: {value}" for name, value in self.subject.items()]
        lines += [f"{name}: {value}" for name, value in self.conditions.items()]
        lines += [f"{_verdict(holds)}  {n}: {d}" for n, (holds, d) in self.facts.items()]
        lines += list(_table(self.checks))
        if self.first_divergence:
            lines.append(f"first layer that diverges: {self.first_divergence}")
        lines.append(self.verdict)
        return printable("\n".join(lines))


def _worst(checks: list[Check]) -> Check:
    return max(checks, key=lambda c: (not c.passed, c.error / c.tolerance))


def _check(entry: Mapping[str, Any]) -> Check:
    """Returns the check that `to_dict` wrote, in which what is not finite is text."""
    given: dict[str, Any] = {}
    for own in fields(Check):
        value = entry[own.name]
        if own.type == "float":
            given[own.name] = float(value)
        else:
            given[own.name] = _truth(value) if own.type == "bool" else str(value)
    if not given["tolerance"] > 0:
        raise ValueError(f"expected a tolerance above 0, got {given['tolerance']}")
    return Check(**given)


def _truth(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"expected true or false, got {value!r}")
    return value


def _verdict(passed: bool) -> str:
    return "ok  " if passed else "FAIL"


def _table(checks: list[Check]) -> Iterator[str]:
    """Yields every layer's output; of other parts the worst entry, and those that fail or that
    only a widened tolerance lets pass."""
    if not checks:
        return
    yield (
        f"{'':6}{'':38}{'max |JAX - PyTorch|':>20}{'relative':>10}{'error':>10}"
        f"{'own':>10}{'tolerance':>11}"
    )
    yield "      (error: of JAX float32 to PyTorch float64; own: of PyTorch float32 to the same)"
    for part in dict.fromkeys(check.part for check in checks):
        rows = [check for check in checks if check.part == part]
        worst = _worst(rows)
        shown = [c for c in rows if c.error > c.stated or not c.passed or c is worst]
        if part == "layers, evaluation":
            shown = [c for c in rows if c in shown or c.name.startswith("output")]
        widened = sum(c.widened is not None for c in rows)
        count = f", {widened} with a widened tolerance" if widened else ""
        yield f"{part}, {len(rows)} compared{count}, worst {worst.name}"
        for c in shown:
            yield (
                f"{_verdict(c.passed)}  {c.name:38}{c.max_abs:20.2e}{c.relative:10.1e}"
                f"{c.error:10.1e}{c.own:10.1e}{c.tolerance:11.1e}  {c.measure}"
                f"{f'; {c.widened}' if c.widened else ''}"
            )
