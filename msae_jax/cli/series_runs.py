"""What the commands that put a series through a trained run share."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from msae_jax.cli.reading import SERIES
from msae_jax.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from msae_jax.data.series import Facts, Series
    from msae_jax.weights import Many

RunOfSeries = Annotated[
    Path, typer.Argument(metavar="RUN", help="A run directory that was trained on a series.")
]


def check_targets(out: Path, figure: Path | None, overwrite: bool) -> None:
    """Raises InputError where a file cannot be written, before anything is computed."""
    if figure is not None and figure.suffix.lower() not in (".png", ".svg"):
        raise InputError(f"--figure must end in .png or .svg, got {figure}.")
    for path in [out, *([figure] if figure else [])]:
        if path.exists() and not overwrite:
            raise InputError(f"{path} exists: choose another, or --overwrite to replace it.")


def models_of(
    run: Path, *, best: bool = False, seed: int | None = None, member: int | None = None
) -> tuple[Many, Facts]:
    """Returns the models of a run, all of them or the one that is chosen, and what they expect.

    Raises:
      InputError: there is no such run or model, or it was not trained on windows of a series.
    """
    from msae_jax import weights as w
    from msae_jax.data.series import Facts

    every = seed is None and member is None and run.is_dir()
    many = w.load_many(run, best=best) if every else None
    if many is None:
        one = w.load_weights(run, best=best, seed=seed, member=member)
        many = w.Many(one.model, [one.config.seed], [one.variables], {}, one.config, one.facts)
    if many.facts is None or many.facts.series is None:
        raise InputError(f"{run} was not trained on windows of a series: train with --window.")
    return many, Facts.from_dict(many.facts.series)


def as_trained(samples: Path, trained: str, facts: Facts) -> Series:
    """Reads a series, with the reading options of the run where the input's name has none.

    Args:
      samples: the input, with its options behind a `?`.
      trained: the name of the data that the run was trained on.
    """
    from msae_jax.data.options import named, parse
    from msae_jax.data.series import TABLES, read

    path, own = parse(samples)
    _, before = parse(trained)
    kept = {name: getattr(before, name) for name in SERIES if getattr(own, name) is None}
    is_table = path.suffix.lower() in TABLES
    if is_table and own.channels is None and before.channels is None:
        kept["channels"] = _quoted(facts.channels)
    if not is_table:
        kept = {"layout": before.layout} if own.layout is None else {}
    return read(*parse(named(samples, **kept)))


def _quoted(names: tuple[str, ...]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(names)
    return text.getvalue()


def time_of(series: Series, i: int) -> Any:
    """Returns the time stamp of a point as it is written, its number where there is none."""
    if series.times is None:
        return i
    at = series.times[i]
    return str(at.astype("datetime64[s]")) if at.dtype.kind == "M" else float(at)


def write_table(path: Path, series: Series, copies: Sequence[np.ndarray]) -> None:
    """Writes a row a point: its time or number, the channels of each copy, and its label."""
    import numpy as np

    values = np.concatenate(copies, axis=1)
    names = list(series.channels)
    if len(copies) > 1:
        names = [f"{name}_{i + 1}" for i in range(len(copies)) for name in series.channels]
    labels = [] if series.labels is None else ["label"]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["point" if series.times is None else "time", *names, *labels])
        for i, row in enumerate(values):
            texts = ["" if np.isnan(value) else f"{value:.9g}" for value in row]
            own = [] if series.labels is None else [int(series.labels[i])]
            writer.writerow([time_of(series, i), *texts, *own])
