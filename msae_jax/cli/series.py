"""`msae detect`: anomalies in a series."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from msae_jax.cli.app import AsJson, Best, Overwrite, Seed, app
from msae_jax.cli.reading import SERIES, reads
from msae_jax.cli.series_runs import RunOfSeries, as_trained, check_targets, models_of, time_of
from msae_jax.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from msae_jax.analysis.series_anomalies import Alarm
    from msae_jax.data import Dataset
    from msae_jax.data.series import Series
    from msae_jax.weights import Many


@app.command()
@reads("samples", SERIES)
def detect(
    run: RunOfSeries,
    samples: Annotated[Path, typer.Option("--input", help="The series: .csv, .parquet, .npy.")],
    out: Annotated[Path, typer.Option(help="The .csv file of scores to write.")],
    aggregate: Annotated[
        str, typer.Option(help="How windows over a point are joined: centre, mean, max, last.")
    ] = "centre",
    quantile: Annotated[
        float, typer.Option(help="Of the training scores, above which a point is an alarm.")
    ] = 0.99,
    threshold: Annotated[
        float | None, typer.Option(help="The score itself, instead of --quantile.")
    ] = None,
    merge: Annotated[
        int | None, typer.Option(min=0, help="Alarms with fewer points between are one. [window]")
    ] = None,
    figure: Annotated[Path | None, typer.Option(help="A .png or .svg to draw.")] = None,
    best: Best = False,
    seed: Seed = None,
    as_json: AsJson = False,
    overwrite: Overwrite = False,
) -> None:
    """Score each point of a series by how badly a trained model reconstructs it; raise alarms."""
    from msae_jax.analysis import series_anomalies as anomalies
    from msae_jax.system.files import replacing

    check_targets(out, figure, overwrite)
    many, facts = models_of(run, best=best, seed=seed)
    series = as_trained(samples, many.config.data, facts)
    windows = anomalies.scored_windows(series, facts)
    by_channel = anomalies.point_scores_of(many.model, many.variables, windows, aggregate)
    scores = anomalies.combined(by_channel)
    if threshold is None:
        threshold = _threshold(many, aggregate, quantile)
    alarms = anomalies.find_alarms(scores, threshold, facts.window if merge is None else merge)
    with replacing(out, overwrite) as temporary:
        _write(temporary, series, scores, by_channel, alarms)
    found = _report(series, scores, threshold, alarms)
    found |= {"model": many.config.model.name, "seeds": many.seeds, "window": facts.window}
    found |= {"aggregate": aggregate, "input": str(samples), "out": str(out)}
    if figure is not None:
        _draw(figure, series, scores, threshold, alarms, overwrite)
    if as_json:
        print(json.dumps(found))
        return
    _print(found, series, out)


def _threshold(many: Many, aggregate: str, quantile: float) -> float:
    """Returns the quantile of the scores of the points that the run was trained on."""
    from msae_jax import data
    from msae_jax.analysis import series_anomalies as anomalies
    from msae_jax.data import facts
    from msae_jax.data.series import Windows

    try:
        dataset: Dataset = data.load(many.config.data)
    except InputError as error:
        raise InputError(
            f"the threshold needs the training data: {error}: restore them, or give --threshold."
        ) from error
    assert many.facts is not None
    changed = facts.changed(many.facts, facts.of(dataset))
    if changed is not None:
        print(f"msae: warning: {changed}.", file=sys.stderr)
    assert isinstance(dataset.train.x, Windows)
    scores = anomalies.point_scores_of(many.model, many.variables, dataset.train.x, aggregate)
    return anomalies.alarm_threshold(anomalies.combined(scores), quantile)


def _write(
    path: Path, series: Series, scores: np.ndarray, by_channel: np.ndarray, alarms: list[Alarm]
) -> None:
    """Writes a row a point: its time or number, its scores, and whether it is an alarm."""
    import numpy as np

    inside = np.zeros(len(scores), np.int32)
    for alarm in alarms:
        inside[alarm.start : alarm.end] = 1
    many = len(series.channels) > 1
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        own = [f"score_{name}" for name in series.channels] if many else []
        writer.writerow(["point" if series.times is None else "time", "score", *own, "alarm"])
        for i, score in enumerate(scores):
            row = [score, *(by_channel[i] if many else [])]
            texts = ["" if np.isnan(value) else f"{value:.9g}" for value in row]
            writer.writerow([time_of(series, i), *texts, inside[i]])


def _report(
    series: Series, scores: np.ndarray, threshold: float, alarms: list[Alarm]
) -> dict[str, Any]:
    import numpy as np

    from msae_jax.analysis import series_anomalies as anomalies

    found: dict[str, Any] = {
        "points": len(scores),
        "without_score": int(np.isnan(scores).sum()),
        "threshold": threshold,
        "alarms": [
            {
                "start": a.start, "end": a.end, "peak": a.peak, "score": a.score,
                "first": time_of(series, a.start), "last": time_of(series, a.end - 1),
            }
            for a in alarms
        ],
    }  # fmt: skip
    if series.count == 1 and series.labels is not None and 0 < series.labels.sum() < len(scores):
        period = anomalies.period(series.values[:, 0])
        found |= anomalies.series_detection(scores, series.labels, period)._asdict()
    return found


def _draw(
    path: Path, series: Series, scores: np.ndarray, threshold: float, alarms: list[Alarm],
    overwrite: bool,
) -> None:  # fmt: skip
    from msae_jax.figures.series import series_alarms
    from msae_jax.system.files import replacing

    labels = None if series.labels is None else series.labels > 0
    drawn = series_alarms(
        series.values, scores, threshold, alarms, labels=labels, time=series.times,
        names=series.channels,
    )  # fmt: skip
    with replacing(path, overwrite) as temporary:
        drawn.savefig(temporary, format=path.suffix[1:].lower())


def _print(found: dict[str, Any], series: Series, out: Path) -> None:
    inside = sum(alarm["end"] - alarm["start"] for alarm in found["alarms"])
    print(
        f"{found['model']}, {len(found['seeds'])} seed(s), windows of {found['window']} points, "
        f"{found['aggregate']}: {len(found['alarms'])} alarms over {inside} of {found['points']} "
        f"points, score above {found['threshold']:.4g}"
    )
    if found["without_score"]:
        print(f"{found['without_score']} points have no score: missing, or beside a long gap")
    for alarm in found["alarms"]:
        print(
            f"alarm {alarm['first']} to {alarm['last']}: points {alarm['start']} to "
            f"{alarm['end'] - 1}, highest score {alarm['score']:.4g} at {alarm['peak']}"
        )
    if "vus_pr" in found:
        print(
            f"against the labels: VUS-PR {found['vus_pr']:.4f}, VUS-ROC {found['vus_roc']:.4f}, "
            f"AUC-PR {found['auc_pr']:.4f} (random {found['prevalence']:.4f}), AUC-ROC "
            f"{found['auc_roc']:.4f}"
        )
    print(out)
