"""`msae report` and `msae card`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from msae_jax.cli.app import (
    Best,
    DataDir,
    MemberIndex,
    ModelName,
    Options,
    Overwrite,
    OwnModels,
    Seed,
    app,
    model_given,
)


@app.command()
def report(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="Run directories, of seeds or of a sweep."),
    ],
    out: Annotated[Path, typer.Option(help="The .html file to write.")],
    metric: Annotated[str, typer.Option(help="What runs are compared by.")] = "test_mse",
    certificate: Annotated[
        list[Path] | None, typer.Option(help="A file of `msae verify --json` or `export` to add.")
    ] = None,
    samples: Annotated[int, typer.Option(min=1, max=64, help="Test samples to show.")] = 8,
    data: Annotated[
        str | None, typer.Option(help="Whose test samples are shown. [each run's own]")
    ] = None,
    data_dir: DataDir = None,
    model: OwnModels = None,
    overwrite: Overwrite = False,
) -> None:
    """Write what runs found into one HTML file: curves, verdicts, samples, how to repeat it."""
    from msae_jax.report import document
    from msae_jax.report.samples import Shown

    shown = Shown(samples, data, data_dir, [data, *(model or ())])
    document.write(
        out,
        runs,
        metric=metric,
        certificate_files=certificate or (),
        shown=shown,
        command=shlex.join(["msae", *sys.argv[1:]]),
        overwrite=overwrite,
    )
    print(out)


@app.command()
def card(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory or a checkpoint.")],
    out: Annotated[Path, typer.Option(help="The new folder.")],
    license_id: Annotated[
        str | None,
        typer.Option("--license", help="Of the weights, as hubs name it: mit, cc-by-4.0."),
    ] = None,
    model: ModelName = None,
    options: Options = None,
    best: Best = False,
    seed: Seed = None,
    member: MemberIndex = None,
) -> None:
    """Write one model of a run as model hubs have it: weights, configuration, model card.

    `msae evaluate`, `embed`, `reconstruct` and `convert` open the folder.
    """
    from msae_jax.report import card as c

    given = model_given(model, options, run)
    c.write(run, out, best=best, seed=seed, member=member, model=given, license_id=license_id)
    print(out)
