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
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from msae_jax.errors import InputError
from msae_jax.interop.verification.certificate import SLACK, WIDEST, Check
from msae_jax.interop.verification.trace import Arrays, Trace

ABSOLUTE = "max absolute"
LARGEST = "max, relative to the layer's largest value"
ABOVE_ONE = "max, relative to the output's largest value, which is above 1"
NORM = "L2, relative to its norm"
STEP = "L2, relative to its norm; tolerance: what that of the gradient allows"
GLOBAL = "L2, relative to the whole gradient's norm (this one is zero)"
NOISE = "max absolute; tolerance: a full step every step (the gradient of this bias is zero)"
MEAN = "max absolute; tolerance: a full step every step of the bias before (its gradient is zero)"
ZERO = 1e-10  # of the whole gradient's norm: a gradient that is zero to float64 rounding


class _Limit(NamedTuple):
    """How one array is compared: in which unit, how far it may be off, relative to what."""

    measure: str
    tolerance: float
    scale: float = 1.0


class _Row(NamedTuple):
    """What is compared and how: arrays by name, all in the same way but for exceptions.

    Attributes:
      part: of the certificate. arrays: what of a trace is compared.
      measure: the unit. tolerance: how far an array may be off, in that unit.
      exceptions: by name, arrays that are measured in another way.
      loose: by name, which values of an array may be `moved` off: those of a zero gradient.
    """

    part: str
    arrays: Callable[[Trace], Arrays]
    measure: str
    tolerance: float
    exceptions: Mapping[str, _Limit] = {}
    loose: Mapping[str, np.ndarray] = {}
    moved: float = 0.0

    def limit(self, name: str, reference: np.ndarray) -> _Limit:
        if name in self.exceptions:
            return self.exceptions[name]
        scale = 1.0
        if self.measure == NORM:
            scale = _norm(reference)
        elif self.measure == LARGEST:
            sizes = np.abs(reference)
            scale = float(sizes.max(initial=0.0, where=np.isfinite(sizes)))
        return _Limit(self.measure, self.tolerance, scale)

    def excused(self, name: str, given: Sequence[np.ndarray], exact: np.ndarray) -> str:
        """Says how many values `tightened` lets pass, nothing where it is none."""
        count = int((self.tightened(name, given[0], exact) != given[0]).sum())
        return f"; {count} values of a zero gradient up to {self.moved:.0e} off" if count else ""

    def tightened(self, name: str, array: np.ndarray, exact: np.ndarray) -> np.ndarray:
        """Returns an array in which values that may be `moved` off, and are no more, count as
        exact."""
        loose = self.loose.get(name)
        if loose is None or loose.shape != np.shape(array) or not loose.any():
            return array
        return np.where(loose & (np.abs(array - exact) <= self.moved), exact, array)


def compare(
    ours: Trace,
    torch: Trace,
    exact: Trace,
    learning_rate: float,
    behind: Mapping[str, str] | None = None,
) -> list[Check]:
    """Compares JAX in float32 and PyTorch in float32 with PyTorch in float64.

    Args:
      behind: by running mean, the bias that is added right before its batch norm; by default those
        whose layer's output is, value by value, what the batch norm reads.
    """
    checks = []
    rounded = {
        key: (ours.gradients[key] != 0) | (torch.gradients[key] != 0) for key in exact.gradients
    }
    for row in _rows(exact, learning_rate, behind, rounded):
        jax_arrays, torch_arrays = row.arrays(ours), row.arrays(torch)
        if not jax_arrays.keys() == torch_arrays.keys() == row.arrays(exact).keys():
            differ = jax_arrays.keys() ^ row.arrays(exact).keys()
            raise InputError(f"{row.part}: only one of both sides has {sorted(differ)[:3]}.")
        for name, reference in row.arrays(exact).items():
            checks.append(_check(row, name, jax_arrays[name], torch_arrays[name], reference))
    return checks


def _rows(
    exact: Trace, learning_rate: float, behind: Mapping[str, str] | None, rounded: Arrays
) -> list[_Row]:
    """Returns every comparison, in the order of the certificate.

    Args:
      rounded: of the gradients, where float32 is not exactly 0 on one of the sides.
    """
    whole = math.sqrt(sum(_norm(g) ** 2 for g in exact.gradients.values()))
    zero = {key for key, g in exact.gradients.items() if _norm(g) <= ZERO * whole}
    partly = {
        key: (np.abs(g) <= ZERO * whole) & rounded[key]
        for key, g in exact.gradients.items()
        if key not in zero
    }
    all_steps = f"all {len(exact.losses)} steps"

    def zeros(tolerance: float, scale: float) -> dict[str, _Limit]:
        return dict.fromkeys(zero, _Limit(GLOBAL, tolerance, scale))

    rows = [
        _Row("outputs", lambda t: t.outputs, ABSOLUTE, 1e-5, _above_one(exact)),
        _Row("layers, evaluation", lambda t: t.evaluation, LARGEST, 1e-5),
        _Row("layers, training", lambda t: t.training, LARGEST, 1e-5),
        _Row("loss", lambda t: {"first step": t.losses[:1]}, NORM, 1e-5),
        _Row("loss", lambda t: {all_steps: t.losses}, NORM, 1e-3),
        _Row("gradients", lambda t: t.gradients, NORM, 1e-5, zeros(1e-5, whole)),
    ]
    for n in exact.after:
        moved = learning_rate * n
        after = f"after {n} step{'s' if n > 1 else ''}"
        parameters, statistics = f"parameters {after}", f"batch statistics {after}"
        learned, stats = partial(_learned, steps=n), partial(_statistics, steps=n)
        first, second = partial(_first_moments, steps=n), partial(_second_moments, steps=n)
        if n == 1:
            sizes = {key: whole if key in zero else _norm(g) for key, g in exact.gradients.items()}
            stepped = {
                key: _stepped(array, moved * _step_tolerance(exact.gradients[key], sizes[key]))
                for key, array in learned(exact).items()
            }
            rows += [
                _Row(parameters, learned, STEP, 1e-6, stepped),
                _Row(statistics, stats, ABSOLUTE, 1e-5),
                _Row(f"{statistics}, relative", stats, NORM, 2e-6),
                _Row(f"first moments {after}", first, NORM, 1e-5, zeros(1e-5, whole)),
                _Row(f"second moments {after}", second, NORM, 2e-5, zeros(2e-5, whole**2)),
            ]
        else:
            noise = dict.fromkeys(zero, _Limit(NOISE, moved))
            biases = _behind(exact, stats(exact)) if behind is None else behind
            means = [mean for mean, bias in biases.items() if bias in zero]
            late = dict.fromkeys(means, _Limit(MEAN, moved))
            loose = {mean: partly[bias] for mean, bias in biases.items() if bias in partly}
            rows += [
                _Row(parameters, learned, NORM, 1e-3, noise, partly, moved),
                _Row(statistics, stats, NORM, 1e-3, late, loose, moved),
                _Row(f"first moments {after}", first, NORM, 1e-2, zeros(1e-2, whole)),
                _Row(f"second moments {after}", second, NORM, 1e-2, zeros(1e-2, whole**2)),
            ]
    return rows


