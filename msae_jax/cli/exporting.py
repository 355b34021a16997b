"""`msae export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from msae_jax.cli.app import (
    Best,
    Data,
    DataDir,
    Key,
    MemberIndex,
    ModelName,
    Options,
    Seed,
    Weights,
    app,
    model_given,
    note_assumptions,
)


@app.command()
def export(
    weights: Weights,
    out: Annotated[Path, typer.Option("--out", help="The file to write.")],
    part: Annotated[str, typer.Option(help="encode, decode or reconstruct.")],
    format: Annotated[
        str | None, typer.Option(help="onnx or stablehlo. [the suffix of --out]")
    ] = None,
    model: ModelName = None,
    options: Options = None,
    best: Best = False,
    seed: Seed = None,
    member: MemberIndex = None,
    key: Key = None,
    data: Data = None,
    data_dir: DataDir = None,
    certificate: Annotated[
        Path | None, typer.Option("--json", help="Write the certificate here. [--out with .json]")
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace --out and --json.")] = False,
) -> None:
    """Export weights to ONNX or StableHLO, for any batch size, and compare the file with JAX.

    Exit status 1 if they differ by more than 1e-5, relative. ONNX needs the extra: pip install
    'msae-jax[export]'; StableHLO needs none.
    """
    from msae_jax import export as e
    from msae_jax import weights as w

    given = model_given(model, options, weights)
    loaded = w.load_weights(weights, best=best, model=given, seed=seed, member=member, key=key)
    note_assumptions(weights, loaded, given)
    done = e.export(
        loaded,
        part,  # type: ignore[arg-type]  # a name that is none is an InputError
        out,
        format=format,
        certificate=certificate,
        source=weights,
        data_name=data,
        data_dir=data_dir,
        overwrite=overwrite,
    )
    print(done)
    print(out)
    if not done.passed:
        raise typer.Exit(1)
