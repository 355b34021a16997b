"""The application that the commands register with, and the options that several of them have."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from msae_jax.config import ModelConfig, parse_assignment
from msae_jax.errors import InputError, printable
from msae_jax.runs.programs import PROGRAM
from msae_jax.system.names import is_program

if TYPE_CHECKING:
    from msae_jax import weights

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=True,
    help="Autoencoders in JAX/Flax: train, evaluate, embed, compare, reproduce published results.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from msae_jax import __version__

        print(f"msae_jax {__version__}")
        raise typer.Exit


@app.callback()
def _all_commands(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    pass


Weights = Annotated[
    Path,
    typer.Argument(help="A run, RUN/checkpoints/EPOCH, a card's folder, .pth, .safetensors, .pt2."),
]
ModelName = Annotated[
    str | None,
    typer.Option("--model", help="Of a file whose shapes do not tell; your own of a run."),
]
OwnModels = Annotated[
    list[str] | None,
    typer.Option("--model", help="Your own package.module:Class that a run names."),
]
Data = Annotated[
    str | None, typer.Option(help="See `msae list`; a file or folder; package.module:name.")
]
Likelihood = Annotated[
    str | None, typer.Option(help="gaussian (MSE), bernoulli (BCE), package.module:name.")
]
DataDir = Annotated[Path | None, typer.Option(help="IDX files, to prepare MNIST from.")]
SplitName = Annotated[str, typer.Option("--split", help="train or test.")]
Options = Annotated[
    list[str] | None,
    typer.Option("--set", help="FIELD=VALUE of the model, where the shapes do not tell."),
]
Key = Annotated[
    str | None, typer.Option(help="Which state dict of a file of several; A,B: both as one.")
]
Best = Annotated[bool, typer.Option(help="The best checkpoint of a run instead of the latest.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Input = Annotated[Path, typer.Option("--input", help="Samples: a file or folder.")]
OutFile = Annotated[Path, typer.Option("--out", help="The .npy file to write.")]
Overwrite = Annotated[bool, typer.Option(help="Replace --out where it exists.")]
Seed = Annotated[int | None, typer.Option(help="Which model of a run of many seeds.")]
MemberIndex = Annotated[
    int | None, typer.Option("--member", help="The same by position, where seeds repeat.")
]


def check_out(out: Path, suffixes: Sequence[str], overwrite: bool) -> None:
    """Checks that a command may write `out`, before anything is computed.

    Raises:
      InputError: its name ends otherwise, or it exists and is not to be replaced.
    """
    if out.suffix.lower() not in suffixes:
        *most, last = suffixes
        known = f"{', '.join(most)} or {last}" if most else last
        raise InputError(f"--out must end in {known}, got {out}.")
    if out.exists() and not overwrite:
        raise InputError(f"{out} exists: choose another --out, or --overwrite to replace it.")


def model_given(
    name: str | None, assignments: Sequence[str] | None, path: Path
) -> ModelConfig | None:
    """Returns the model that `--model` and `--set` describe, None where neither is given.

    Args:
      path: of the weights; a `.pt2`, and a run that holds one, is a model itself, whose options are
        given without `--model`.

    Raises:
      InputError: options without a model, or an assignment that is none.
    """
    options = dict(parse_assignment(text) for text in assignments or ())
    if name is None and options and (is_program(str(path)) or (path / PROGRAM).is_file()):
        name = str(path if is_program(str(path)) else path / PROGRAM)
    if name is None and options:
        raise InputError("--set needs --model: the model whose fields it sets.")
    return None if name is None else ModelConfig(name, options)


def note_assumptions(path: Path, loaded: weights.Weights, given: ModelConfig | None) -> None:
    """Prints what was assumed of the model of a file of weights, on stderr."""
    from msae_jax.interop.torch_files import assumptions

    assumed = assumptions(path, loaded, given)
    if assumed is not None:
        print(f"msae: note: {printable(f'{path}: {assumed}')}", file=sys.stderr)
