"""What the process of a tracker does: reads the log of a run as it grows, and passes it on."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock

from msae_jax.runs.history import COLUMNS
from msae_jax.system import names
from msae_jax.system.files import replacing
from msae_jax.trackers import KNOWN, About, Tracker

FOLDER = "trackers"
"""Of a run directory: what is told of it, and for each tracker its log and how far it is."""

TOLD = "told.json"
"""What the training process tells: the name of the run, where its log is, its series, and in the
end what became of each."""

_POLL = 1.0  # seconds between looks at the log


def feed(name: str, folder: Path, ended: threading.Event) -> int:
    """Feeds a tracker until `ended` is set and all is passed on; returns the exit status.

    Whatever it raises is written to `FOLDER/NAME.json`, which also says how far it came.
    """
    place = folder / FOLDER / filename(name)
    with filelock.FileLock(f"{place}.lock"):  # the process of a run that was killed may finish yet
        state = State(Path(f"{place}.json"))
        state.write()
        try:
            _feed(name, folder, ended, state)
        except Exception as error:  # of somebody's package
            state.write(error=_as_line(error, name))
            raise
    return 0


def filename(name: str) -> str:
    """Returns the name of a tracker as files have it: not every system takes a colon."""
    return name.replace(":", ".")


def _feed(name: str, folder: Path, ended: threading.Event, state: State) -> None:
    told = json.loads((folder / FOLDER / TOLD).read_text(encoding="utf-8"))
    found = names.find("tracker", name, KNOWN)
    made = names.find("tracker", found, {}) if isinstance(found, str) else found
    tracker: Tracker = made(About(told["name"], told["id"], folder))
    known = {}
    for series in told["series"]:
        title = series["name"]
        last = tracker.begin(title, series["config"], state.sent.get(title, 0))
        state.sent[title] = known[title] = last
        for epoch, metrics in series.get("lines", []):
            _log(tracker, state, title, epoch, metrics)
    titles = {_key(series["is"]): series["name"] for series in told["series"]}
    log = Lines(folder / told["log"])
    over = False
    while not over:
        over = ended.wait(_POLL)
        for line in log.new(again=over):
            series = titles.get(_key({k: v for k, v in line.items() if k not in COLUMNS}))
            if series is not None:
                metrics = {k: line[k] for k in COLUMNS if k != "epoch"}
                _log(tracker, state, series, line["epoch"], metrics)
        state.write()
    told = json.loads((folder / FOLDER / TOLD).read_text(encoding="utf-8"))
    for title, end in told["ends"].items():
        _end(tracker, state, folder, title, end, known[title])
    tracker.close()
    state.write()


def _log(tracker: Tracker, state: State, title: str, epoch: int, metrics: dict[str, float]) -> None:
    if epoch > state.sent[title]:
        tracker.log(title, epoch, metrics)
        state.sent[title] = epoch


def _end(
    tracker: Tracker, state: State, folder: Path, title: str, end: dict[str, Any], known: int
) -> None:
    """Logs how a series ended, unless the tracker has been told the same before."""
    images = [folder / path for path in end["images"]]
    digest = hashlib.sha256(json.dumps(end, sort_keys=True).encode())
    for path in images:
        digest.update(path.read_bytes())
    epoch = state.sent[title]
    if known == epoch and state.ended.get(title) == digest.hexdigest():
        return
    tracker.end(title, epoch, end["summary"], images)
    state.ended[title] = digest.hexdigest()


class State:
    """How far a tracker is, kept beside the run.

    Attributes:
      sent: by series, the last epoch that was logged. ended: what was said of its end, as a digest.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._written = path, ""
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
            self.sent: dict[str, int] = kept["sent"]
            self.ended: dict[str, str] = kept["ended"]
        except (OSError, ValueError, LookupError, TypeError):  # there is none, or no whole one
            self.sent, self.ended = {}, {}

    def write(self, error: str | None = None) -> None:
        text = json.dumps({"sent": self.sent, "ended": self.ended, "error": error}) + "\n"
        if text != self._written:
            with replacing(self._path, overwrite=True) as temporary:
                temporary.write_text(text, encoding="utf-8")
            self._written = text


class Lines:
    """The lines of a JSONL file that grows, and that may be replaced by one with other lines."""

    def __init__(self, path: Path) -> None:
        self._path, self._inode, self._position = path, -1, 0

    def new(self, *, again: bool = False) -> Iterator[dict[str, Any]]:
        """Yields the whole lines that have come since the last call; all of a file that is new.

        Args:
          again: yield all lines, whatever was yielded before.
        """
        try:
            file = self._path.open("rb")
        except FileNotFoundError:
            return
        with file:
            stat = os.fstat(file.fileno())
            if again or stat.st_ino != self._inode or stat.st_size < self._position:
                self._inode, self._position = stat.st_ino, 0
            file.seek(self._position)
            for text in file:
                if not text.endswith(b"\n"):  # it is being written
                    return
                try:
                    line = json.loads(text)
                except ValueError:  # another file with the number of the old one
                    self._position = 0
                    return
                self._position += len(text)
                yield line


def _key(values: dict[str, Any]) -> str:
    return json.dumps(values, sort_keys=True)


def _as_line(error: Exception, name: str) -> str:
    cause = error.__cause__
    if name in KNOWN and isinstance(cause, ModuleNotFoundError):
        return f"{cause.name} is not installed: pip install 'msae-jax[{name}]'"
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
