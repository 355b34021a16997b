"""How closely two frameworks agree, quantity by quantity, and what counts as agreement.

The yardstick is PyTorch in float64, exact for our purposes. JAX in float32 has to be within a
tolerance of it; `own` is how far PyTorch in float32 is from it, by the same measure. Where PyTorch
itself is further off than a quarter of the stated tolerance, the tolerance is widened to four times
its own error: a float32 program cannot be told from an exact one more finely. It is never widened
beyond ten times, behind which something broken could hide, and the certificate says where and why
it is. Three facts set the measures:

- The gradient of a bias right before batch norm is zero, so that float32 gives pure rounding noise.
  Gradients (and moments) that are zero to float64 rounding are measured against the norm of the
  whole gradient.
- Adam divides each gradient by its own size, so that noise becomes a step of up to the learning
  rate. After one step the parameters may differ by as much as gradients within their tolerance
  allow. Those with a zero gradient may differ by a full step every step. A batch norm right behind
  such a bias takes it off again, so that only its running mean shows it: from the second step on
  that one may differ as much. Every other running mean is held to the tolerance.
- Adam also carries rounding on from step to step (one ReLU that switches in one of the two is
  enough), so that ten steps are compared a hundred times less finely than one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from msae_jax.interop.trace import Arrays, Trace

Sides = tuple[Arrays, Arrays, Arrays]
"""JAX in float32, PyTorch in float32, PyTorch in float64."""

ABSOLUTE = "max absolute"
LARGEST = "max, relative to the layer's largest value"
NORM = "L2, relative to its norm"
STEP = "L2, relative to its norm; tolerance: what that of the gradient allows"
GLOBAL = "L2, relative to the whole gradient's norm (this one is zero)"
NOISE = "max absolute; tolerance: a full step every step (the gradient of this bias is zero)"
MEAN = "max absolute; tolerance: a full step every step of the bias before (its gradient is zero)"
SLACK = 4
WIDEST = 10  # times the stated tolerance
ZERO = 1e-10  # of the whole gradient's norm: a gradient that is zero to float64 rounding


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

    def __str__(self) -> str:
        lines = [f"{name}: {value}" for name, value in self.subject.items()]
        lines += [f"{name}: {value}" for name, value in self.conditions.items()]
        lines += [f"{_verdict(holds)}  {n}: {d}" for n, (holds, d) in self.facts.items()]
        lines += list(_table(self.checks))
        if self.first_divergence:
            lines.append(f"first layer that diverges: {self.first_divergence}")
        passed = "verified" if self.checks else "verified as far as can be without PyTorch"
        lines.append(passed if self.passed else "NOT VERIFIED")
        return "\n".join(lines)


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
        worst = max(rows, key=lambda c: (not c.passed, c.error / c.tolerance))
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


def compare(ours: Trace, torch: Trace, exact: Trace, learning_rate: float) -> list[Check]:
    """Compares JAX in float32 and PyTorch in float32 with PyTorch in float64."""
    traces = (ours, torch, exact)
    whole = math.sqrt(sum(_norm(g) ** 2 for g in exact.gradients.values()))
    zero = {key for key, g in exact.gradients.items() if _norm(g) <= ZERO * whole}
    found = _Comparison()

    def each(pick: Callable[[Trace], Arrays]) -> Sides:
        return pick(ours), pick(torch), pick(exact)

    found.add("outputs", each(lambda t: t.outputs), ABSOLUTE)
    found.add("layers, evaluation", each(lambda t: t.evaluation), LARGEST)
    found.add("layers, training", each(lambda t: t.training), LARGEST)
    found.add("loss", each(lambda t: {"first step": t.losses[:1]}), NORM)
    found.add("loss", each(lambda t: {f"all {len(t.losses)} steps": t.losses}), NORM, 1e-3)
    found.add("gradients", each(lambda t: t.gradients), NORM, zero=zero, whole=whole)
    for steps in ours.after:
        title, once = f"after {steps} step{'s' if steps > 1 else ''}", steps == 1
        parameters, stats, first, second = (
            (a, b, c) for a, b, c in zip(*(_parts(t, steps) for t in traces), strict=True)
        )
        moved = learning_rate * steps
        tolerance = 1e-5 if once else 1e-3
        if once:
            steps_of = {
                key: moved * _step_tolerance(g, whole if key in zero else _norm(g))
                for key, g in exact.gradients.items()
            }
            found.add(f"parameters {title}", parameters, STEP, 1e-6, allowed=steps_of)
        else:
            noise = dict.fromkeys(zero, (NOISE, moved))
            found.add(f"parameters {title}", parameters, NORM, tolerance, noise=noise)
        if once:
            found.add(f"batch statistics {title}", stats, ABSOLUTE, tolerance)
            found.add(f"batch statistics {title}, relative", stats, NORM, 2e-6)
        else:
            noise = dict.fromkeys(_absorbing(stats[2], exact.training, zero), (MEAN, moved))
            found.add(f"batch statistics {title}", stats, NORM, tolerance, noise=noise)
        found.add(
            f"first moments {title}", first, NORM, 1e-5 if once else 1e-2, zero=zero, whole=whole
        )
        found.add(
            f"second moments {title}", second, NORM, 2e-5 if once else 1e-2, zero=zero,
            whole=whole**2,
        )  # fmt: skip
    return found.checks


def _step_tolerance(gradient: np.ndarray, norm: float, tolerance: float = 1e-5) -> float:
    """Returns how far, L2, Adam's first update g / |g| can move when g does within tolerance."""
    size = np.abs(gradient[gradient != 0])
    moved = np.minimum(2.0, 2 * tolerance * norm / math.sqrt(gradient.size) / size)
    return _norm(moved)


