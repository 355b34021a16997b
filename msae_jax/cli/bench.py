"""`msae bench`."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from msae_jax.cli.app import DataDir, app
from msae_jax.errors import InputError

if TYPE_CHECKING:
    from msae_jax.bench import Result
    from msae_jax.config import TrainConfig


@app.command()
def bench(
    models: Annotated[
        list[str] | None, typer.Argument(help="Models, .pt2 files. [all with a recipe]")
    ] = None,
    task: Annotated[Literal["train", "inference"], typer.Option(help="What is timed.")] = "train",
    data: Annotated[str | None, typer.Option(help="Instead of the recipe's data set.")] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Batches, of the first samples. [all]")
    ] = None,
    repeats: Annotated[
        int, typer.Option(min=1, help="Epochs, or passes over the test set, timed.")
    ] = 7,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Of a .pt2 whose batch size is free. [16]")
    ] = None,
    precision: Annotated[
        Literal["float32", "bfloat16"], typer.Option(help="Training: of products, on both sides.")
    ] = "float32",
    compiled: Annotated[bool, typer.Option(help="Training: try torch.compile, too.")] = True,
    out: Annotated[Path | None, typer.Option(help="JSON; replaced where it exists.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Time training, or inference, beside PyTorch: same model, weights, samples and batches.

    Training is timed by the epoch; inference (evaluate, embed, reconstruct) by the test set, from
    the samples in memory to NumPy. Both sides run in turn.
    """
    from msae_jax import bench as b
    from msae_jax import recipes
    from msae_jax.models import record
    from msae_jax.system.names import is_program

    _check_options(models or [], task, data, data_dir, batch_size)
    _check_precision(models or [], task, precision)
    results: list[b.Result] = []
    timed = [n for n in recipes.published() if task == "inference" or record(n).fit is None]
    for name in models or timed:
        if is_program(name):
            found = b.bench_program(
                name, batch_size=batch_size or 16, steps=steps, repeats=repeats, compiled=compiled
            )
            results += _told(name, found)
            continue
        settings = recipes.recipe(name)
        settings = replace(settings, data=data or settings.data, precision=precision)
        options: dict[str, Any] = {"steps": steps, "repeats": repeats, "data_dir": data_dir}
        if task == "inference":
            found = b.bench_inference(settings, **options)
        else:
            _tell_left_out(name, settings)
            found = [b.bench(settings, compiled=compiled, **options)]
        results += _told(name, found)
    if all(len(result.seconds) == 1 for result in results):
        print("msae: warning: PyTorch is not installed (extra torch)", file=sys.stderr)
    limits = b.peaks()
    print(f"\n{b.table(results, limits)}")
    if out is not None:
        _write(out, b.to_dict(results, limits))


def _write(out: Path, content: dict[str, Any]) -> None:
    from msae_jax.system.files import replacing

    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out, overwrite=True) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n")


def _tell_left_out(name: str, settings: TrainConfig) -> None:
    """Says where a recipe has more than PyTorch's loops."""
    from msae_jax import bench as b

    if b.comparable(settings) != settings:
        print(
            f"msae: note: {name} is timed with Adam and without what its loss has beside "
            "likelihood and KL, as PyTorch's loops train it",
            file=sys.stderr,
        )


def _check_options(
    models: list[str], task: str, data: str | None, data_dir: Path | None, batch_size: int | None
) -> None:
    """Refuses options that would do nothing."""
    from msae_jax.system.names import is_program

    programs = [name for name in models if is_program(name)]
    if programs and (task != "train" or data is not None or data_dir is not None):
        raise InputError(
            f"{programs[0]} is timed on noise, forward and training: --task, --data and --data-dir "
            "are for models by name."
        )
    if batch_size is not None and (not models or len(programs) < len(models)):
        raise InputError("--batch-size is for .pt2 files: models by name have their recipe's.")


def _check_precision(models: list[str], task: str, precision: str) -> None:
    """Refuses a precision of what is no training; warns where the device has no units for it."""
    from msae_jax.system import precision as p
    from msae_jax.system.names import is_program

    if precision == "float32":
        return
    if task != "train" or any(map(is_program, models)):
        raise InputError(
            f"--precision {precision} is for the training of models by name: inference, and "
            "programs here, are timed in float32."
        )
    if (text := p.remark(precision)) is not None:
        print(f"msae: warning: {text}", file=sys.stderr)


def _told(name: str, found: list[Result]) -> list[Result]:
    """Prints a line a result, and why a side could not run; returns the results."""
    for result in found:
        for side, reason in result.failed.items():
            print(f"msae: warning: {name}: {side} could not run: {reason}", file=sys.stderr)
        ratio = "no PyTorch" if result.fastest is None else f"{result.ratio:.2f} times"
        print(f"{name}, {result.task}: {result.median():.4g} s, {ratio}", flush=True)
    return found
