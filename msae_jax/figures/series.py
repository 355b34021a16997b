"""Series over time: with their anomaly scores and alarms, and beside augmented copies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from msae_jax.analysis.series_anomalies import ranges
from msae_jax.figures.style import BLACK, BLUE, GOLD, GREY, ORANGE, STYLE, label

_DRAWN = 4000
"""Points of a line at most: of more, the lowest and the highest of each short stretch."""

_LABELLED: dict[str, Any] = {"facecolor": GOLD, "alpha": 0.35, "linewidth": 0}
_ALARM: dict[str, Any] = {"color": ORANGE, "linewidth": 5, "solid_capstyle": "butt"}


def series_alarms(
    x: np.ndarray,
    scores: np.ndarray,
    threshold: float,
    alarms: Sequence[Sequence[float]],
    *,
    labels: np.ndarray | None = None,
    time: np.ndarray | None = None,
    names: Sequence[str] | None = None,
    train: int = 0,
) -> Figure:
    """Draws a series, a panel a channel, above its anomaly scores with their threshold and alarms.

    Args:
      x: `[T, C]` or `[T]`; NaN leaves a gap.
      scores: `[T]`, NaN where there is none.
      alarms: intervals, each beginning with its first point and the one after its last.
      labels: `[T]`, true at known anomalies, which are shaded.
      time: `[T]` time stamps or numbers; the index of the point by default.
      names: of the channels.
      train: how many points at the beginning were trained on; a line marks their end.
    """
    channels = x.reshape(len(x), -1).T
    several = [f"channel {i + 1}" for i in range(len(channels))]
    names = names or (several if several[1:] else ["value"])
    at = np.arange(len(x)) if time is None else np.asarray(time)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9, 1.5 * len(channels) + 2.1), layout="constrained")
        panels = figure.subplots(len(channels) + 1, 1, sharex=True)
        for axes, values, name in zip(panels, channels, names, strict=False):
            axes.plot(*_thinned(at, values), color=BLACK, linewidth=0.8)
            axes.set_ylabel(name)
        axes = panels[-1]
        axes.plot(*_thinned(at, scores), color=BLUE, linewidth=0.8)
        axes.axhline(threshold, color=GREY, linestyle="--", linewidth=1.2)
        axes.set(ylabel="score", xlabel="point" if time is None else "time")
        handles: list[Artist] = [Line2D([], [], color=GREY, linestyle="--", label="threshold")]
        if len(alarms):
            handles.append(Line2D([], [], **_ALARM, label=f"alarms ({len(alarms)})"))
        if labels is not None:
            handles.append(Patch(**_LABELLED, label="labelled anomalies"))
        if train:
            handles.append(Line2D([], [], color=BLACK, linestyle=":", label="end of training part"))
        for axes in panels:
            _marked(axes, at, alarms, labels, train)
        figure.legend(handles=handles, loc="outside upper right", ncols=4, frameon=False)
        panels[0].margins(x=0.01)
    return figure


def _marked(
    axes: Axes,
    at: np.ndarray,
    alarms: Sequence[Sequence[float]],
    labels: np.ndarray | None,
    train: int,
) -> None:
    """Draws alarms as bars along the lower edge, and shades labelled ranges."""
    for begin, end in [] if labels is None else ranges(labels):
        axes.axvspan(at[begin], at[min(end, len(at) - 1)], **_LABELLED, zorder=0)
    lower = axes.get_xaxis_transform()  # the height in parts of the panel
    for alarm in alarms:
        ends = at[int(alarm[0])], at[min(int(alarm[1]), len(at) - 1)]
        axes.plot(ends, [0.02, 0.02], transform=lower, marker="|", markersize=5, **_ALARM)
    if train:
        axes.axvline(at[train], color=BLACK, linestyle=":", linewidth=1)


def _thinned(at: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the lowest and the highest of each stretch, in order, of a line with many points."""
    if len(values) <= _DRAWN:
        return at, values
    stretch = -(-2 * len(values) // _DRAWN)
    whole = len(values) // stretch * stretch
    rows = values[:whole].reshape(-1, stretch)
    missing = np.isnan(rows)  # a stretch without a value gives two of its NaN
    lowest = np.where(missing, np.inf, rows).argmin(axis=1)
    highest = np.where(missing, -np.inf, rows).argmax(axis=1)
    pairs = np.sort(np.stack([lowest, highest], axis=1), axis=1)
    chosen = (pairs + np.arange(len(rows))[:, None] * stretch).ravel()
    chosen = np.append(chosen, np.arange(whole, len(values)))
    return at[chosen], values[chosen]


def augmented_series(
    original: np.ndarray,
    copies: Mapping[str, np.ndarray],
    *,
    names: Sequence[str] | None = None,
    titles: Mapping[str, str] | None = None,
) -> Figure:
    """Draws augmented copies of a series over the original; a column a method, a row a channel.

    Args:
      original: `[T, C]` or `[T]`.
      copies: by method, `[n, T, C]` or `[n, T]`.
      names: of the channels.
      titles: by method, instead of its name.
    """
    base = original.reshape(len(original), -1)
    with matplotlib.rc_context(STYLE):
        size = (3.1 * len(copies) + 0.4, 1.9 * base.shape[1] + 0.8)
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(base.shape[1], len(copies), sharex=True, sharey="row", squeeze=False)
        for i, (method, made) in enumerate(copies.items()):
            series = made.reshape(len(made), *base.shape)
            for channel, axes in enumerate(grid[:, i]):
                for copy in series[..., channel]:
                    axes.plot(copy, color=BLUE, linewidth=0.9, alpha=0.5)
                axes.plot(base[:, channel], color=BLACK, linewidth=1.0)
            grid[0, i].set_title((titles or {}).get(method, label(method)), fontsize=10)
            grid[-1, i].set_xlabel("point")
        for channel, axes in enumerate(grid[:, 0]):
            axes.set_ylabel(names[channel] if names else "value")
        lines = [
            Line2D([], [], color=BLACK, label="original"),
            Line2D([], [], color=BLUE, alpha=0.5, label="augmented"),
        ]
        figure.legend(handles=lines, loc="outside upper right", ncols=2, frameon=False)
    return figure
