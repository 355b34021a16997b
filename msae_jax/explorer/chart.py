"""A series over time: how badly each point is reconstructed, and where that raises an alarm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import flax.linen as nn
import numpy as np

from msae_jax.analysis import series_anomalies as anomalies
from msae_jax.data.series import Facts, Series, Windows
from msae_jax.explorer.packing import packed
from msae_jax.explorer.samples import span


def chart(
    model: nn.Module,
    variables: Sequence[Mapping[str, Any]],
    series: Series,
    facts: Facts,
    shown: Windows,
    trained_on: Windows | None,
) -> dict[str, Any]:
    """Returns the part of one series that the shown windows span, with its scores, as JSON values.

    Scores, threshold and alarms are those of `msae detect` with its defaults: the mean over the
    models, aggregate `centre`, the quantile 0.99 of the scores of the training part.

    Args:
      trained_on: windows of the training part; None where they are not at hand: then no alarms.
    """
    begin, end = span(shown)
    every = anomalies.scored_windows(series, facts)
    inside = (every.starts >= begin) & (every.starts + every.length <= end)
    every = replace(every, starts=every.starts[inside])
    scores = anomalies.combined(anomalies.point_scores_of(model, variables, every))[begin:end]
    threshold, alarms = None, []
    if trained_on is not None:
        before = anomalies.combined(anomalies.point_scores_of(model, variables, trained_on))
        threshold = anomalies.alarm_threshold(before)
        alarms = anomalies.find_alarms(scores, threshold, facts.window)
    values = facts.scaling.apply(series.values[begin:end])
    if facts.scaling.kind != "window":
        values = facts.scaling.invert(values)
    known = np.zeros(0) if series.labels is None else series.labels[begin:end]
    return {
        "values": packed(values),
        "channels": list(facts.channels),
        "scores": packed(scores, "float32"),
        "threshold": threshold,
        "alarms": [[a.start, a.end, a.peak, a.score] for a in alarms],
        "labels": anomalies.ranges(known > 0).tolist(),
        "starts": packed(shown.starts - begin),
        "window": facts.window,
        "first": begin,
        "times": _times(series.times, begin, end),
        "seeds": len(variables),
    }


def _times(times: np.ndarray | None, begin: int, end: int) -> dict[str, Any] | None:
    """Returns time stamps: milliseconds since 1970, or seconds as the file has them."""
    if times is None:
        return None
    own = times[begin:end]
    if own.dtype.kind == "M":
        stamps = own.astype("datetime64[ms]").astype(np.int64)
        return {"kind": "date", "values": packed(stamps, "float64")}
    return {"kind": "seconds", "values": packed(own, "float64")}
