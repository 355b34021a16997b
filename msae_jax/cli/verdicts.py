"""`msae compare`."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from msae_jax.cli.app import AsJson, Data, DataDir, app
from msae_jax.errors import InputError

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
    seeds: Annotated[
        int | None,
        typer.Option(min=2, help="Of what is trained now. [as the other run, or 8]"),
    ] = None,
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
        if Path(name).name != name:
            raise InputError(
                f"{name}: no such directory; expected that of a run of many seeds, or a model."
            )
        return config.override(recipes.recipe(name), changes)

    wanted = [settings_of(name) for name in (a, b)]
    known = [c.side_of(name, metric) if Path(name).is_dir() else None for name in (a, b)]
    others = next((sorted(side.values) for side in known if side is not None), None)

    def trained(settings: TrainConfig, name: str) -> Side:
        listed = range(settings.seed, settings.seed + (seeds or 8))
        chosen = others if seeds is None and others else list(listed)
        return _trained(settings, name, chosen, runs, metric, data_dir)

    first = known[0] or trained(wanted[0], a)
    if match is None:
        second = known[1] or trained(wanted[1], b)
    else:
        shape = d.load(first.settings.data, data_dir=data_dir).sample_shape
        other = wanted[1].model
        control = matching.match(other, first.settings.model, match, shape)
        label = f"{other.name}-matched-{match}"
        second = trained(replace(first.settings, model=control), label)
    verdict = c.compare(first, second, metric, published_percent=claim)
    print(json.dumps(verdict.to_dict(), indent=2) if as_json else verdict)


def _trained(
    settings: TrainConfig,
    name: str,
    seeds: list[int],
    runs: Path,
    metric: str,
    data_dir: Path | None,
) -> Side:
    """Trains in a directory of the configuration's own, where it goes on and is found again."""
    import hashlib

    from msae_jax import compare as c
    from msae_jax import config
    from msae_jax.ensemble import as_members, fit_many
    from msae_jax.progress import progress_bar

    settings = replace(settings, checkpoint_every=settings.epochs)
    content = json.dumps(config.to_dict(settings), sort_keys=True)
    digest = hashlib.sha256(content.encode()).hexdigest()[:8]
    with progress_bar(settings.epochs, f"{name}, {len(seeds)} seeds") as bar:
        done = fit_many(
            settings,
            as_members(settings, seeds),
            out=runs / f"{name}-{Path(settings.data).stem}-{digest}",
            resume=True,
            data_dir=data_dir,
            on_epoch=bar,
        )
    for message in done.messages:
        print(f"msae: warning: {message}", file=sys.stderr)
    return c.side_of(done.only(seeds), metric, name)
