"""`msae apply` and `export-torch`: computes PyTorch's exported programs, and writes them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from msae_jax.cli.app import Key, Overwrite, app, check_out
from msae_jax.errors import InputError, printable

if TYPE_CHECKING:
    import numpy as np


@app.command()
def apply(
    program: Annotated[Path, typer.Argument(help="A .pt2 of torch.export.save.")],
    samples: Annotated[
        list[Path], typer.Option("--input", help="Samples in PyTorch's layout: .npy; one an input.")
    ],
    out: Annotated[Path, typer.Option("--out", help="The .npz to write: output_0, output_1, ...")],
    batch_size: Annotated[int | None, typer.Option(help="Samples computed at once. [256]")] = None,
    seed: Annotated[int | None, typer.Option(help="Draw the program's random numbers.")] = None,
    train: Annotated[
        bool, typer.Option("--train", help="As exported, if for training; in one batch.")
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """Compute a program that PyTorch exported, autoencoder or not; needs no PyTorch."""
    import numpy as np

    from msae_jax.interop.applying import apply_pt2
    from msae_jax.system.files import replacing

    check_out(out, (".npz",), overwrite)
    arrays = [_array(path) for path in samples]
    done = apply_pt2(program, arrays, batch_size=batch_size, seed=seed, train=train)
    for note in done.notes:
        print(f"msae: note: {printable(f'{program}: {note}')}", file=sys.stderr)
    with replacing(out, overwrite) as temporary, temporary.open("wb") as file:
        np.savez(file, **done.outputs)  # type: ignore[arg-type, unused-ignore]
    for name, y in done.outputs.items():
        print(f"{name} {list(y.shape)} {y.dtype}")
        if y.dtype.kind == "f" and not np.isfinite(y).all():
            print(f"msae: warning: not all of {name} is finite", file=sys.stderr)


@app.command("export-torch")
def export_torch(
    target: Annotated[str, typer.Argument(help="module.py:Class or package.module:Class.")],
    out: Annotated[Path, typer.Option("--out", help="The .pt2 to write.")],
    input_shape: Annotated[
        list[str], typer.Option(help="Of one sample: 1,28,28; once for each input.")
    ],
    weights: Annotated[Path | None, typer.Option(help="A file of its weights.")] = None,
    key: Key = None,
    arguments: Annotated[
        list[str] | None, typer.Option("--arg", help="NAME=VALUE of the class; several.")
    ] = None,
    input_dtype: Annotated[
        list[str] | None, typer.Option(help="Of each input, as PyTorch names it. [float32]")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Export a PyTorch module from its code: this imports and runs the code. Needs PyTorch."""
    from msae_jax.config import parse_assignment
    from msae_jax.interop import export_torch as e

    done = e.export_torch(
        target,
        out,
        [_shape(text) for text in input_shape],
        weights=weights,
        key=key,
        arguments=dict(parse_assignment(text) for text in arguments or ()),
        dtypes=input_dtype or (),
        overwrite=overwrite,
    )
    for note in done.notes:
        print(f"msae: note: {printable(note)}", file=sys.stderr)
    for path in done.files:
        print(path)


def _shape(text: str) -> tuple[int, ...]:
    parts = text.split(",") if text else []
    if not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise InputError(f"--input-shape is numbers from 1, such as 1,28,28; got {text!r}.")
    return tuple(map(int, parts))


def _array(path: Path) -> np.ndarray:
    """Returns the array of a `.npy` file as it is.

    Raises:
      InputError: there is no such file, or it holds no plain array.
    """
    import numpy as np

    try:
        with path.open("rb") as file:
            return np.lib.format.read_array(file, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as a .npy file: {error}.") from error
