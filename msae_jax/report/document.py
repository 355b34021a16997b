"""`write` makes a report: what runs, seeds, a sweep or a comparison found, in one HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from msae_jax.errors import InputError
from msae_jax.report import certificates, configuration, found, gather, repeat, samples
from msae_jax.report import verdicts as comparing
from msae_jax.report.drawing import Drawings
from msae_jax.report.gather import Subject
from msae_jax.report.page import page
from msae_jax.report.samples import Shown
from msae_jax.results.compare import Verdict
from msae_jax.system import environment
from msae_jax.system.files import make_folder_of, replacing
from msae_jax.system.html import Html, bullets, element, joined, paragraphs, table


def write(
    out: Path,
    runs: Sequence[Path],
    *,
    metric: str = "test_mse",
    certificate_files: Sequence[Path] = (),
    shown: Shown | None = None,
    command: str | None = None,
    overwrite: bool = False,
) -> None:
    """Writes the report of run directories, sweeps and checkpoints, whole or not at all.

    No code that a run names is run unless the user names it, too (`Shown.named`).

    Args:
      out: a file that ends in `.html`.
      metric: what runs are compared by, and what tables of seeds show.
      certificate_files: that `msae verify --json` or `msae export` wrote.
      shown: which samples are shown.
      command: the command line that makes this report.

    Raises:
      InputError: something is no run directory or certificate, or damaged; `out` exists.
    """
    if out.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"--out must end in .html, got {out}.")
    if out.exists() and not overwrite:
        raise InputError(f"{out} exists: choose another --out, or --overwrite to replace it.")
    gather.check_metric(metric)
    shown = shown or Shown()
    read = [(path, certificates.read(path)) for path in certificate_files]
    subjects = gather.subjects(runs, shown.named)
    text = _page(subjects, metric, shown, read, command)
    make_folder_of(out)
    with replacing(out, overwrite) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _page(
    subjects: Sequence[Subject],
    metric: str,
    shown: Shown,
    read: Sequence[tuple[Path, certificates.Certificate | certificates.ExportCertificate]],
    command: str | None,
) -> str:
    drawings = Drawings()
    several = len(subjects) > 1
    compared, left_out = comparing.verdicts(subjects, metric, shown.named) if several else ([], [])
    sections: list[tuple[str, Html]] = []
    if several:
        both = [(s.name, r.curves(metric)) for s in subjects if not s.is_sweep for r in s.runs]
        drawn = found.joint_curves(both, metric, drawings)
        sections.append(("Comparison", joined([comparing.section(compared, left_out), drawn])))
    for subject in subjects:
        title = subject.name if several else "Results"
        sections.append((title, _subject(subject, metric, shown, drawings)))
    sections.append(("Configuration", configuration.section(subjects)))
    if read:
        sections.append(("Certificates", certificates.section(read)))
    sections.append(("Environment", _environment(subjects)))
    sections.append(("How to repeat it", _repeat(subjects, command)))
    names = " and ".join(s.name for s in subjects)
    if len(subjects) > 2:
        names = f"{', '.join(s.name for s in subjects[:-1])} and {subjects[-1].name}"
    version = environment.versions()["msae-jax"]
    lead = _lead(subjects, metric, compared, left_out)
    return page(f"Report of {names}", lead, sections, f"Made by msae report of msae_jax {version}.")


def _lead(
    subjects: Sequence[Subject],
    metric: str,
    compared: Sequence[Verdict],
    left_out: Sequence[str],
) -> Html:
    """Returns what was found, in sentences: verdicts, means, and what is not plainly finished."""
    lines = [element("strong", verdict.heading) for verdict in compared]
    said = [line for subject in subjects for line in found.sentences(subject, metric)]
    states = [line for subject in subjects for line in gather.state_sentences(subject)]
    return element("div", bullets([*lines, *left_out, *said, *states]), class_="lead")


def _subject(subject: Subject, metric: str, shown: Shown, drawings: Drawings) -> Html:
    first = subject.runs[0]
    parts: list[Html] = []
    if subject.is_sweep:
        points = _points(subject, metric)
        curves = found.joint_curves(points, metric, drawings)
    elif found.is_plain(first):
        parts.append(found.metrics(first))
        curves = found.curves(first, drawings)
    else:
        sources = dict.fromkeys(member.vary for member in first.members)
        listed = [
            (f"varies {source}", first.curves(metric, _rows(subject, source))) for source in sources
        ]
        curves = found.joint_curves(listed, metric, drawings)
    parts += [element("h3", "Curves"), curves]
    spread = None if subject.is_sweep else found.spread(first, metric)
    if spread is not None:
        parts += [element("h3", "Spread by source"), spread]
    parts += [element("h3", "Each seed"), found.members(subject, metric)]
    with_weights = next((run for run in subject.runs if run.checkpoint is not None), first)
    title = "Samples" if len(subject.runs) == 1 else f"Samples of {with_weights.name}"
    parts += [element("h3", title), samples.section(with_weights, shown, drawings)]
    parts += [element("h3", "Model and data"), found.facts(with_weights)]
    return joined(parts)


def _rows(subject: Subject, source: str) -> set[int]:
    return {i for i, member in enumerate(subject.runs[0].members) if member.vary == source}


def _points(subject: Subject, metric: str) -> list[tuple[str, np.ndarray]]:
    """Returns the curves `[seeds, epochs]` of each point of a grid, under what sets it apart."""
    found: dict[str, list[np.ndarray]] = {}
    for row in subject.rows(metric):
        name = ", ".join(f"{axis.rpartition('.')[2]}={row[axis]}" for axis in subject.axes)
        found.setdefault(name, []).append(row["run"].curves(metric, [row["index"]]))
    return [(name, _stacked(curves)) for name, curves in found.items()]


def _stacked(curves: Sequence[np.ndarray]) -> np.ndarray:
    """Returns curves `[n, epochs]` of several lengths as one array, NaN behind their ends."""
    whole = np.full((sum(map(len, curves)), max(values.shape[1] for values in curves)), np.nan)
    row = 0
    for values in curves:
        whole[row : row + len(values), : values.shape[1]] = values
        row += len(values)
    return whole


def _environment(subjects: Sequence[Subject]) -> Html:
    now = environment.describe()
    trained = [(s.name, s.runs[0].checkpoint) for s in subjects]
    head = ["package", *(f"trained {name}" for name, _ in trained), "made this report"]
    rows = [
        [name, *("" if c is None else c.versions.get(name, "") for _, c in trained), version]
        for name, version in now["versions"].items()
    ]
    settings: Any = jax.config
    wide = "on" if settings.jax_enable_x64 else "off"
    precision = settings.jax_default_matmul_precision or "the device's default"
    said = [
        f"This report was made on {now['platform']}, {now['device']}; products of matrices in "
        f"{precision} precision, 64-bit values {wide}.",
        "Runs keep the versions of the packages that trained them, and not the device.",
    ]
    return joined([table(head, rows), paragraphs(said)])


def _repeat(subjects: Sequence[Subject], command: str | None) -> Html:
    parts = []
    for subject in subjects:
        text = repeat.how(subject)
        with_what = "in Python" if repeat.is_python(text) else "at the command line"
        parts.append(element("p", f"To train {subject.name} again, {with_what}:"))
        parts.append(element("pre", element("code", text)))
    said = (
        "The same versions on the same device give the same bits; other ones give other rounding, "
        "and results within the spread over seeds."
    )
    parts.append(element("p", said))
    if command is not None:
        parts.append(element("p", "To make this report again:"))
        parts.append(element("pre", element("code", command)))
    return joined(parts)
