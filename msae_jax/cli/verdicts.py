"""`msae compare`."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from msae_jax.cli.app import AsJson, Data, DataDir, Likelihood, OwnModels, app
from msae_jax.cli.tools import Log
from msae_jax.errors import InputError

if TYPE_CHECKING:
    from msae_jax.config import ModelConfig, TrainConfig
    from msae_jax.fitting.ensemble import Ensemble
    from msae_jax.results.compare import Side, Verdict


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
    likelihood: Likelihood = None,
    model: OwnModels = None,
    epochs: Annotated[int | None, typer.Option(help="Of what is trained now.")] = None,
    runs: Annotated[Path, typer.Option(help="For what is trained now.")] = Path("runs/compare"),
    log: Log = None,
    as_json: AsJson = False,
) -> None:
    """Say whether A beats B over seeds: intervals, tests, and whether the comparison is fair."""
    from msae_jax import trackers
    from msae_jax.results import compare as c
    from msae_jax.system import distributed

    distributed.use_host_devices()
    watched = trackers.parse(log)
    given = {"data": data, "epochs": epochs, "objective.likelihood": likelihood}
    named = [data, likelihood, *(model or ())]
    changes = {name: value for name, value in given.items() if value is not None}

    wanted = [_settings(name, changes, named) for name in (a, b)]
    known = [
        c.side_of(name, metric, named=named) if Path(name).is_dir() else None for name in (a, b)
    ]
    others = next((sorted(side.values) for side in known if side is not None), None)

    def now(settings: TrainConfig, name: str) -> Side:
        listed = range(settings.seed, settings.seed + (seeds or 8))
        chosen = others if seeds is None and others else list(listed)
        return c.side_of(trained(settings, name, chosen, runs, data_dir).only(chosen), metric, name)

    first = known[0] or now(wanted[0], a)
    if match is None:
        second = known[1] or now(wanted[1], b)
    else:
        own = _matched(first.settings, wanted[1].model, match, data_dir)
        second = now(own, f"{own.model.name}-matched-{match}")
    verdict = c.compare(first, second, metric, published_percent=claim)
    print(json.dumps(verdict.to_dict(), indent=2) if as_json else verdict)
    if watched:
        _log(verdict, watched, runs / "verdicts", f"msae compare {a} {b}")


def _matched(
    settings: TrainConfig, other: ModelConfig, match: str, data_dir: Path | None
) -> TrainConfig:
    """Returns a configuration with another model, as large as its own."""
    from msae_jax import data
    from msae_jax.results import controls
    from msae_jax.runs import directory

    directory.check_named(settings)
    shape = data.load(settings.data, data_dir=data_dir).sample_shape
    control = controls.match(other, settings.model, match, shape)
    # what it begins with, and what is frozen, are of the parameters of the first model
    return replace(settings, model=control, init_from=None, freeze="")


def _log(verdict: Verdict, watched: list[str], folder: Path, again: str) -> None:
    """Logs a verdict to trackers; another one of the same two sides is another run there."""
    from msae_jax.trackers import feeding

    found = verdict.to_dict()
    name = f"{verdict.a.name} and {verdict.b.name}, {verdict.metric}"
    place = re.sub(r"[^\w.=-]+", "-", name)
    place = f"{place}-{_digest(found)}"
    feeding.send_verdict(watched, folder / place, name, found, again)


def _settings(name: str, changes: dict[str, Any], named: list[str | None]) -> TrainConfig:
    """Returns the configuration of a run directory, or of a model's recipe with changes."""
    from msae_jax import config, recipes
    from msae_jax.runs import checkpoint

    if Path(name).is_dir():
        return checkpoint.read_config(Path(name), named)
    if Path(name).name != name:
        raise InputError(
            f"{name}: no such directory; expected that of a run of many seeds, or a model."
        )
    return config.override(recipes.recipe(name), changes)


def trained(
    settings: TrainConfig, name: str, seeds: list[int], runs: Path, data_dir: Path | None
) -> Ensemble:
    """Trains in a directory named after the configuration, so that the next call finds the run."""
    from msae_jax.fitting.loop import as_members, fit_many
    from msae_jax.system.progress import progress_bar

    out = place(settings, name, runs)
    settings = replace(settings, checkpoint_every=settings.epochs)
    with progress_bar(settings.epochs, f"{name}, {len(seeds)} seeds") as bar:
        done = fit_many(
            settings,
            as_members(settings, seeds),
            out=out,
            resume=True,
            data_dir=data_dir,
            on_epoch=bar,
        )
    for message in done.messages:
        print(f"msae: warning: {message}", file=sys.stderr)
    return done


def place(settings: TrainConfig, name: str, runs: Path) -> Path:
    """Returns the directory in which `trained` trains a configuration."""
    from msae_jax import config

    settings = replace(settings, checkpoint_every=settings.epochs)
    data = Path(settings.data.partition("?")[0]).stem
    return runs / f"{name}-{data}-{_digest(config.to_dict(settings))}"


def _digest(content: dict[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]
