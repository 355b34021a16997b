"""What counts as agreement, on traces put together by hand: slack, its bound, and who gets it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from msae_jax.interop.verification.certificate import Certificate, Check
from msae_jax.interop.verification.comparison import _rows, compare
from msae_jax.interop.verification.trace import Arrays, Trace, Training

X, Y = np.arange(1.0, 5.0), np.arange(5.0, 9.0)


def trace(**changed: Arrays) -> Trace:
    """Layers a -> norm_a -> ReLU -> norm_b; the gradient of a's bias is zero, of norm_a's not."""
    layers = {
        "input of a": X, "output of a": Y,
        "input of norm_a": Y, "output of norm_a": X - 2,
        "input of norm_b": np.maximum(X - 2, 0), "output of norm_b": Y,
    }  # fmt: skip
    gradients = {"a.weight": X, "a.bias": 1e-17 * X, "norm_a.bias": X}
    stats = {"norm_a.running_mean": X, "norm_b.running_mean": X}
    state = {**gradients, **stats}
    after = Training(state | changed.get("state", {}), gradients, gradients)
    return Trace(
        {"recon": X} | changed.get("outputs", {}),
        layers,
        layers,
        np.ones(10),
        gradients | changed.get("gradients", {}),
        {1: Training(state, gradients, gradients), 10: after},
    )


def checks(ours: Trace, torch: Trace | None = None) -> dict[tuple[str, str], Check]:
    found = compare(ours, torch or trace(), trace(), learning_rate=1e-3)
    return {(check.part, check.name): check for check in found}


def failed(ours: Trace) -> set[tuple[str, str]]:
    return {key for key, check in checks(ours).items() if not check.passed}


def test_the_same_traces_agree() -> None:
    assert failed(trace()) == set()
    assert all(check.widened is None for check in checks(trace()).values())


@pytest.mark.parametrize(
    ("off", "expected"),
    [
        ({"norm_a.running_mean": 0.009}, set()),
        ({"norm_a.running_mean": 0.011}, {"norm_a.running_mean"}),
        ({"norm_b.running_mean": 0.009}, {"norm_b.running_mean"}),
        ({"norm_b.running_mean": 0.001}, set()),  # 1e-3 of its norm is 5.5e-3
    ],
)
def test_only_the_mean_right_behind_a_bias_without_gradient_may_wander(
    off: dict[str, float], expected: set[str]
) -> None:
    """By ten steps of 1e-3; the other, behind a ReLU, is held to the tolerance."""
    moved = {key: X + np.array([distance, 0, 0, 0]) for key, distance in off.items()}
    assert failed(trace(state=moved)) == {
        ("batch statistics after 10 steps", name) for name in expected
    }


def test_a_mean_that_may_wander_says_why() -> None:
    found = checks(trace())
    part = "batch statistics after 10 steps"
    assert "of the bias before (its gradient is zero)" in found[part, "norm_a.running_mean"].measure
    assert found[part, "norm_a.running_mean"].tolerance == pytest.approx(1e-2)
    assert found[part, "norm_b.running_mean"].measure == "L2, relative to its norm"
    assert found[part, "norm_b.running_mean"].tolerance == 1e-3


@pytest.mark.parametrize(
    ("size", "off", "passed"), [(0.1, 9e-6, True), (0.1, 2e-5, False), (400, 3e-3, True),
                                (400, 5e-3, False)],
)  # fmt: skip
def test_an_output_above_one_is_held_to_its_own_size(size: float, off: float, passed: bool) -> None:
    """To 1e-5 of its largest value; others to 1e-5 as it is."""
    exact = trace(outputs={"y": size * X / 4})
    ours = trace(outputs={"y": size * X / 4 + np.array([0, off, 0, 0])})
    (check,) = [c for c in compare(ours, exact, exact, 1e-3) if c.name == "y"]
    assert check.passed is passed
    assert ("the output's largest value" in check.measure) is (size > 1)


def gradient(error: float) -> dict[str, Arrays]:
    """A gradient that is off by `error`, L2, relative to its norm."""
    return {"gradients": {"a.weight": X * (1 + error)}}


@pytest.mark.parametrize(
    ("own", "error", "tolerance", "passed"),
    [
        (2e-6, 9e-6, 1e-5, True),  # not widened
        (2e-6, 1.1e-5, 1e-5, False),
        (1.1e-5, 4e-5, 4.4e-5, True),  # four times PyTorch's own error
        (1.1e-5, 5e-5, 4.4e-5, False),
        (1e-3, 9e-5, 1e-4, True),  # at most ten times the tolerance
        (1e-3, 2e-4, 1e-4, False),  # though PyTorch itself is further off
    ],
)
def test_the_tolerance_follows_pytorch_up_to_a_bound(
    own: float, error: float, tolerance: float, passed: bool
) -> None:
    check = checks(trace(**gradient(error)), trace(**gradient(own)))["gradients", "a.weight"]
    assert check.tolerance == pytest.approx(tolerance, rel=1e-6)
    assert check.stated == 1e-5
    assert check.passed is passed
    assert (check.widened is None) == (tolerance == 1e-5)


def test_a_widened_tolerance_is_printed_and_in_the_json() -> None:
    found = checks(trace(**gradient(4e-5)), trace(**gradient(1.1e-5)))
    certificate = Certificate({}, {}, {}, list(found.values()))
    words = "tolerance 1.0e-05, widened to 4.4e-05: PyTorch's own float32 is 1.1e-05 from float64"
    lines = str(certificate).splitlines()
    [row] = [line for line in lines if words in line]
    assert row.startswith("ok    a.weight ")
    assert "gradients, 3 compared, 1 with a widened tolerance, worst a.weight" in lines
    written = json.loads(json.dumps(certificate.to_dict()))["checks"]
    assert [c["widened"] for c in written if c["widened"]] == [words]
    [entry] = [c for c in written if c["widened"]]
    assert (entry["stated"], entry["name"]) == (1e-5, "a.weight")
    assert entry["tolerance"] == pytest.approx(4.4e-5)


def test_the_bound_of_the_widening_is_named() -> None:
    check = checks(trace(**gradient(9e-5)), trace(**gradient(1e-3)))["gradients", "a.weight"]
    assert check.widened == (
        "tolerance 1.0e-05, widened to 1.0e-04 (no wider than 10 times): PyTorch's own float32 is "
        "1.0e-03 from float64"
    )


def test_only_what_rounding_moves_is_excused() -> None:
    """A unit that is off is 0 on both sides: whatever it does later is held to the tolerance."""
    gradients = {"w": np.array([0.0, 1e-20, 1.0])}
    rounded = {"w": np.array([False, True, True])}
    exact = Trace({}, {}, {}, np.zeros(10), gradients, {10: Training(dict(gradients), {}, {})})
    rows = _rows(exact, 1e-3, {}, rounded)
    [row] = [row for row in rows if row.part == "parameters after 10 steps"]
    apart = np.array([0.005, 0.005, 0.0])
    moved = row.tightened("w", exact.gradients["w"] + apart, exact.gradients["w"])
    np.testing.assert_allclose(moved, gradients["w"] + [0.005, 0, 0])
    further = exact.gradients["w"] + [0, 0.02, 0]
    np.testing.assert_array_equal(row.tightened("w", further, exact.gradients["w"]), further)
