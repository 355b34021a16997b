from __future__ import annotations

from pathlib import Path

import numpy as np

from msae_jax import figures
from msae_jax.analysis.series_anomalies import find_alarms


def test_a_series_stands_above_its_scores_alarms_and_labels(tmp_path: Path) -> None:
    t = np.arange(100)
    x = np.stack([np.sin(t / 5), np.cos(t / 5)], axis=1)
    x[20:30, 1] = np.nan
    scores = np.where((t >= 60) & (t < 70), 2.0, 1.0)
    figure = figures.series_alarms(
        x,
        scores,
        1.5,
        find_alarms(scores, 1.5),
        labels=(t >= 58) & (t < 72),
        names=["wind", "rain"],
        train=40,
    )
    assert [axes.get_ylabel() for axes in figure.axes] == ["wind", "rain", "score"]
    for axes, values in zip(figure.axes, [x[:, 0], x[:, 1], scores], strict=True):
        np.testing.assert_array_equal(axes.lines[0].get_ydata(), values)
        (shaded,) = axes.patches
        assert (shaded.get_x(), shaded.get_width()) == (58, 14)
        bar = next(line for line in axes.lines if line.get_linewidth() == 5)
        assert list(bar.get_xdata()) == [60, 70]
    assert list(figure.axes[2].lines[1].get_ydata()) == [1.5, 1.5]
    (legend,) = figure.legends
    texts = [text.get_text() for text in legend.get_texts()]
    assert texts == ["threshold", "alarms (1)", "labelled anomalies", "end of training part"]
    figures.save(figure, tmp_path / "alarms")


def test_an_alarm_at_the_end_and_time_stamps() -> None:
    time = np.datetime64("2020-01-01") + np.arange(10) * np.timedelta64(1, "D")
    labels = np.arange(10) == 9
    figure = figures.series_alarms(
        np.arange(10.0), np.arange(10.0), 8.5, [(9, 10)], labels=labels, time=time
    )
    bar = next(line for line in figure.axes[0].lines if line.get_linewidth() == 5)
    assert list(bar.get_xdata()) == [time[9], time[9]]
    assert [axes.get_ylabel() for axes in figure.axes] == ["value", "score"]
    assert figure.axes[1].get_xlabel() == "time"


def test_a_long_series_keeps_its_peaks_and_gaps() -> None:
    x = np.zeros(1_000_003)
    x[123_456], x[777_777] = 5, -7
    x[400_000:500_000] = np.nan
    figure = figures.series_alarms(x, x, 1, [])
    at, drawn = figure.axes[0].lines[0].get_data()
    assert len(drawn) < 4600
    assert (at[np.nanargmax(drawn)], np.nanmax(drawn)) == (123_456, 5)
    assert (at[np.nanargmin(drawn)], np.nanmin(drawn)) == (777_777, -7)
    assert (np.diff(at) >= 0).all()
    gap = at[np.isnan(drawn)]
    assert gap.min() < 400_600
    assert gap.max() > 499_400


def test_augmented_copies_are_drawn_over_the_original() -> None:
    original = np.stack([np.arange(5.0), np.ones(5)], axis=1)
    copies = {"jitter": np.zeros((3, 5, 2)), "drift": np.full((2, 5, 2), 7.0)}
    figure = figures.augmented_series(original, copies, names=["a", "b"], titles={"drift": "walk"})
    assert len(figure.axes) == 4
    assert [axes.get_title() for axes in figure.axes] == ["jitter", "walk", "", ""]
    assert [len(axes.lines) for axes in figure.axes] == [4, 3, 4, 3]
    np.testing.assert_array_equal(figure.axes[3].lines[1].get_ydata(), np.full(5, 7.0))
    np.testing.assert_array_equal(figure.axes[3].lines[2].get_ydata(), np.ones(5))
    assert [figure.axes[0].get_ylabel(), figure.axes[2].get_ylabel()] == ["a", "b"]
