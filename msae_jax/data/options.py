"""How a user's file is to be read, as part of its name: `samples.csv?label=y&header=no`.

A name with its options is one string, so that whatever keeps the name of a data set (a run's
`config.json`, a sweep, a certificate) reads the file again as it was read the first time.
"""

from __future__ import annotations

import logging
import math
import os
import re
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlencode

from msae_jax.errors import InputError, unknown_name

note = logging.getLogger("msae_jax.data").warning
"""Says what was guessed about a file; the command line prints it as `msae: note: ...`."""

_CHOICES = {
    "header": ("yes", "no"),
    "separator": (",", ";", "\t", "|", " "),
    "decimal": (".", ","),
    "layout": ("channels-first", "channels-last", "channels", "series"),
    "scaling": ("none", "zscore", "robust", "window"),
    "split": ("time", "random", "hash"),
}
_NAMED = {",": "comma", ";": "semicolon", "\t": "tab", " ": "space", ".": "point"}
_SPELLED = {name: mark for mark, name in _NAMED.items()} | {"\\t": "\t"}
_COUNTS = {"window": 2, "stride": 1, "train_points": 1, "gap": 0}
"""The options that are whole numbers, and the least that each may be."""
_SHARES = ("train_share", "max_gap")
SERIES_ONLY = (
    "window", "stride", "time", "time_format", "channels", "resample", "scaling", "train_share",
    "train_points", "gap", "max_gap", "split",
)  # fmt: skip
"""The options of which each says that a file holds series; see `msae_jax.data.series`."""


@dataclass(frozen=True)
class Options:
    """What the user said about a file; None leaves it to the reader, which says what it guessed.

    Attributes:
      label: the column of a table that holds labels, by its name, or by its number, counted from 1,
        where a CSV file has no header.
      columns: the columns that are features, separated by commas; `a:c` is a range that includes
        both ends, and `:` stands for all.
      header: `yes` or `no`: whether the first line of a CSV file names the columns.
      separator, decimal: the characters between cells, and between a number's whole part and the
        rest.
      scale: what every value is divided by. 255 says that the values are intensities, 1 that they
        are used as they are.
      layout: `channels-first` moves axis 1 of images [N, C, H, W] to the end; `channels-last` says
        that the axes are right as they are. Of series, `channels` says that an array of two axes is
        one series [T, C], `series` that it is a collection [N, T].
      image_size: what images of files are brought to: `32`, or `30x20` for height and width. They
        are scaled to fill it, and cut at the edges.
      window, stride: of series, the points of a window, and from one window's start to the next.
      time, channels: the columns of the time stamps and of the channels; `time_format` is how time
        stamps are written, as `datetime.strptime` has it.
      resample: the step, in seconds, of an even grid that the series is put on.
      scaling: `zscore`, `robust` or `none`, learned from the training part; `window` for each
        window by itself.
      train_share, train_points: how much of a series, from its start, is the training part.
      gap: points between the training part and the test part.
      max_gap: the longest run of missing points inside a window, as a share of its length.
      split: of series `time`, or `random`, which mixes windows that share points. Of samples
        `hash`: whether a sample is held out depends on its own values alone, so that samples which
        are added later move no other from one part to the other.
    """

    label: str | None = None
    columns: str | None = None
    header: str | None = None
    separator: str | None = None
    decimal: str | None = None
    scale: str | None = None
    layout: str | None = None
    image_size: str | None = None
    window: str | None = None
    stride: str | None = None
    time: str | None = None
    time_format: str | None = None
    channels: str | None = None
    resample: str | None = None
    scaling: str | None = None
    train_share: str | None = None
    train_points: str | None = None
    gap: str | None = None
    max_gap: str | None = None
    split: str | None = None

    def __post_init__(self) -> None:
        for name in ("separator", "decimal"):
            value = getattr(self, name)
            object.__setattr__(self, name, _SPELLED.get(value, value))
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if value is not None and value not in choices:
                raise unknown_name(name, value, [_NAMED.get(choice, choice) for choice in choices])
        if self.separator == self.decimal == ",":
            raise InputError("separator and decimal mark are both ',': expected two that differ.")
        if self.scale is not None and not self.divisor() > 0:
            raise InputError(f"scale must be a number above 0, got {self.scale!r}.")
        if self.image_size is not None:
            self.size()
        for name in (*_COUNTS, *_SHARES, "resample"):
            if getattr(self, name) is not None:
                self._check_number(name)

    def _check_number(self, name: str) -> None:
        value, least = self.number(name), _COUNTS.get(name)
        if least is not None and not (value.is_integer() and value >= least):
            expected = f"a whole number of at least {least}"
        elif name in _SHARES and not 0 < value < 1:
            expected = "a number between 0 and 1"
        elif name == "resample" and not 0 < value < math.inf:
            expected = "seconds, a number above 0"
        else:
            return
        raise InputError(f"{name} must be {expected}, got {getattr(self, name)!r}.")

    def number(self, name: str, default: float = math.nan) -> float:
        """Returns an option as a number; NaN where it is none."""
        value = getattr(self, name)
        try:
            return float(default if value is None else value)
        except ValueError:
            return math.nan

    def size(self) -> tuple[int, int] | None:
        """Returns `image_size` as (height, width).

        Raises: InputError if it is no size.
        """
        if self.image_size is None:
            return None
        found = re.fullmatch(r"(\d{1,5})(?:x(\d{1,5}))?", self.image_size)
        height = int(found[1]) if found else 0
        width = int(found[2]) if found and found[2] else height
        if not height or not width:
            raise InputError(f"image_size must be 32, or 30x20 (HxW), got {self.image_size!r}.")
        return height, width

    def divisor(self) -> float:
        """Returns `scale` as a number; NaN where it is none or not finite."""
        try:
            value = float(self.scale or "nan")
        except ValueError:
            return float("nan")
        return value if value < float("inf") else float("nan")


def expanded(path: str | Path) -> Path:
    """Returns the path with `~` as the home folder, as it is where there is no home."""
    return Path(os.path.expanduser(path))


def parse(name: str | Path) -> tuple[Path, Options]:
    """Splits a file's name from the options behind its `?`.

    Raises: InputError for an option that does not exist, or a value that it does not take.
    """
    path, mark, query = str(name).partition("?")
    if not mark or expanded(str(name)).exists():  # a file may have a question mark in its name
        return expanded(str(name)), Options()
    known = [field.name for field in fields(Options)]
    given = dict(parse_qsl(query, keep_blank_values=True))
    for key in given:
        if key not in known:
            raise unknown_name("reading option", key, known)
    return expanded(path), Options(**given)


def named(name: str | Path, **given: str | None) -> str:
    """Returns the data set's name with the given options, for `msae_jax.data.load`.

    They replace those that the name holds already; None leaves an option as it is.
    """
    path, options = parse(name)
    changed = asdict(options) | {key: value for key, value in given.items() if value is not None}
    Options(**changed)  # refuses what cannot be
    query = urlencode({k: v for k, v in changed.items() if v is not None}, quote_via=quote)
    return f"{path}?{query}" if query else str(name)
