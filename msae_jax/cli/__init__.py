"""The command line, `msae`: parses, calls, prints. Each command imports what it calls when it runs,
so that `msae --help` is quick."""

from __future__ import annotations

import functools
import logging
import os
import sys
import traceback
import warnings
from typing import Any

import typer
from typer.exceptions import TyperException

from msae_jax.cli import (
    augment,
    bench,
    explore,
    exporting,
    interop,
    learning_rate,
    listing,
    programs,
    report,
    sampling,
    series,
    studies,
    training,
    tuning,
    verdicts,
    weights,
)
from msae_jax.cli.app import app
from msae_jax.cli.reading import Notes
from msae_jax.errors import DivergedError, InputError, NotWrittenError
from msae_jax.system import compilation_cache, environment, streams

__all__ = [
    "augment",
    "bench",
    "explore",
    "exporting",
    "interop",
    "learning_rate",
    "listing",
    "main",
    "programs",
    "report",
    "sampling",
    "series",
    "studies",
    "training",
    "tuning",
    "verdicts",
    "weights",
]


def main() -> int:
    """Runs the command line and returns its exit status: 2 for a user's error, which is one line.

    If this is one of several processes and it fails, all end.
    """
    streams.prepare()
    streams.silence_background()
    notes = Notes()
    data_log = logging.getLogger("msae_jax.data")
    data_log.addHandler(notes)
    data_log.propagate = False
    waits = False
    try:
        status = _run()
    except NotWrittenError as error:
        status, waits = _fail(str(error), 2), True
    except Exception as error:
        if not _joined_others():
            missing = "jax" in sys.modules and environment.missing_device()
            if not missing:
                raise
            return _fail(missing, 2)
        status = _fail_among_others(error)
    finally:
        data_log.removeHandler(notes)
        data_log.propagate = True
    if status and _joined_others():
        from msae_jax.system import distributed

        distributed.leave(status)
    if waits:
        streams.leave(status)
    return status


def _joined_others() -> bool:
    distributed = sys.modules.get("msae_jax.system.distributed")  # no need to import it for this
    return distributed is not None and distributed.has_joined()


def _fail_among_others(error: Exception) -> int:
    import jax

    # A lost connection is a JaxRuntimeError or, on CPUs, a ValueError that names Gloo. Any other
    # error is a bug, whose traceback is needed.
    if not isinstance(error, jax.errors.JaxRuntimeError) and "Gloo" not in str(error):
        traceback.print_exc()
    kind = type(error).__name__
    text = f"{kind}: {error}; if another process has ended, start all again with --resume"
    return _fail(text, 1)


@functools.cache  # typer reads the signatures of all commands, which takes a tenth of a second
def _command() -> Any:
    return typer.main.get_command(app)


def _run() -> int:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    compilation_cache.enable()
    warnings.formatwarning = lambda message, *_, **__: f"msae: warning: {message}\n"
    logging.getLogger("absl").setLevel(logging.CRITICAL)  # Orbax and TFDS narrate
    try:
        arguments = [_with_home(text) for text in sys.argv[1:]]
        return _command().main(arguments, prog_name="msae", standalone_mode=False) or 0
    except TyperException as error:
        return _fail(error.format_message() or "see msae --help", 2)
    except NotWrittenError:
        raise
    except InputError as error:
        return _fail(str(error), 2)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{error.strerror or error}", 2)
    except DivergedError as error:
        return _fail(str(error), 1)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted; train --resume goes on from the last checkpoint", 130)


def _with_home(argument: str) -> str:
    """Returns `--out=~/run` with the home folder in it, as shells expand `--out ~/run` only."""
    option, equals, value = argument.partition("=")
    if equals and option.startswith("--") and value.startswith("~"):
        return f"{option}={os.path.expanduser(value)}"
    return os.path.expanduser(argument)


def _fail(message: str, status: int) -> int:
    print(f"msae: error: {' '.join(message.split())}", file=sys.stderr)
    return status
