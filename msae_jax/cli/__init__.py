"""The command line, `msae`: parses, calls, prints. What it calls is imported when it is used."""

from __future__ import annotations

import logging
import os
import sys
import traceback

import typer
from typer.exceptions import TyperException

from msae_jax import compilation_cache
from msae_jax.cli import bench, interop, listing, studies, training, verdicts, weights
from msae_jax.cli.app import app
from msae_jax.errors import DivergedError, InputError

__all__ = ["bench", "interop", "listing", "main", "studies", "training", "verdicts", "weights"]


def main() -> int:
    """Runs the command line; errors of the user's are one line, exit status 2.

    Where one of several processes fails, all end.
    """
    try:
        status = _run()
    except Exception as error:
        if not _joined_others():
            raise
        status = _fail_among_others(error)
    if status and _joined_others():
        from msae_jax import distributed

        distributed.leave(status)
    return status


def _joined_others() -> bool:
    distributed = sys.modules.get("msae_jax.distributed")  # imported where it is used only
    return distributed is not None and distributed.has_joined()


def _fail_among_others(error: Exception) -> int:
    import jax

    # a lost connection is either, of a CPU sometimes a ValueError; the rest are bugs
    if not isinstance(error, jax.errors.JaxRuntimeError) and "Gloo" not in str(error):
        traceback.print_exc()
    kind = type(error).__name__
    text = f"{kind}: {error}; if another process is gone, start all again with --resume"
    return _fail(text, 1)


def _run() -> int:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    compilation_cache.enable()
    logging.getLogger("absl").setLevel(logging.ERROR)  # Orbax and TFDS narrate
    try:
        return typer.main.get_command(app).main(prog_name="msae", standalone_mode=False) or 0
    except TyperException as error:
        return _fail(error.format_message() or "see msae --help", 2)
    except InputError as error:
        return _fail(str(error), 2)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{error.strerror or error}", 2)
    except DivergedError as error:
        return _fail(str(error), 1)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted; train --resume goes on where the last checkpoint is", 130)


def _fail(message: str, status: int) -> int:
    print(f"msae: error: {' '.join(message.split())}", file=sys.stderr)
    return status
