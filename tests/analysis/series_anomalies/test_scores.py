from __future__ import annotations

import numpy as np
import pytest

from msae_jax.analysis.series_anomalies import (
    AGGREGATES,
    StreamingScorer,
    combined,
    point_scores,
    window_starts,
)
from msae_jax.errors import InputError


def made(length: int, window: int, stride: int, channels: int = 2, seed: int = 0) -> tuple:
    starts = window_starts(length, window, stride)
    errors = np.random.default_rng(seed).exponential(size=(len(starts), window, channels))
    return errors, starts


def by_definition(errors: np.ndarray, starts: np.ndarray, length: int, how: str) -> np.ndarray:
    """Returns the score of each point from a list of the windows that cover it."""
    window, channels = errors.shape[1:]
    result = np.full((length, channels), np.nan)
    for t in range(length):
        over = [i for i, start in enumerate(starts) if start <= t < start + window]
        for c in range(channels):
            at = [errors[i, t - starts[i], c] for i in over]
            if not over or np.isnan(at).all():
                continue
            if how == "mean":
                result[t, c] = np.nanmean(at)
            elif how == "max":
                result[t, c] = np.nanmax(at)
            elif how == "last":
                result[t, c] = at[0]
            else:
                away = [abs(t - (starts[i] + (window - 1) / 2)) for i in over]
                result[t, c] = np.nanmean(errors[over[int(np.argmin(away))], :, c])
    return result


@pytest.mark.parametrize("how", AGGREGATES)
@pytest.mark.parametrize(("window", "stride"), [(7, 1), (8, 1), (8, 3), (5, 5), (1, 1)])
def test_scores_are_as_defined(how: str, window: int, stride: int) -> None:
    errors, starts = made(43, window, stride)
    got = point_scores(errors, starts, 43, how)
    np.testing.assert_allclose(got, by_definition(errors, starts, 43, how), rtol=1e-12)
    assert np.isfinite(got).all()


@pytest.mark.parametrize("how", AGGREGATES)
def test_gaps_have_no_score(how: str) -> None:
    """Two missing values in all windows over them, and points that no window covers."""
    errors, starts = made(60, 6, 1)
    for i, start in enumerate(starts):
        for t in (20, 21):
            if start <= t < start + 6:
                errors[i, t - start, 1] = np.nan
    kept = (starts < 30) | (starts > 40)  # 36 to 40 are in no window
    got = point_scores(errors[kept], starts[kept], 60, how)
    np.testing.assert_allclose(got, by_definition(errors[kept], starts[kept], 60, how), rtol=1e-12)
    assert np.isnan(got[:, 1]).nonzero()[0].tolist() == [20, 21, 35, 36, 37, 38, 39, 40]
    assert np.isnan(got[:, 0]).nonzero()[0].tolist() == [35, 36, 37, 38, 39, 40]


@pytest.mark.parametrize("how", AGGREGATES)
@pytest.mark.parametrize("pieces", [1, 3, 11, 40])
@pytest.mark.parametrize(("window", "stride", "channels"), [(12, 1, 2), (12, 5, 1), (200, 1, 1)])
def test_a_stream_gives_the_same_bits_in_bounded_memory(
    how: str, pieces: int, window: int, stride: int, channels: int
) -> None:
    errors, starts = made(300, window, stride, channels)
    errors[50:55, 3] = np.nan
    whole = point_scores(errors, starts, 300, how)
    scorer, given = StreamingScorer(window, channels, how), []
    for begin in range(0, len(starts), pieces):
        given.append(scorer.add(errors[begin : begin + pieces], starts[begin : begin + pieces]))
        assert len(scorer._values) <= window
        assert scorer.position == sum(map(len, given))
    given.append(scorer.finish())
    assert np.concatenate(given).tobytes() == whole.tobytes()


@pytest.mark.parametrize(("how", "late"), [("last", 0), ("centre", 4), ("mean", 9), ("max", 9)])
def test_points_come_as_early_as_they_are_final(how: str, late: int) -> None:
    """With windows of 10 the one that ends at t comes first, and the one that begins at t last."""
    errors, starts = made(50, 10, 1)
    scorer = StreamingScorer(10, 2, how)
    for error, start in zip(errors, starts, strict=True):
        scorer.add(error[None], start[None])
        newest = start + 9
        assert scorer.position == newest - late + 1


@pytest.mark.parametrize("how", AGGREGATES)
@pytest.mark.parametrize("stride", [1, 4])
def test_scores_do_not_depend_on_where_the_file_was_cut(how: str, stride: int) -> None:
    """Both halves share L - 1 points (with a stride, the cut stands where a window begins)."""
    window, length, cut = 9, 160, 80
    errors, starts = made(length, window, stride)
    whole = point_scores(errors, starts, length, how)
    first = starts + window <= cut + window - 1
    left = point_scores(errors[first], starts[first], cut + window - 1, how)
    right = point_scores(errors[~first], starts[~first] - cut, length - cut, how)
    same_left, same_right = cut - window, window
    assert left[:same_left].tobytes() == whole[:same_left].tobytes()
    assert right[same_right:].tobytes() == whole[cut + same_right :].tobytes()


def test_one_score_a_point_is_the_mean_of_the_channels_that_have_one() -> None:
    got = combined(np.array([[1, 3], [np.nan, 5], [np.nan, np.nan]]))
    np.testing.assert_array_equal(got, [2, 5, np.nan])


def test_window_starts() -> None:
    assert window_starts(10, 4, 3).tolist() == [0, 3, 6]
    assert window_starts(11, 4, 3).tolist() == [0, 3, 6, 7]
    assert window_starts(4, 4, 4).tolist() == [0]
    with pytest.raises(InputError, match="1 to 3 points, the series, got 4"):
        window_starts(3, 4)
    with pytest.raises(InputError, match="stride must be 1 to 4"):
        window_starts(9, 4, 5)


def test_what_cannot_be_scored() -> None:
    errors, starts = made(20, 5, 1)
    with pytest.raises(InputError, match="Did you mean 'mean'"):
        point_scores(errors, starts, 20, "means")
    with pytest.raises(InputError, match="got 3 after 4"):
        point_scores(errors[:2], np.array([4, 3]), 20)
    scorer = StreamingScorer(5, 2)
    scorer.add(errors[:1], np.array([4]))
    with pytest.raises(InputError, match="got 4 after 4"):
        scorer.add(errors[:1], np.array([4]))
    with pytest.raises(InputError, match=r"\[n, 5, 2\]"):
        StreamingScorer(5, 2).add(errors, starts[1:])
    with pytest.raises(InputError, match="whole numbers"):
        point_scores(errors, starts + 0.5, 20)
    with pytest.raises(InputError, match="has 19 points, but a window ended at 20"):
        point_scores(errors, starts, 19)
    with pytest.raises(InputError, match=r"\[N, L, C\]"):
        point_scores(errors[..., 0], starts, 20)
    assert StreamingScorer(5).add(np.empty((0, 5, 1)), np.empty(0)).shape == (0, 1)
    assert np.isnan(StreamingScorer(5).finish(3)).all()
    assert len(StreamingScorer(5).finish()) == 0
