"""`msae reproduce`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from msae_jax.cli.app import DataDir, app


@app.command()
def reproduce(
    names: Annotated[list[str], typer.Argument(help="Studies, or package.module:name, or all.")],
    seeds: Annotated[int, typer.Option(min=1, help="Seeds of each model.")] = 8,
    quick: Annotated[
        bool, typer.Option("--quick", help="Small data, two epochs: a look, not a result.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="For results. [figures/STUDY]")] = None,
    runs: Annotated[
        Path | None, typer.Option(help="For the runs; finished ones are used again. [runs]")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Train again what is in --runs.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Run published studies over many seeds: table, verdicts, results.json, figures, ledger."""
    from msae_jax import experiments
    from msae_jax.experiments.study import Setup
    from msae_jax.results import claims, ledger
    from msae_jax.system import distributed

    distributed.use_host_devices()
    chosen = list(experiments.NAMES) if names == ["all"] else names
    studies = {name: experiments.find(name) for name in chosen}
    runs = runs or Path("runs/quick" if quick else "runs")
    folder = runs / "figures" if quick else Path("figures")
    alone = out is not None and len(chosen) == 1
    folders = {name: name.replace(":", ".") for name in studies}  # not every system takes a colon
    for title, study in studies.items():
        name = folders[title]
        target = out if alone and out is not None else (out or folder) / name
        before = claims.seeds_of_results(target / "results.json")
        if before > seeds:
            text = f"replaces the results of {before} seeds in {target} by those of {seeds}"
            print(f"msae: warning: {text}", file=sys.stderr)
        print(f"\n{name}\n")
        setup = Setup(seeds, target, runs / name, quick, fresh, data_dir, side_by_side=True)
        study.reproduce(setup)
    if not alone:
        own = [name for name in folders.values() if name not in experiments.NAMES]
        written = ledger.write(out or folder, [*experiments.NAMES, *own])
        print(f"\nledger: {out or folder}/ledger.md; {ledger.tally(written)}")