def _absorbing(stats: Arrays, layers: Arrays, zero: Collection[str]) -> list[str]:
    """Returns the running means right behind a bias without a gradient.

    Right behind: what the batch norm reads is, value by value, what the biased layer returns.
    """
    biased = [layers[f"output of {k.removesuffix('.bias')}"] for k in zero if k.endswith(".bias")]
    norms = {key: key.removesuffix(".running_mean") for key in stats if "running_mean" in key}
    return [
        key
        for key, norm in norms.items()
        if any(np.array_equal(layers[f"input of {norm}"], output) for output in biased)
    ]


def _parts(trace: Trace, steps: int) -> tuple[Arrays, Arrays, Arrays, Arrays]:
    """Returns parameters, batch statistics, first and second moments after `steps` steps."""
    state, first, second = trace.after[steps]
    learned = {key: array for key, array in state.items() if key in trace.gradients}
    stats = {key: array for key, array in state.items() if key not in trace.gradients}
    return learned, stats, first, second


class _Comparison:
    def __init__(self) -> None:
        self.checks: list[Check] = []

    def add(
        self,
        part: str,
        sides: Sides,
        measure: str,
        tolerance: float = 1e-5,
        *,
        zero: Collection[str] = (),
        whole: float = 1.0,
        noise: Mapping[str, tuple[str, float]] | None = None,
        allowed: Mapping[str, float] | None = None,
    ) -> None:
        """Compares arrays by name, in the order of the exact ones.

        Args:
          zero: names of gradients that are zero, measured against `whole` instead of their norm.
          noise: names whose differences are rounding noise, and how measured and large they may be.
          allowed: by name, a distance to add to the tolerance.
        """
        ours, torch, exact = sides
        noise = noise or {}
        for name, reference in exact.items():
            kind, limit, scale = measure, tolerance, 1.0
            if name in noise:
                kind, limit = noise[name]
            elif name in zero:
                kind, scale = GLOBAL, whole
            elif measure in (NORM, STEP):
                scale = _norm(reference)
                limit += (allowed or {}).get(name, 0.0) / (scale or 1.0)
            elif measure == LARGEST:
                scale = float(np.abs(reference).max())
            mine, theirs = ours[name], torch[name]
            error = _distance(mine, reference, kind) / (scale or 1.0)
            own = _distance(theirs, reference, kind) / (scale or 1.0)
            wider = limit if name in noise else min(max(limit, SLACK * own), WIDEST * limit)
            self.checks.append(
                Check(
                    part,
                    name,
                    max_abs=_distance(mine, theirs, ABSOLUTE),
                    relative=_distance(mine, theirs, NORM) / (_norm(theirs) or 1.0),
                    measure=kind,
                    error=error,
                    own=own,
                    stated=limit,
                    tolerance=wider,
                    passed=error <= wider,
                )
            )


def _norm(array: np.ndarray) -> float:
    return float(np.linalg.norm(np.asarray(array, np.float64).ravel()))


def _distance(a: np.ndarray, b: np.ndarray, measure: str) -> float:
    """Returns the L2 or the largest distance; infinity between arrays of other shapes."""
    if np.shape(a) != np.shape(b):
        return math.inf
    apart = np.asarray(a, np.float64) - np.asarray(b, np.float64)
    return (
        _norm(apart) if measure in (NORM, STEP, GLOBAL) else float(np.abs(apart).max(initial=0.0))
    )
