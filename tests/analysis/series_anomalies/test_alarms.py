from __future__ import annotations

import numpy as np
import pytest

from msae_jax.analysis.series_anomalies import Alarm, alarm_threshold, find_alarms
from msae_jax.errors import InputError


def test_the_threshold_is_a_quantile_of_training_scores() -> None:
    scores = np.append(np.arange(101.0), [np.nan, np.nan])
    assert alarm_threshold(scores) == 99
    assert alarm_threshold(scores, 0.5) == 50
    with pytest.raises(InputError, match="at least 1"):
        alarm_threshold(np.full(3, np.nan))


SCORES = np.array([5, 0, 6, 7, 0, 0, np.nan, 8, 0, 9.0])


@pytest.mark.parametrize(
    ("gap", "expected"),
    [
        (0, [(0, 1, 0, 5), (2, 4, 3, 7), (7, 8, 7, 8), (9, 10, 9, 9)]),
        (1, [(0, 1, 0, 5), (2, 4, 3, 7), (7, 8, 7, 8), (9, 10, 9, 9)]),
        (2, [(0, 4, 3, 7), (7, 10, 9, 9)]),
        (3, [(0, 4, 3, 7), (7, 10, 9, 9)]),
        (4, [(0, 10, 9, 9)]),
    ],
)
def test_alarms_with_few_points_between_them_are_one(gap: int, expected: list) -> None:
    assert find_alarms(SCORES, 4, gap) == [Alarm(*each) for each in expected]


def test_a_score_at_the_threshold_raises_no_alarm() -> None:
    assert find_alarms(SCORES, 9) == []
    assert find_alarms(np.empty(0), 0) == []
    assert find_alarms(np.ones(3), 0.5) == [Alarm(0, 3, 0, 1.0)]


def test_what_raises_no_alarms() -> None:
    with pytest.raises(InputError, match="combine channels"):
        find_alarms(np.ones((3, 2)), 0)
    with pytest.raises(InputError, match="gap of 0 or more"):
        find_alarms(np.ones(3), 0, -1)
    with pytest.raises(InputError, match="got 0, nan"):
        find_alarms(np.ones(3), float("nan"))
