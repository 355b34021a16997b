"""`msae bench`."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from msae_jax.cli.app import DataDir, app


@app.command()
def bench(
    models: Annotated[list[str] | None, typer.Argument(help="Models. [all with a recipe]")] = None,
    data: Annotated[str | None, typer.Option(help="Instead of the recipe's data set.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Of an epoch. [all]")] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Epochs that are timed.")] = 7,
    compiled: Annotated[bool, typer.Option(help="Try torch.compile, too.")] = True,
    out: Annotated[Path | None, typer.Option(help="JSON; replaced where it exists.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Time training beside PyTorch: same model, weights, samples and steps, an epoch in turn."""
    from msae_jax import bench as b
    from msae_jax import recipes
    from msae_jax.files import replacing

    results = []
    for name in models or list(recipes.RECIPES):
        settings = recipes.recipe(name)
        settings = replace(settings, data=data or settings.data)
        folder = None if data_dir is None else str(data_dir)
        result = b.bench(settings, steps=steps, repeats=repeats, compiled=compiled, data_dir=folder)
        results.append(result)
        for side, reason in result.failed.items():
            print(f"msae: warning: {name}: {side} could not run: {reason}", file=sys.stderr)
        if len(result.seconds) == 1:
            print("msae: warning: PyTorch is not installed (extra torch)", file=sys.stderr)
        print(f"{name}: {result.median():.4g} s an epoch, {result.ratio:.2f} times", flush=True)
    limits = b.peaks()
    print(f"\n{b.table(results, limits)}")
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        with replacing(out, overwrite=True) as temporary:
            temporary.write_text(json.dumps(b.to_dict(results, limits), indent=1) + "\n")
