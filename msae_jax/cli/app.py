"""The application that the commands register with, and the options that several of them have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Autoencoders in JAX/Flax: train, evaluate, embed, compare, reproduce published results.",
)

Weights = Annotated[
    Path, typer.Argument(help="A run directory, RUN/checkpoints/EPOCH, .pth or .safetensors.")
]
ModelName = Annotated[
    str | None, typer.Option("--model", help="Of a file, where its keys and shapes do not tell.")
]
Data = Annotated[str | None, typer.Option(help="Data set (see `msae list`) or .npy/.npz/.csv.")]
DataDir = Annotated[Path | None, typer.Option(help="IDX files, to prepare MNIST from.")]
SplitName = Annotated[str, typer.Option("--split", help="train or test.")]
Options = Annotated[
    list[str] | None,
    typer.Option("--set", help="FIELD=VALUE of the model, where the shapes do not tell."),
]
Best = Annotated[bool, typer.Option(help="The best checkpoint of a run instead of the latest.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Input = Annotated[Path, typer.Option("--input", help="Samples, one a row: .npy, .npz or .csv.")]
OutFile = Annotated[Path, typer.Option("--out", help="The .npy file to write.")]
Overwrite = Annotated[bool, typer.Option(help="Replace --out where it exists.")]
Seed = Annotated[int | None, typer.Option(help="Which model of a run of many seeds.")]
MemberIndex = Annotated[
    int | None, typer.Option("--member", help="The same by position, where seeds repeat.")
]
