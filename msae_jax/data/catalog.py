"""The names of the data sets and what each one opens."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from msae_jax.data import arrays
from msae_jax.data.dataset import Dataset, Split, aligned
from msae_jax.errors import InputError, unknown_name

_NAMES = {
    "sines": "4,800 synthetic signals of length 128, the published study's own (no download)",
    "digits": "1,797 handwritten digits of scikit-learn, enlarged to 28x28x1 (no download)",
    "mnist": "70,000 handwritten digits, 28x28x1 (downloaded, or from --data-dir)",
    "fashion_mnist": "70,000 pictures of clothes, 28x28x1 (downloaded, or from --data-dir)",
}


def names() -> dict[str, str]:
    """Returns the built-in data sets: name -> one line of description."""
    return dict(_NAMES)


def load(
    name: str | Path, *, data_dir: str | Path | None = None, streaming: bool = False
) -> Dataset:
    """Opens a data set.

    Args:
      name: one of `names()`; `tfds:NAME` for an image data set of TensorFlow Datasets; or the path
        of an `.npy`, `.npz` or `.csv` file, one sample a row (see `arrays.load`).
      data_dir: the folder that holds the IDX files of `mnist` and `fashion_mnist`, by default the
        environment variable MSAE_DATA_DIR; the others ignore it. Not read once they are prepared.
      streaming: leave the samples of TFDS data sets on disk and read them as they are asked for.

    Returns: a Dataset of samples [N, ...], uint8 0..255 or float32. Arrays are aligned so that JAX
    on a CPU trains from them without a copy: do not write to them meanwhile. Prepared data are kept
    where TFDS keeps them (TFDS_DATA_DIR, by default ~/tensorflow_datasets).

    Raises: InputError for an unknown name, missing, damaged or unsuitable files.
    """
    opened = _open(str(name), data_dir, streaming)

    def resident(split: Split) -> Split:
        return split._replace(x=aligned(split.x)) if isinstance(split.x, np.ndarray) else split

    return replace(opened, train=resident(opened.train), test=resident(opened.test))


def _open(name: str, data_dir: str | Path | None, streaming: bool) -> Dataset:
    if Path(name).suffix.lower() in arrays.SUFFIXES:
        return arrays.load(name)
    if name.startswith("tfds:"):
        from msae_jax.data import tfds_images

        return tfds_images.load(name, streaming=streaming)
    if name in ("mnist", "fashion_mnist"):
        from msae_jax.data import idx

        return idx.load(name, data_dir=data_dir, streaming=streaming)
    if name == "sines":
        from msae_jax.data import sines

        return sines.load()
    if name == "digits":
        from msae_jax.data import digits

        return digits.load()
    raise InputError(
        f"{unknown_name('data set', name, _NAMES)} Or tfds:NAME, or a file ending in "
        f"{', '.join(arrays.SUFFIXES)}."
    )
