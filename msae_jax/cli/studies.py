"""`msae reproduce`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from msae_jax.cli.app import (
    app,
)


@app.command()
def reproduce(
    names: Annotated[list[str], typer.Argument(help="Studies; see `msae list`.")],
    seeds: Annotated[int, typer.Option(min=1, help="Seeds of each model.")] = 8,
    out: Annotated[Path | None, typer.Option(help="For results. [figures/STUDY]")] = None,
    runs: Annotated[Path, typer.Option(help="For the runs; finished ones are used again.")] = Path(
        "runs"
    ),
    fresh: Annotated[bool, typer.Option("--fresh", help="Train again what is in --runs.")] = False,
) -> None:
    """Run published studies over many seeds: table, results.json, figures."""
    from msae_jax import experiments

    studies = [(name, experiments.find(name)) for name in names]
    for name, study in studies:
        target = Path("figures", name) if out is None else out / name if len(names) > 1 else out
        study.reproduce(seeds=seeds, out=target, runs=runs / name, fresh=fresh)
