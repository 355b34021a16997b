"""`msae compare`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from msae_jax.cli.app import AsJson, Data, DataDir, app

if TYPE_CHECKING:
    from msae_jax.compare import Side
    from msae_jax.config import TrainConfig


@app.command()
def compare(
    a: Annotated[str, typer.Argument(help="A run of many seeds, or a model to train now.")],
    b: Annotated[str, typer.Argument(help="What A is compared with, likewise.")],
    metric: Annotated[str, typer.Option(help="Of the last epoch; lower is better.")] = "test_mse",
    claim: Annotated[
        float | None, typer.Option(help="A published claim: A is so many per cent lower.")
    ] = None,
    match: Annotated[
        str | None, typer.Option(help="params, latent: resize B to A, trained now.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=2, help="Of what is trained now.")] = 8,
    data: Data = None,
    data_dir: DataDir = None,
    epochs: Annotated[int | None, typer.Option(help="Of what is trained now.")] = None,
    runs: Annotated[Path, typer.Option(help="For what is trained now.")] = Path("runs/compare"),
    as_json: AsJson = False,
) -> None:
    """Say whether A beats B over seeds: intervals, tests, and whether the comparison is fair."""
    from msae_jax import compare as c
    from msae_jax import config, distributed, matching, recipes, run_directory
    from msae_jax import data as d

    distributed.use_host_devices()
    given = {"data": data, "epochs": epochs}
    changes = {name: value for name, value in given.items() if value is not None}

    def settings_of(name: str) -> TrainConfig:
        if Path(name).is_dir():
            return run_directory.read_config(Path(name))
        return config.override(recipes.recipe(name), changes)

    def trained(settings: TrainConfig, name: str) -> Side:
        out = runs / f"{name}-{Path(settings.data).stem}-{settings.epochs}"
        return _trained(settings, name, out, seeds, metric, data_dir)

    def side(name: str) -> Side:
        if Path(name).is_dir():
            return c.side_of(name, metric)
        return trained(settings_of(name), name)

    first = side(a)
    if match is None:
        second = side(b)
    else:
        settings = settings_of(b)
        shape = d.load(settings.data, data_dir=data_dir).sample_shape
        control = matching.match(settings.model, first.settings.model, match, shape)
        label = f"{settings.model.name}-matched-{match}"
        trains_like = replace(first.settings, model=control)
        second = trained(trains_like, label)
    verdict = c.compare(first, second, metric, published_percent=claim)
    print(json.dumps(verdict.to_dict(), indent=2) if as_json else verdict)


def _trained(
    settings: TrainConfig, name: str, out: Path, seeds: int, metric: str, data_dir: Path | None
) -> Side:
    from msae_jax import compare as c
    from msae_jax.ensemble import as_members, fit_many
    from msae_jax.progress import progress_bar

    settings = replace(settings, checkpoint_every=settings.epochs)
    with progress_bar(settings.epochs, f"{name}, {seeds} seeds") as bar:
        done = fit_many(
            settings,
            as_members(settings, seeds),
            out=out,
            resume=True,
            data_dir=data_dir,
            on_epoch=bar,
        )
    return c.side_of(done, metric, name)
