"""The names of the data sets and what each one opens."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from msae_jax.data import arrays, classes, formats, series
from msae_jax.data.dataset import Dataset, Split, aligned, take
from msae_jax.data.options import parse
from msae_jax.errors import InputError, unknown_name
from msae_jax.system import names as naming

Loader = Dataset | Callable[..., Dataset]
"""A data set, or a function that returns one; it may take `data_dir` and `streaming` of `load`."""

FILES = (*formats.SUFFIXES, *series.SUFFIXES)
"""How the names of files of samples or series end."""

CONDITIONAL = "conditional:"
"""Before the name of a data set: its samples with their class, for models of images given it."""


class _Entry(NamedTuple):
    loader: Loader | str  # a built-in is a `package.module:name`, imported when it is used
    description: str


_KNOWN: dict[str, _Entry] = {
    "sines": _Entry(
        "msae_jax.data.sines:load",
        "4,800 synthetic signals of length 128, the published study's own (no download)",
    ),
    "digits": _Entry(
        "msae_jax.data.digits:load",
        "1,797 handwritten digits of scikit-learn, enlarged to 28x28x1 (no download)",
    ),
    "mnist": _Entry(
        "msae_jax.data.idx:mnist",
        "70,000 handwritten digits, 28x28x1 (downloaded, or from --data-dir)",
    ),
    "fashion_mnist": _Entry(
        "msae_jax.data.idx:fashion_mnist",
        "70,000 pictures of clothes, 28x28x1 (downloaded, or from --data-dir)",
    ),
    "cifar10": _Entry(
        "msae_jax.data.cifar:load",
        "60,000 colour pictures of 10 classes, 32x32x3 (downloaded, or from --data-dir)",
    ),
}


def names() -> dict[str, str]:
    """Returns the registered data sets: name -> one line of description."""
    return {name: entry.description for name, entry in _KNOWN.items()}


def register(name: str, loader: Loader, description: str = "") -> None:
    """Names a data set of your own.

    Args:
      loader: a `Dataset`, or a function that returns one; see `Loader`.

    Raises:
      InputError: the name is taken.
    """
    naming.add("data set", name, _Entry(loader, description), _KNOWN)


def names_code(name: str) -> bool:
    """Whether a data set is a `package.module:name`, and no file and not one of TFDS."""
    is_file = Path(name).suffix.lower() in FILES
    name = name.removeprefix(CONDITIONAL)
    return naming.is_own(name) and not is_file and not name.startswith("tfds:")


def load(
    name: str | Path, *, data_dir: str | Path | None = None, streaming: bool = False
) -> Dataset:
    """Opens a data set.

    Args:
      name: one of `names()`; `package.module:name`, a `Loader` of your own; `tfds:NAME` for an
        image data set of TensorFlow Datasets; `conditional:NAME` for the samples of another, each
        with its class behind it (see `classes.conditional`); or the path of a folder, or a file
        ending as in `FILES`, of samples (see `arrays.load`) or series (see `series.load`), after
        which `options.Options` may follow: `x.csv?label=y&header=no`, `ecg.csv?window=128`.
      data_dir: the folder that holds the official files of `mnist`, `fashion_mnist` and `cifar10`,
        by default the environment variable MSAE_DATA_DIR. It is not read once they are prepared. A
        function of your own gets it if it has this parameter; all other data sets ignore it.
      streaming: read samples from disk when they are needed; for MNIST, Fashion-MNIST, CIFAR-10,
        `tfds:NAME`, your own `Source`, and files and folders as `arrays.load` says. Others are in
        memory anyway.

    Returns: a Dataset of samples [N, ...], uint8 0..255 or float32. Arrays are aligned so that JAX
    on a CPU trains from them without a copy: do not write to them meanwhile. Prepared data are kept
    where TFDS keeps them (TFDS_DATA_DIR, by default ~/tensorflow_datasets).

    Raises: InputError for an unknown name, missing, damaged or unsuitable files.
    """
    opened = _open(name if isinstance(name, str) else str(name), data_dir, streaming)

    def placed(split: Split) -> Split:
        if isinstance(split.x, np.ndarray):
            return split._replace(x=aligned(split.x))
        if isinstance(split.x, series.Windows):
            return split
        return split if streaming else split._replace(x=take(split.x, np.arange(len(split.x))))

    return replace(opened, train=placed(opened.train), test=placed(opened.test))


def _open(name: str, data_dir: str | Path | None, streaming: bool) -> Dataset:
    if name.startswith(CONDITIONAL):
        inner = type(name)(name.removeprefix(CONDITIONAL))  # a name from a file stays marked
        return classes.conditional(_open(inner, data_dir, streaming))
    path, options = parse(name)
    if path.suffix.lower() in FILES or (name not in _KNOWN and path.is_dir()):
        if series.wanted(path, options):
            return series.load(name)
        return arrays.load(name, streaming=streaming)
    if name.startswith("tfds:"):
        from msae_jax.data import tfds_images

        return tfds_images.load(name, streaming=streaming)
    if not names_code(name) and name not in _KNOWN:
        raise InputError(
            f"{unknown_name('data set', name, _KNOWN)} Or package.module:name, tfds:NAME, a "
            f"folder, or a file ending in {', '.join(FILES)}."
        )
    found = naming.find("data set", name, _KNOWN)
    loader: Any = found.loader if isinstance(found, _Entry) else found
    if isinstance(loader, str):
        loader = naming.find("data set", loader, {})
    if callable(loader):
        given = {"data_dir": data_dir, "streaming": streaming}
        taken = inspect.signature(loader).parameters
        loader = loader(**{key: value for key, value in given.items() if key in taken})
    if not isinstance(loader, Dataset):
        raise naming.wrong_kind("data set", name, loader, "msae_jax.Dataset, or a function of one")
    return loader
