"""On which batches a verification compares ten steps of training: one rule for all."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from msae_jax.interop.verification.certificate import Check

STEPS = 10
BATCH = 8  # small: the difference between biased and unbiased variance is 1/n
CANDIDATES = 16
CHOICES = 3


def first_passing(
    first: int, count: int, checked: Callable[[list[int]], list[Check]]
) -> tuple[list[Check], list[list[int]]]:
    """Returns the checks of the first of `CHOICES` choices of batches on which all pass.

    Later steps can meet a ReLU whose input rounding puts on the other side of zero, in any
    framework, and Adam amplifies that. Where a check of the first step fails, which all choices
    share, no other is tried.

    Args:
      first: the number of the batch of the first step. count: of batches, of which later steps have
        others in each choice; these overlap.
      checked: of the numbers of the batches of a choice, returns its checks.

    Returns:
      The checks, of the first choice where none passes; and the numbers of each that was tried.
    """
    others = np.delete(np.arange(count), first)
    choices = [
        [first, *np.roll(others, -choice * (STEPS - 1))[: STEPS - 1].tolist()]
        for choice in range(CHOICES)
    ]
    original: list[Check] = []
    for tried, numbers in enumerate(choices, start=1):
        checks = checked(numbers)
        original = original or checks
        failed = [check for check in checks if not check.passed]
        if not failed:
            return checks, choices[:tried]
        if not all(check.is_late(STEPS) for check in failed):
            break
    return original, choices[:1]
