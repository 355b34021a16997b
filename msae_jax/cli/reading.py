"""The options that say how a user's file is read, for every command that reads one."""

from __future__ import annotations

import functools
import inspect
import logging
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from msae_jax.errors import InputError

OPTIONS = {
    "label": "Column of labels, by name or number.",
    "columns": "Columns of features: a,c:e.",
    "header": "Whether line 1 of a CSV names columns: yes, no.",
    "separator": "Of a CSV: comma, semicolon, tab, space, |.",
    "decimal": "Decimal mark of a CSV: point or comma.",
    "scale": "What values are divided by: 255 for intensities, 1 for none.",
    "image_size": "Of image files: 32, or 30x20 for height x width.",
    "layout": "Of images: channels-first, channels-last; of series: channels, series.",
    "window": "Of a series: points of a window.",
    "stride": "Of a series: from a window's start to the next. [1]",
    "time": "Of a series: column of time stamps.",
    "time_format": "Of time stamps: %d.%m.%Y %H:%M. [ISO 8601]",
    "channels": "Of a series: columns of channels: a,c:e.",
    "resample": "Of a series: seconds of an even grid.",
    "scaling": "Of a series: zscore, robust, window, none. [zscore]",
    "train_share": "Of a series: share of its points to train on. [0.7]",
    "train_points": "Of a series: how many points to train on.",
    "gap": "Of a series: points left out before the test part. [0]",
    "max_gap": "Of a series: longest gap in a window, a share of it. [0.5]",
    "split": "Of a series: time or random; of samples: hash, which adding some leaves as it is.",
}
SERIES = ("time", "time_format", "channels", "resample", "label", "header", "separator", "decimal")
"""Those that say how the file of a series is read, and not what is made of it."""


def reads(parameter: str, names: Sequence[str] = tuple(OPTIONS)) -> Callable[[Callable], Callable]:
    """Gives a command reading options, and puts them into the name that `parameter` holds.

    Options of which the command has one of the same name, such as `--split`, are its own.

    There the name of a data set keeps them, as `x.csv?label=y`; see `msae_jax.data.options`.
    """

    def decorate(command: Callable) -> Callable:
        signature = inspect.signature(command, eval_str=True)
        options = [name for name in names if name not in signature.parameters]

        @functools.wraps(command)
        def wrapped(**given: Any) -> Any:
            told = {name: given.pop(name, None) for name in options}
            if any(value is not None for value in told.values()):
                from msae_jax.data import options as reading

                if (name := given.get(parameter)) is None:
                    first = next(key for key, value in told.items() if value is not None)
                    flag = {"samples": "input"}.get(parameter, parameter)
                    first = first.replace("_", "-")
                    raise InputError(f"--{first} says how a file is read: it needs --{flag} FILE.")
                given[parameter] = type(name)(reading.named(name, **told))
            return command(**given)

        added = [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=None,
                annotation=Annotated[str | None, typer.Option(help=OPTIONS[name])],
            )
            for name in options
        ]
        parameters = [*signature.parameters.values(), *added]
        wrapped.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        wrapped.__annotations__ = {p.name: p.annotation for p in parameters}
        return wrapped

    return decorate


class Notes(logging.Handler):
    """Prints what was guessed about a file, once each: `msae: note: ...`."""

    def __init__(self) -> None:
        super().__init__()
        self.said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        text = " ".join(record.getMessage().split())
        if text not in self.said:
            self.said.add(text)
            print(f"msae: note: {text}", file=sys.stderr)
