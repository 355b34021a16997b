"""`msae augment`: changed copies of a series, through latents or directly."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from msae_jax.cli.app import AsJson, Best, MemberIndex, Overwrite, app
from msae_jax.cli.reading import SERIES, reads
from msae_jax.cli.series_runs import (
    RunOfSeries,
    as_trained,
    check_targets,
    models_of,
    write_table,
)
from msae_jax.errors import InputError

if TYPE_CHECKING:
    import jax
    import numpy as np

    from msae_jax.analysis.augmentation import Quality, Transform
    from msae_jax.data.series import Facts, Series, Windows

Direct = Annotated[bool, typer.Option("--direct", help="Change the data and not the latents.")]
SUFFIXES = (".npy", ".npz", ".csv")


@app.command()
@reads("samples", SERIES)
def augment(
    run: RunOfSeries,
    samples: Annotated[Path, typer.Option("--input", help="The series: .csv, .parquet, .npy.")],
    out: Annotated[Path, typer.Option(help=".npy or .npz of windows, or .csv of one series.")],
    transform: Annotated[
        list[str],
        typer.Option(help="jitter, scaling, magnitude-warp, drift, trend: NAME:STRENGTH"),
    ],
    strength: Annotated[float, typer.Option(help="Of each --transform that has none.")] = 0.1,
    copies: Annotated[int, typer.Option(min=1, help="Of each window.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Of the random numbers.")] = 0,
    direct: Direct = False,
    stride: Annotated[
        int | None, typer.Option(min=1, help="Between windows of .npy, .npz. [of the run]")
    ] = None,
    figure: Annotated[Path | None, typer.Option(help="A .png or .svg to draw.")] = None,
    best: Best = False,
    member: MemberIndex = None,
    as_json: AsJson = False,
    overwrite: Overwrite = False,
) -> None:
    """Write changed copies of a series, in its own units, and say how far and how well they move.

    Of a run of many seeds copy i is made by the i-th of them, and then from the first on again.
    """
    import jax

    from msae_jax.analysis import augmentation as aug

    if out.suffix.lower() not in SUFFIXES:
        raise InputError(f"--out must end in {', '.join(SUFFIXES)}, got {out}.")
    check_targets(out, figure, overwrite)
    steps = [_step(text, strength) for text in transform]
    change = aug.chain(steps)
    many, facts = models_of(run, best=best, member=member)
    series = as_trained(samples, many.config.data, facts)
    windows = _windows(series, facts, stride, joined=out.suffix.lower() == ".csv")
    key = jax.random.key(seed)
    sample = aug.measured(windows)
    x = aug.as_series(sample.take(slice(None)), len(series.channels))
    through = aug.transforms_of(many.model, many.variables, x, change)
    made = aug.augmented([change] if direct else through, windows, copies, key, 1.0)
    _write(out, series, windows, aug.in_units(made, windows, facts.scaling), overwrite)
    latents = aug.latent_count(many.model, many.variables[0], x)
    found = aug.compared(
        through, latents, x, change, jax.random.fold_in(key, copies), direct=direct
    )
    told: dict[str, Any] = {
        "model": many.config.model.name, "seeds": many.seeds, "window": facts.window,
        "windows": len(windows), "copies": copies, "transforms": [list(step) for step in steps],
        "measured": len(x), "latents": latents, "input": str(samples), "out": str(out),
        "methods": {name: [one._asdict() for one in each] for name, each in found.items()},
    }  # fmt: skip
    if figure is not None:
        ways = {"latents": through, "direct": [change]}
        _draw(figure, facts, sample, ways, found, key, overwrite)
    if as_json:
        print(json.dumps(told))
        return
    _print(told, found, out)


def _step(text: str, strength: float) -> tuple[str, float]:
    """Returns the name and the strength of `name` or `name:strength`."""
    name, colon, own = text.rpartition(":")
    try:
        return (name, float(own)) if colon else (text, strength)
    except ValueError:  # the colon of `package.module:name`
        return text, strength


def _windows(series: Series, facts: Facts, stride: int | None, *, joined: bool) -> Windows:
    from msae_jax.analysis import augmentation as aug
    from msae_jax.analysis.series_anomalies import scored_windows

    windows = scored_windows(series, facts)
    if not joined:
        return aug.every(windows, facts.stride if stride is None else stride)
    if series.count > 1:
        raise InputError(
            f"the input is a collection of {series.count} series, which a .csv does not hold: give "
            "an --out that ends in .npz."
        )
    if stride is not None:
        raise InputError("--stride is of windows: series in a .csv have none, give an .npz.")
    return aug.covering(windows)


def _write(
    out: Path, series: Series, windows: Windows, copies: np.ndarray, overwrite: bool
) -> None:
    """Writes copies `[copies, N, L, C]`, as windows or joined to series."""
    import numpy as np

    from msae_jax.analysis import augmentation as aug
    from msae_jax.data.series import labels_of
    from msae_jax.system.files import replacing

    flat = copies.reshape(-1, *windows.shape[1:])  # all windows of the first copy come first
    with replacing(out, overwrite) as temporary:
        if out.suffix.lower() == ".csv":
            write_table(temporary, series, [aug.joined(copy, windows) for copy in copies])
            return
        with temporary.open("wb") as file:
            if out.suffix.lower() == ".npy":
                np.save(file, flat)
                return
            labels = labels_of(series, windows)
            if labels is None:
                np.savez(file, x=flat)
            else:
                np.savez(file, x=flat, y=np.tile(labels, len(copies)))


def _draw(
    path: Path, facts: Facts, sample: Windows, ways: Mapping[str, Sequence[Transform]],
    found: dict[str, list[Quality]], key: jax.Array, overwrite: bool,
) -> None:  # fmt: skip
    """Draws eight copies of the window in the middle, at the strengths that were measured."""
    from dataclasses import replace

    import numpy as np

    from msae_jax.analysis import augmentation as aug
    from msae_jax.figures.series import augmented_series
    from msae_jax.system.files import replacing

    middle = len(sample) // 2
    one = replace(sample, starts=sample.starts[middle : middle + 1])
    channels = len(facts.channels)
    original = aug.in_units(aug.as_series(one.take(np.arange(1)), channels), one, facts.scaling)
    copies = {
        f"{name}, strength x {found[name][0].strength:.3g}": aug.in_units(
            aug.augmented(made, one, 8, key, found[name][0].strength), one, facts.scaling
        )[:, 0]
        for name, made in ways.items()
    }
    drawn = augmented_series(original[0], copies, names=facts.channels)
    with replacing(path, overwrite) as temporary:
        drawn.savefig(temporary, format=path.suffix[1:].lower())


def _print(told: dict[str, Any], found: dict[str, list[Quality]], out: Path) -> None:
    import numpy as np

    chained = ", then ".join(f"{name} {own:g}" for name, own in told["transforms"])
    print(
        f"{told['model']}, {len(told['seeds'])} seed(s): {chained}; {told['copies']} copies of "
        f"{told['windows']} windows of {told['window']} points, {told['measured']} measured"
    )
    rows = [["", "strength", "distance", "PCA-2 ratio %", "Spearman's rho", "monotonic"]]
    for name, each in found.items():
        cells = []
        for field in ("strength", "distance", "pca_ratio", "rho", "monotonic"):
            values = [v for v in (getattr(one, field) for one in each) if v is not None]
            spread = f" ± {np.std(values, ddof=1):.2g}" if len(values) > 1 else ""
            cells.append(f"{np.mean(values):.4g}{spread}" if values else "-")
        rows.append([name, *cells])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *rest in rows:
        cells = [cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]
        print("  ".join([first.ljust(widths[0]), *cells]))
    if len(told["seeds"]) > 1:
        print("mean ± standard deviation over the seeds, each with latents of its own")
    for name, each in found.items():
        for text in dict.fromkeys(one.unreached for one in each if one.unreached):
            print(f"{name} is not at an equal distance: {text}")
    print(out)
