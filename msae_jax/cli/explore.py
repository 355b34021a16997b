"""`msae explore`: a page in which the latent space of a model can be touched."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from msae_jax.cli.app import (
    Best,
    Data,
    DataDir,
    Key,
    MemberIndex,
    ModelName,
    Options,
    Overwrite,
    Seed,
    SplitName,
    Weights,
    app,
    check_out,
    model_given,
    note_assumptions,
)
from msae_jax.cli.reading import reads
from msae_jax.config import ModelConfig
from msae_jax.errors import InputError, unknown_name

if TYPE_CHECKING:
    from msae_jax import weights as w
    from msae_jax.data import Dataset
    from msae_jax.explorer import Request, SeriesData
    from msae_jax.explorer.columns import Column


@app.command()
@reads("data")
def explore(
    weights: Weights,
    out: Annotated[Path, typer.Option(help="The .html file to write.")],
    data: Data = None,
    data_dir: DataDir = None,
    split: SplitName = "test",
    projection: Annotated[
        str, typer.Option(help="To two dimensions: pca, tsne, umap. Two latents are shown as such.")
    ] = "pca",
    samples: Annotated[
        int | None, typer.Option(min=2, help="How many are shown. [up to 10,000, in 12 MB]")
    ] = None,
    color: Annotated[
        str | None, typer.Option(help="class, error, z1, z2, ..., or a column of the .csv.")
    ] = None,
    seeds: Annotated[
        int, typer.Option(min=1, help="How many seeds of a run of many stand side by side.")
    ] = 4,
    model: ModelName = None,
    options: Options = None,
    best: Best = False,
    seed: Seed = None,
    member: MemberIndex = None,
    key: Key = None,
    overwrite: Overwrite = False,
) -> None:
    """Write a page to explore the latent space in: one file, its decoder runs in any browser."""
    _check(out, projection, overwrite)
    from msae_jax import explorer

    given = model_given(model, options, weights)
    models = _models(weights, given, best, seed, member, key, seeds)
    request, odd = _request(weights, models, data, data_dir, split)
    note_assumptions(weights, models[0], given)
    for sentence in odd:
        print(f"msae: warning: {sentence}.", file=sys.stderr)
    request = request._replace(projection=projection, samples=samples, color=color)
    page = explorer.html_of(explorer.content(request, _extra(request)))
    explorer.write(out, page, overwrite=overwrite)
    print(f"{request.models[0].config.model.name} on {request.data}: {out}, {_size(page)}")


def _check(out: Path, projection: str, overwrite: bool) -> None:
    """Raises InputError where something cannot be, before anything is computed."""
    from msae_jax.analysis.projections import METHODS

    if projection not in METHODS:
        raise unknown_name("projection", projection, METHODS)
    check_out(out, (".html", ".htm"), overwrite)


def _size(page: str) -> str:
    return f"{len(page.encode()) / 1e6:.1f} MB"


def _models(
    path: Path, given: ModelConfig | None, best: bool, seed: int | None, member: int | None,
    key: str | None, count: int,
) -> list[w.Weights]:  # fmt: skip
    """Returns the model that is meant, or the first ones of a run of many seeds."""
    from dataclasses import replace

    from msae_jax import weights as w

    if seed is None and member is None and key is None and path.is_dir():
        many = w.load_many(path, best=best, model=given)
        if many is not None:
            for own, text in many.diverged.items():
                print(f"msae: warning: seed {own} is left out: {text}.", file=sys.stderr)
            return [
                w.Weights(many.model, variables, replace(many.config, seed=own), many.facts)
                for own, variables in list(zip(many.seeds, many.variables, strict=True))[:count]
            ]
    one = w.load_weights(path, best=best, model=given, seed=seed, member=member, key=key)
    return [one]


def _request(
    path: Path, models: list[w.Weights], name: str | None, data_dir: Path | None, split: str
) -> tuple[Request, list[str]]:
    """Returns what is to be shown, and what is odd about the data."""
    from msae_jax import config
    from msae_jax import weights as w
    from msae_jax.explorer import Request
    from msae_jax.runs import directory

    first = models[0]
    of_series = first.facts is not None and first.facts.series is not None
    if of_series and name is not None:
        return _other_series(models, name), []
    settings = first.config if name is None else config.override(first.config, {"data": name})
    directory.check_named(settings)
    dataset, part, odd = w.split(
        settings.data, split, data_dir, trained_on=first.facts, own=name is None
    )
    w.check_channel_order(path, first.model, part.x)
    series = _own_series(settings.data, dataset) if of_series else None
    request = Request(
        models, part.x, part.y, settings.data, split, series=series, classes=dataset.classes
    )
    return request, odd


def _own_series(name: str, dataset: Dataset) -> SeriesData:
    """Returns the series that a run was trained on, and its training windows."""
    from msae_jax.data.options import parse
    from msae_jax.data.series import Windows, read
    from msae_jax.explorer import SeriesData

    trained_on = dataset.train.x
    assert isinstance(trained_on, Windows)
    return SeriesData(read(*parse(name)), dataset.series, trained_on)


def _other_series(models: list[w.Weights], name: str) -> Request:
    """Returns all windows of another series than the one that a run was trained on."""
    from msae_jax import data as sources
    from msae_jax.analysis import augmentation
    from msae_jax.analysis.series_anomalies import scored_windows
    from msae_jax.cli.series_runs import as_trained
    from msae_jax.data.series import Facts, Windows, labels_of
    from msae_jax.explorer import Request, SeriesData

    first = models[0]
    assert first.facts is not None
    assert first.facts.series is not None
    known = Facts.from_dict(first.facts.series)
    series = as_trained(Path(name), first.config.data, known)
    windows = augmentation.every(scored_windows(series, known), known.stride)
    try:
        trained_on = sources.load(first.config.data).train.x
    except InputError as error:
        print(
            f"msae: warning: no alarms, as the training data are missing: {error}", file=sys.stderr
        )
        trained_on = None
    assert trained_on is None or isinstance(trained_on, Windows)
    y = labels_of(series, windows)
    told = SeriesData(series, known, trained_on)
    return Request(models, windows, y, name, "all", series=told, classes=series.classes)


def _extra(request: Request) -> list[Column]:
    """Returns the column of the data's file that `--color` names, where it is one."""
    from msae_jax.explorer import columns

    own = request.color
    known = own in (None, "class", "label", "start", "error") or (
        own.startswith("z") and own[1:].isdigit()
    )
    if known or request.series is not None:
        return []
    assert own is not None
    return [columns.of_file(request.data, own, request.split)]
