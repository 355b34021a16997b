"""`msae inspect`, `convert`, `verify`, `replay`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from msae_jax.cli.app import (
    AsJson,
    Best,
    Data,
    DataDir,
    Key,
    MemberIndex,
    ModelName,
    Options,
    Seed,
    app,
    model_given,
    note_assumptions,
)
from msae_jax.errors import printable
from msae_jax.system.names import is_program


@app.command()
def inspect(
    path: Annotated[Path, typer.Argument(help="A file of weights, or a run directory.")],
    as_json: AsJson = False,
) -> None:
    """Show what is in a file of weights or a run directory: tensors, models that fit, the rest."""
    from msae_jax.interop import inspection

    found = inspection.inspect(path)
    print(json.dumps(found, indent=2) if as_json else printable(inspection.as_text(found)))


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(help="A run, a checkpoint, .pth, .safetensors, .pt2.")],
    target: Annotated[Path, typer.Argument(help=".pth, .safetensors, or a new run directory.")],
    model: ModelName = None,
    options: Options = None,
    best: Best = False,
    seed: Seed = None,
    member: MemberIndex = None,
    key: Key = None,
    overwrite: Annotated[bool, typer.Option(help="Replace TARGET where it is a file.")] = False,
) -> None:
    """Convert weights between PyTorch's files and run directories, bit for bit."""
    from msae_jax import weights as w
    from msae_jax.interop import programs

    given = model_given(model, options, source)
    if is_program(str(source)) and target.suffix and (given, key, seed, member) == (None,) * 4:
        programs.save_state(source, target, overwrite)
        print(printable(f"{source} (its state dict)"))
        print(target)
        return
    done = w.convert(
        source, target, given, best=best, seed=seed, member=member, key=key, overwrite=overwrite
    )
    if not is_program(str(source)):  # its tensors are the same whatever they are taken for
        note_assumptions(source, done, given)
    sizes = ", ".join(f"{k}={v}" for k, v in done.config.model.options.items()) or "default sizes"
    print(printable(f"{done.config.model.name} ({sizes})"))
    print(target)


@app.command()
def verify(
    weights: Annotated[Path, typer.Argument(help="A .pth, .safetensors or .pt2 file.")],
    model: ModelName = None,
    options: Options = None,
    key: Key = None,
    data: Data = None,
    data_dir: DataDir = None,
    out: Annotated[Path | None, typer.Option("--json", help="Write the certificate here.")] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace --json where it exists.")] = False,
) -> None:
    """Compare JAX with PyTorch on a file of weights, layer by layer; exit status 1 if they differ.

    Without PyTorch installed: keys, shapes, the round trip, recorded figures.
    """
    from msae_jax.interop.verification import verify as v

    given = model_given(model, options, weights)
    certificate = v.verify(
        weights, given, data_name=data, data_dir=data_dir, out=out, overwrite=overwrite, key=key
    )
    print(certificate)
    if not certificate.passed:
        raise typer.Exit(1)


@app.command()
def replay(
    study: Annotated[str, typer.Argument(help="sines.")],
    as_json: AsJson = False,
) -> None:
    """Train from PyTorch's recorded initial weights and batches, beside the published curves."""
    from msae_jax.experiments import replay as r

    found = r.replay(study)
    print(json.dumps(found.to_dict(), indent=2) if as_json else found)
