"""Starts the processes that feed trackers, tells them what they need, and waits for them."""

from __future__ import annotations

import contextlib
import functools
import json
import secrets
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from msae_jax import config
from msae_jax.figures.style import STYLE
from msae_jax.fitting.members import description
from msae_jax.report import gather, samples
from msae_jax.report.drawing import Drawings
from msae_jax.runs import directory
from msae_jax.system import distributed
from msae_jax.system.files import replacing
from msae_jax.system.html import Html
from msae_jax.trackers import PATIENCE
from msae_jax.trackers.feeder import FOLDER, TOLD, filename
from msae_jax.train.seeds import Member

_SAMPLES = 4
"""Test samples that are shown beside their reconstructions."""


@contextlib.contextmanager
def following(
    names: Sequence[str],
    out: str | Path,
    *,
    name: str | None = None,
    data_dir: str | Path | None = None,
) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Logs the run that is trained in the block to trackers; see `msae_jax.trackers`.

    Args:
      names: as `trackers.parse` gives them. out: the run directory.
      name: of the run, by default that of its directory.
      data_dir: where its data are, as for training.

    Yields:
      What the loop must call after each epoch (`on_epoch`).

    Warns:
      UserWarning: a tracker failed. Training goes on.
    """
    if not names or not distributed.is_main():
        yield lambda metrics: None
        return
    out = Path(out)
    feed = Feed(names, out, f"msae train --resume --out {out}")

    def begin() -> None:
        if not feed.has_begun:
            feed.begin(lambda: _series(out), name)

    def on_epoch(metrics: dict[str, Any]) -> None:
        begin()  # from now on the log is that of this run, not of one that was killed
        feed.look()

    ends: Mapping[str, Any] = {}
    try:
        yield on_epoch
        begin()  # of a run that was finished before
        if feed.is_running:
            ends = feed.tried("what became of the seeds", lambda: _ends(out, data_dir)) or {}
    finally:
        feed.finish(ends)


def send_verdict(
    names: Sequence[str], folder: Path, name: str, verdict: Mapping[str, Any], again: str
) -> None:
    """Logs what `results.compare` found, under the name of both sides.

    Args:
      folder: for what is told to the trackers, and what they write beside it.
      verdict: as `Verdict.to_dict` gives it.
      again: the command that logs it again where a tracker fails.

    Warns:
      UserWarning: a tracker failed.
    """
    numbers = {k: float(v) for k, v in verdict.items() if type(v) in (int, float)}
    texts = {k: v for k, v in verdict.items() if isinstance(v, str | bool)}
    series = {"name": "verdict", "is": {}, "config": dict(verdict), "lines": [[1, numbers]]}
    feed = Feed(names, folder, again)
    try:
        feed.begin(lambda: [series], name)
    finally:
        feed.finish({"verdict": {"summary": texts, "images": []}})


class Feed:
    """The processes that feed trackers with what is in a folder; no method raises what they do.

    Attributes:
      has_begun: whether they have been started.
    """

    def __init__(self, names: Sequence[str], folder: Path, again: str) -> None:
        """Starts nothing yet; `again` is the command that logs what a tracker has missed."""
        self._names, self._folder, self._again = list(names), folder, again
        self._running: dict[str, subprocess.Popen] = {}
        self._told: dict[str, Any] = {}
        self.has_begun = False

    def begin(self, series: Callable[[], list[dict[str, Any]]], name: str | None = None) -> None:
        """Tells what is logged, and starts the processes."""
        self.has_begun = True
        if self.tried("what trackers are told", lambda: self._tell(series(), name)) is None:
            return
        for tracker in self._names:
            process = self.tried(tracker, functools.partial(self._started, tracker))
            if process is not None:
                self._running[tracker] = process

    def _tell(self, series: list[dict[str, Any]], name: str | None) -> bool:
        folder = self._folder / FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        self._told = {
            "name": name or self._folder.resolve().name,
            "id": _id(folder / TOLD) or secrets.token_hex(4),
            "log": directory.METRICS,
            "series": series,
            "ends": {},
        }
        self._write()
        return True

    def _write(self) -> None:
        with replacing(self._folder / FOLDER / TOLD, overwrite=True) as temporary:
            temporary.write_text(json.dumps(self._told, default=list) + "\n", encoding="utf-8")

    def _started(self, tracker: str) -> subprocess.Popen:
        log = self._folder / FOLDER / f"{filename(tracker)}.log"
        with log.open("wb") as file:
            return subprocess.Popen(
                [sys.executable, "-m", "msae_jax.trackers", tracker, str(self._folder)],
                stdin=subprocess.PIPE,  # ends with this process, however it ends
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for this process, which ends the others
            )

    @property
    def is_running(self) -> bool:
        return bool(self._running)

    def look(self) -> None:
        """Says which of the processes have ended by themselves."""
        for tracker, process in [*self._running.items()]:
            if process.poll() is not None:
                self._warn(tracker, self._reason(tracker, process.returncode))
                del self._running[tracker]

    def finish(self, ends: Mapping[str, Any]) -> None:
        """Tells what became of each series, and waits until the processes end, or kills them."""
        if ends and self._running:
            self._told["ends"] = ends
            self.tried("what trackers are told", self._write)
        for process in self._running.values():
            assert process.stdin is not None
            with contextlib.suppress(OSError):  # it has ended
                process.stdin.close()
        end = time.monotonic() + PATIENCE
        try:
            for tracker, process in self._running.items():
                try:
                    status = process.wait(max(0.0, end - time.monotonic()))
                except subprocess.TimeoutExpired:
                    self._warn(tracker, f"it took more than {PATIENCE:g} seconds after training")
                    continue
                if status:
                    self._warn(tracker, self._reason(tracker, status))
        finally:
            for process in self._running.values():
                process.kill()
                process.wait()
            self._running = {}

    def _reason(self, tracker: str, status: int) -> str:
        state = self._folder / FOLDER / f"{filename(tracker)}.json"
        with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
            error = json.loads(state.read_text(encoding="utf-8"))["error"]
            if error:
                return str(error)
        return f"its process ended with status {status}; see {state.with_suffix('.log')}"

    def _warn(self, tracker: str, reason: str) -> None:
        warnings.warn(
            f"{tracker} has not got all of {self._folder}: {reason}; "
            f"{self._again} --log {tracker} logs what is missing.",
            stacklevel=2,
        )

    def tried(self, what: str, call: Callable[[], Any]) -> Any:
        """Returns what `call` returns; None, with a warning, where it raises."""
        try:
            return call()
        except Exception as error:  # training goes on, whatever it is
            text = " ".join(str(error).split()) or type(error).__name__
            warnings.warn(f"trackers of {self._folder}: {what}: {text}", stacklevel=2)
            return None


def _id(path: Path) -> str | None:
    """Returns the id that trackers know a run by, if it has one."""
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["id"])
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _series(out: Path) -> list[dict[str, Any]]:
    """Returns what there is to tell of each member of a run before it trains."""
    settings = directory.read_config(out)
    return [
        {
            "name": _title(member),
            "is": description(member),
            "config": config.to_dict(member.config(settings)),
        }
        for member in directory.read_members(out)
    ]


def _title(member: Member) -> str:
    """Returns what sets a member apart as files have it: `seed-0`, `seed-0-beta-4.0`."""
    return "-".join(f"{name}-{value}" for name, value in description(member).items())


def _ends(out: Path, data_dir: str | Path | None) -> dict[str, Any]:
    """Returns what became of each member; draws reconstructions of the first that has weights."""
    settings = directory.read_config(out)
    own = [str(settings.model.name), str(settings.data), str(settings.objective.likelihood)]
    (run,) = gather.subjects([out], own)[0].runs
    ends: dict[str, Any] = {
        _title(member): {"summary": {"state": run.state(i)}, "images": []}
        for i, member in enumerate(run.members)
    }
    row = samples.shown_member(run)
    if row is not None:
        drawn = _Collected()
        where = None if data_dir is None else Path(data_dir)
        samples.section(run, samples.Shown(_SAMPLES, None, where, own), drawn)
        ends[_title(run.members[row])]["images"] = drawn.save(out)
    return ends


class _Collected(Drawings):
    """Figures that become files, not parts of a page."""

    def __init__(self) -> None:
        super().__init__()
        self._figures: list[Figure] = []

    def add(self, figure: Figure, said: str, caption: object = None) -> Html:
        self._figures.append(figure)
        return Html("")

    def save(self, out: Path) -> list[str]:
        """Writes them as PNG below `out`; returns their places there."""
        found = []
        for i, figure in enumerate(self._figures, start=1):
            place = Path(FOLDER, f"reconstructions-{i}.png")
            with (
                matplotlib.rc_context(STYLE),
                replacing(out / place, overwrite=True) as temporary,
            ):
                figure.savefig(temporary, format="png", dpi=150)
            found.append(place.as_posix())
        return found
