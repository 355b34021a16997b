"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import contextlib
import glob
import os
import secrets
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

from msae_jax.errors import InputError


def make_folder_of(path: Path) -> None:
    """Makes the folder that a path lies in, and those above it, where they are not there.

    Raises:
        InputError: it cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        is_file = isinstance(error, FileExistsError | NotADirectoryError)
        why = "is a file, expected a folder" if is_file else error.strerror or str(error)
        raise InputError(
            f"{path} cannot be written: {error.filename or path.parent}: {why}. Choose another "
            "place."
        ) from error


@contextlib.contextmanager
def replacing(path: str | Path, overwrite: bool = False) -> Iterator[Path]:
    """Yields an empty file beside `path`, and moves what was written there to `path` on success.

    On any exception the temporary file is removed and `path` is as it was. The file has the mode
    that `open` gives a new one, whatever wrote it (safetensors' own files are for the owner only).

    Raises:
        InputError: `path` exists and `overwrite` is False, or it cannot be written.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise InputError(
            f"{path} exists already; overwrite (--overwrite, overwrite=True) replaces it."
        )
    temporary = _temporary(path)
    try:
        temporary.touch()
        mode = temporary.stat().st_mode
        yield temporary
        temporary.chmod(mode)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}.") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yields an empty folder beside `path`, and renames it to `path` on success.

    On any exception the temporary folder is removed.

    Raises:
        InputError: `path` exists.
    """
    if path.exists():
        raise InputError(f"{path} exists already: choose another place for the run directory.")
    make_folder_of(path)
    temporary = _temporary(path)
    try:
        temporary.mkdir()
        yield temporary
        os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _temporary(path: Path) -> Path:
    """Returns a temporary name with host and process id; removes leftovers of dead processes."""
    host = socket.gethostname()
    for stale in path.parent.glob(f".{glob.escape(path.name)}.{glob.escape(host)}.*.tmp"):
        pid = stale.name.split(".")[-3]
        if pid.isdigit() and not _is_running(int(pid)):
            with contextlib.suppress(OSError):
                shutil.rmtree(stale) if stale.is_dir() else stale.unlink()
    return path.with_name(f".{path.name}.{host}.{os.getpid()}.{secrets.token_hex(4)}.tmp")


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True
