"""Preparing TFDS data sets once: one process at a time, quietly, leaving no debris."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import tensorflow_datasets as tfds
from absl import logging as absl_logging
from filelock import FileLock
from tensorflow_datasets.core.download import downloader
from tensorflow_datasets.core.utils import tqdm_utils

from msae_jax.errors import InputError

Make = Callable[[], tfds.core.DatasetBuilder]

_TFDS = "tensorflow_datasets."


def data_root() -> str | None:
    """Returns TFDS_DATA_DIR as it is now; None leaves the choice to TFDS."""
    return os.environ.get("TFDS_DATA_DIR") or None


def opened(make: Make, title: str) -> tfds.core.DatasetBuilder:
    """Returns `make()`, which reads what is known of prepared data where there are such.

    Raises: InputError if that is damaged.
    """
    try:
        with quiet():
            return make()
    except InputError:
        raise
    except Exception as error:  # whatever damage leads TFDS, protobuf and JSON to
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        where = data_root() or "~/tensorflow_datasets"
        raise InputError(
            f"{title}: the prepared files in {where} are damaged; delete that data set's folder, "
            f"and it is prepared again ({reason})"
        ) from error


def prepared(
    make: Make, title: str, config: tfds.download.DownloadConfig | None = None
) -> tfds.core.DatasetBuilder:
    """Returns `make()` once its data are prepared, preparing them if nobody has.

    A lock beside the data makes a second process wait for the first. TFDS writes into a folder
    `incomplete.*` and renames it at the end, so that a killed preparation never looks like a
    finished one; what it left behind is removed here.

    Raises: InputError if the folder cannot be written or the download fails; the errors of TFDS
    that say more (checksums, missing packages) pass through.
    """
    builder = make()
    if is_prepared(builder):
        return builder
    root = Path(builder.data_dir_root)
    try:
        root.mkdir(parents=True, exist_ok=True)
        print(f"preparing {title} in {root} ...", file=sys.stderr, flush=True)
        with FileLock(root / f".{builder.name}.lock"):
            builder = make()  # another process may have finished while we waited
            if is_prepared(builder):
                return builder
            _remove_debris(builder)
            with quiet():
                builder.download_and_prepare(
                    download_config=config, file_format=tfds.core.FileFormat.ARRAY_RECORD
                )
            return make()
    except (OSError, tfds.download.DownloadError) as error:  # requests' errors are OSErrors
        reason = " ".join(str(error).split())[:300]
        raise InputError(
            f"{title} could not be prepared in {root} (TFDS_DATA_DIR may name another folder): "
            f"{reason}"
        ) from error


def is_prepared(builder: tfds.core.DatasetBuilder) -> bool:
    """Returns whether the builder's data can be read; TFDS warns of each folder that is not so."""
    with quiet():
        return builder.is_prepared()


@contextlib.contextmanager
def no_foreign_features() -> Iterator[None]:
    """Keeps TFDS from importing the classes that a prepared folder's `features.json` names.

    Its own, and those that this process has defined already, need no import.
    """
    connector = tfds.features.FeatureConnector
    original = vars(connector)["cls_from_name"]

    def checked(name: str) -> type:
        if name not in connector._registered_features and not name.startswith(_TFDS):
            raise InputError(
                f"features.json names the class {name!r}, which is not part of TFDS, so its code "
                "is not run: delete the folder of that file, or import the class before loading"
            )
        return original.__func__(connector, name)

    setattr(connector, "cls_from_name", staticmethod(checked))  # noqa: B010
    try:
        yield
    finally:
        setattr(connector, "cls_from_name", original)  # noqa: B010


def _remove_debris(builder: tfds.core.DatasetBuilder) -> None:
    """Deletes what killed preparations left; only for our own builders, which all hold the lock."""
    if builder.name.startswith("msae_"):
        for folder in Path(builder.data_path).parent.glob("incomplete.*"):
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps TFDS from printing, and from trying a dead network for 204 seconds."""
    bars, retries = tqdm_utils._active, downloader.MAX_RETRIES
    loggers = [absl_logging.get_absl_logger(), logging.getLogger("urllib3")]
    levels = [logger.level for logger in loggers]
    tqdm_utils.display_progress_bar(False)
    downloader.MAX_RETRIES = 2
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        downloader.MAX_RETRIES = retries
        tqdm_utils.display_progress_bar(bars)
