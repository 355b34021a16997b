"""What `msae embed` and `msae reconstruct` write of a series, for a run that was trained on one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from msae_jax.cli.reading import OPTIONS, SERIES
from msae_jax.cli.series_runs import as_trained, check_targets, write_table
from msae_jax.errors import InputError

if TYPE_CHECKING:
    from msae_jax.data.series import Facts, Series
    from msae_jax.weights import Weights


def embed(weights: Weights, samples: Path, out: Path, overwrite: bool) -> None:
    """Writes the latents `[N, latent_dim]` of the windows of a series.

    The windows are those of the run's stride, or of `stride` among the input's options. An `.npz`
    has them as `z`, and beside them `start`, the row at which each window begins, and, where the
    series has time stamps or labels, `time` and `y` of each window.

    Raises:
      InputError: the series does not fit the run, or the files cannot be read or written.
    """
    import numpy as np

    from msae_jax.analysis import augmentation as aug
    from msae_jax.analysis.series_anomalies import scored_windows
    from msae_jax.data.options import parse
    from msae_jax.data.series import labels_of
    from msae_jax.system.files import replacing
    from msae_jax.train import evaluation

    series, facts = _opened(weights, samples, out, (".npy", ".npz"), overwrite)
    given = parse(samples)[1].stride
    windows = aug.every(
        scored_windows(series, facts), facts.stride if given is None else int(given)
    )
    found: dict[str, Any] = {"z": evaluation.embed(weights.model, weights.variables, windows)}
    found["start"] = windows.starts
    if series.times is not None:
        found["time"] = series.times[windows.starts]
    labels = labels_of(series, windows)
    if labels is not None:
        found["y"] = labels
    with replacing(out, overwrite) as temporary, temporary.open("wb") as file:
        if out.suffix.lower() == ".npy":
            np.save(file, found["z"])
        else:
            np.savez(file, **found)
    print(f"{len(windows)} windows of {facts.window} points: {out}")


def reconstruct(weights: Weights, samples: Path, out: Path, overwrite: bool) -> None:
    """Writes the reconstruction of a series, point by point, in its own units.

    The windows follow one another; the last one of each unbroken run of points ends where the run
    ends. A point that lies in no window is missing. A `.csv` has a row a point; an `.npy` is `[T]`,
    or `[T, C]` of several channels.

    Raises:
      InputError: the series does not fit the run, or the files cannot be read or written.
    """
    import numpy as np

    from msae_jax.analysis import augmentation as aug
    from msae_jax.analysis.series_anomalies import scored_windows
    from msae_jax.system.files import replacing
    from msae_jax.train import evaluation

    series, facts = _opened(weights, samples, out, (".csv", ".npy"), overwrite)
    windows = aug.covering(scored_windows(series, facts))
    scaled = evaluation.reconstruct(weights.model, weights.variables, windows)
    made = aug.in_units(aug.as_series(scaled, len(series.channels)), windows, facts.scaling)
    whole = aug.joined(made, windows)
    with replacing(out, overwrite) as temporary:
        if out.suffix.lower() == ".csv":
            write_table(temporary, series, [whole])
        else:
            with temporary.open("wb") as file:
                np.save(file, whole[:, 0] if whole.shape[1] == 1 else whole)
    missing = int(np.isnan(whole).all(axis=1).sum())
    left = f", {missing} of them in no window" if missing else ""
    print(f"{len(whole)} points in {len(windows)} windows{left}: {out}")


def _opened(
    weights: Weights, samples: Path, out: Path, suffixes: tuple[str, ...], overwrite: bool
) -> tuple[Series, Facts]:
    from msae_jax.data.options import parse
    from msae_jax.data.series import Facts

    if out.suffix.lower() not in suffixes:
        raise InputError(f"--out must end in {' or '.join(suffixes)} for a series, got {out}.")
    check_targets(out, None, overwrite)
    told = parse(samples)[1]
    for name in OPTIONS:
        if name not in (*SERIES, "stride", "layout") and getattr(told, name) is not None:
            raise InputError(
                f"--{name.replace('_', '-')} was settled when {weights.config.model.name} was "
                "trained on windows of a series: leave it out."
            )
    assert weights.facts is not None
    assert weights.facts.series is not None
    facts = Facts.from_dict(weights.facts.series)
    return as_trained(samples, weights.config.data, facts), facts
