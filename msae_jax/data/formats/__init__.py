"""The formats of users' files and folders: which they are, and what they hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from msae_jax.data.formats import arrow, image_files, zarr
from msae_jax.data.formats.stored import CLASSES, Content
from msae_jax.data.options import Options, note
from msae_jax.errors import InputError

TABLES = arrow.SUFFIXES
SUFFIXES = (".npy", ".npz", ".csv", *TABLES, ".zip", ".zarr")
"""How the names of files of samples end; folders have any name."""

FOLDERS = "folders of images"

_USES = {
    "label": (".csv", *TABLES),
    "columns": (".csv", *TABLES),
    "header": (".csv",),
    "separator": (".csv",),
    "decimal": (".csv",),
    "image_size": (FOLDERS, ".zip", *TABLES),
}
"""The options that are for some formats alone."""


def read(path: Path, options: Options, *, mapped: bool = False) -> Content:
    """Returns what a file or folder holds.

    Args:
      mapped: leaves the values of an `.npy` file where they are.

    Raises: InputError if it is missing, damaged, no data set, or an option does not fit it.
    """
    kind = _kind(path)
    for option, kinds in _USES.items():
        if getattr(options, option) is not None and kind not in kinds:
            raise InputError(f"{path}: --{option.replace('_', '-')} is for {', '.join(kinds)}")
    return _read(path, kind, options, mapped)


def _kind(path: Path) -> str:
    """Returns the suffix of a file, the suffix that a folder stands for, or `folders` of images."""
    suffix = path.suffix.lower()
    if path.is_dir():
        from msae_jax.data.formats import tables

        if zarr.is_zarr(path):
            return ".zarr"
        return TABLES[0] if tables.is_folder_of_tables(path) else FOLDERS
    if suffix not in SUFFIXES:
        raise InputError(f"{path}: expected a folder, or a file ending in {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise InputError(f"{path}: no such file. Put it there, or name other data (--data).")
    return suffix


def _read(path: Path, kind: str, options: Options, mapped: bool) -> Content:
    if kind in TABLES:
        from msae_jax.data.formats import tables

        return tables.read(path, options)
    if kind in (FOLDERS, ".zip"):
        return image_files.read(path, options)
    if kind == ".zarr":
        if not path.is_dir():
            raise InputError(f"{path}: is no folder, as a zarr array is")
        return zarr.read(path)
    if kind == ".csv":
        from msae_jax.data.table import read_csv

        table = read_csv(path, options)
        if table.notes:
            note(f"{path}: {'; '.join(table.notes)}")
        found = {"x": table.x, "y": table.y, CLASSES: table.classes}
        return {key: np.asarray(value) for key, value in found.items() if value is not None}
    from msae_jax.data import binary

    content = binary.read(path, mapped=mapped)
    return {"x": content} if isinstance(content, np.ndarray) else content