def _above_one(exact: Trace) -> dict[str, _Limit]:
    """Returns the limits of the outputs whose largest value is above 1: relative to that."""
    sizes = {name: float(np.abs(a).max(initial=0.0)) for name, a in exact.outputs.items()}
    return {
        name: _Limit(ABOVE_ONE, 1e-5, size) for name, size in sizes.items() if 1 < size < math.inf
    }


def _check(row: _Row, name: str, ours: np.ndarray, torch: np.ndarray, exact: np.ndarray) -> Check:
    """Compares one array of JAX in float32 with PyTorch's in float32 and in float64."""
    measure, stated, scale = row.limit(name, exact)
    given = ours, torch
    ours, torch = (row.tightened(name, array, exact) for array in given)
    error = _distance(ours, exact, measure) / (scale or 1.0)
    own = _distance(torch, exact, measure) / (scale or 1.0)
    widened = min(max(stated, SLACK * own), WIDEST * stated)
    tolerance = stated if measure in (NOISE, MEAN) else widened
    return Check(
        row.part,
        name,
        max_abs=_distance(*given, ABSOLUTE),
        relative=_distance(*given, NORM) / (_norm(given[1]) or 1.0),
        measure=measure + row.excused(name, given, exact),
        error=error,
        own=own,
        stated=stated,
        tolerance=tolerance,
        passed=error <= tolerance,
    )


def _learned(trace: Trace, steps: int) -> Arrays:
    state = trace.after[steps].state
    return {key: array for key, array in state.items() if key in trace.gradients}


def _statistics(trace: Trace, steps: int) -> Arrays:
    state = trace.after[steps].state
    return {key: array for key, array in state.items() if key not in trace.gradients}


def _first_moments(trace: Trace, steps: int) -> Arrays:
    return trace.after[steps].first_moments


def _second_moments(trace: Trace, steps: int) -> Arrays:
    return trace.after[steps].second_moments


def _stepped(parameter: np.ndarray, moved: float) -> _Limit:
    """Returns the limit of a parameter after one step, which may be `moved` off, L2."""
    scale = _norm(parameter) or 1.0
    return _Limit(STEP, 1e-6 + moved / scale, scale)


def _step_tolerance(gradient: np.ndarray, norm: float, tolerance: float = 1e-5) -> float:
    """Returns how far, L2, Adam's first update g / |g| can move when g does within tolerance."""
    size = np.abs(gradient[gradient != 0])
    moved = np.minimum(2.0, 2 * tolerance * norm / math.sqrt(gradient.size) / size)
    return _norm(moved)


def _behind(trace: Trace, stats: Arrays) -> dict[str, str]:
    """Returns, by running mean, the bias right before it.

    Right before: what the batch norm reads is, value by value, what the biased layer returns.
    """
    layers = trace.training
    biased = {k: layers.get(f"output of {k.removesuffix('.bias')}") for k in trace.gradients
              if k.endswith(".bias")}  # fmt: skip
    norms = {key: key.removesuffix(".running_mean") for key in stats if "running_mean" in key}
    return {
        mean: bias
        for mean, norm in norms.items()
        for bias, output in biased.items()
        if output is not None and np.array_equal(layers[f"input of {norm}"], output)
    }


def _norm(array: np.ndarray) -> float:
    return float(np.linalg.norm(np.asarray(array, np.float64).ravel()))


def _distance(a: np.ndarray, b: np.ndarray, measure: str) -> float:
    """Returns the L2 or the largest distance; infinity between arrays of other shapes."""
    if np.shape(a) != np.shape(b):
        return math.inf
    one, other = np.asarray(a, np.float64), np.asarray(b, np.float64)
    # a mask of attention is infinite, and the same in both
    apart = np.subtract(one, other, out=np.zeros_like(one), where=one != other)
    return (
        _norm(apart) if measure in (NORM, STEP, GLOBAL) else float(np.abs(apart).max(initial=0.0))
    )
