"""Everything that the page shows, as JSON values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from msae_jax import __version__, data
from msae_jax.data.options import parse
from msae_jax.data.series import Facts, Series, Windows
from msae_jax.errors import InputError, unknown_name
from msae_jax.explorer import chart, columns, latents, samples
from msae_jax.explorer.columns import Column
from msae_jax.explorer.packing import as_json, packed
from msae_jax.weights import Weights

MOST_SAMPLES = 10_000
MOST_BYTES = 12_000_000
FEWEST = 200


class SeriesData(NamedTuple):
    """Of windows of series: where they come from.

    Attributes:
      series: as it was read. facts: channels, scaling and window of the run.
      trained_on: windows of the training part, where they are at hand.
    """

    series: Series
    facts: Facts
    trained_on: Windows | None


class Request(NamedTuple):
    """What a page is to show.

    Attributes:
      models: one or several of a run, alike in all but the seed.
      x: the samples `[N, ...]`. y: their classes `[N]`, or None.
      classes: what the numbers in `y` stand for; None where they are numbers.
      data, split: what they are called.
      projection: `pca`, `tsne` or `umap`; not used where the latents are two or one.
      samples: how many are shown, evenly spaced; None for as many as `MOST_BYTES` has room for, at
        most `MOST_SAMPLES`.
      color: the column that the points are coloured by at first.
      series: of windows of series.
    """

    models: Sequence[Weights]
    x: data.Samples
    y: np.ndarray | None
    data: str
    split: str
    projection: str = "pca"
    samples: int | None = None
    color: str | None = None
    series: SeriesData | None = None
    classes: Sequence[str] | None = None


def content(request: Request, extra: Sequence[Column] = ()) -> dict[str, Any]:
    """Returns the content of a page.

    Args:
      extra: columns to colour by, a value for each of the N samples of the request.

    Raises:
      InputError: the page cannot run a decoder, or there is no such column or projection.
    """
    if len(request.x) < 2:
        raise InputError(
            f"{request.data} has 1 sample in its {request.split} part, expected at least 2: take "
            "other data, or --split train."
        )
    wanted = MOST_SAMPLES if request.samples is None else request.samples
    rows = samples.rows_of(len(request.x), wanted)
    found = _content(request, extra, rows)
    size = len(as_json(found))
    if request.samples is None and size > MOST_BYTES and len(rows) > FEWEST:
        fixed = sum(len(as_json(model["decoder"])) for model in found["models"])
        room = max(MOST_BYTES - fixed, 0) / max(size - fixed, 1)
        fewer = max(FEWEST, int(0.97 * room * len(rows)))
        found = _content(request, extra, samples.rows_of(len(request.x), fewer))
        found["notes"].append(
            f"{fewer} samples are shown so that the page has at most {MOST_BYTES / 1e6:.0f} MB; "
            "--samples shows more."
        )
    return found


def _content(request: Request, extra: Sequence[Column], rows: np.ndarray) -> dict[str, Any]:
    x = samples.picked(request.x, rows)
    shown = [latents.shown(one, x, request.projection) for one in request.models]
    known = _columns(request, extra, rows)
    _check_color(request.color, known, shown[0].z.shape[1])
    series, notes = request.series, []
    time = None
    if series is not None and series.series.count == 1 and isinstance(x, Windows):
        time = chart.chart(
            request.models[0].model, [one.variables for one in request.models], series.series,
            series.facts, x, series.trained_on,
        )  # fmt: skip
    if series is not None and series.facts.scaling.kind == "window":
        notes.append(
            "Each window was scaled by itself: its curves have mean 0 and deviation 1, not the "
            "units of the series."
        )
    name, source = request.models[0].config.model.name, parse(request.data)[0].name
    return {
        "title": f"{name} on {source}",
        "model": name,
        "data": source,
        "split": request.split,
        "version": __version__,
        "total": len(request.x),
        "rows": None if len(rows) == len(request.x) else packed(rows),
        "samples": samples.as_values(x, None if series is None else series.facts),
        "columns": [columns.as_values(column) for column in known],
        "color": request.color,
        "models": [latents.as_values(one) for one in shown],
        "series": time,
        "notes": notes,
    }


def _columns(request: Request, extra: Sequence[Column], rows: np.ndarray) -> list[Column]:
    found = [column._replace(values=column.values[rows]) for column in extra]
    if request.y is not None:
        name = "class" if request.series is None else "label"
        found.append(columns.of_labels(name, request.y[rows], request.classes))
    if isinstance(request.x, Windows):
        found.append(Column("start", request.x.starts[rows].astype(np.float32)))
    return found


def _check_color(color: str | None, known: Sequence[Column], dims: int) -> None:
    names = [*(column.name for column in known), "error", *(f"z{d + 1}" for d in range(dims))]
    if color is None or color in names:
        return
    shown = names if dims <= 6 else [*names[: len(known) + 2], f"z{dims}"]
    if color == "class":
        raise InputError(f"these data have no classes to colour by: {', '.join(shown)}.")
    raise unknown_name("column to colour by", color, shown)
