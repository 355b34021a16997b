"""The images of the study of generation: official files, or pictures in their place."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from msae_jax import data
from msae_jax.data import Dataset
from msae_jax.data.classes import conditional
from msae_jax.errors import InputError
from msae_jax.experiments.generation_methods import METHODS, SETS
from msae_jax.experiments.study import Setup

PICTURES = Path("cifar10") / "cifar10_jpeg.zip"
"""Below the folder of the data: all pictures of CIFAR-10, `train/CLASS/x.jpg` and `test/...`."""


class Images(NamedTuple):
    """A data set of images.

    Attributes:
      words: what it is called beside each number.
      classifier: the shipped classifier in whose features samples are measured.
    """

    words: str
    classifier: str
    dataset: Dataset

    def given_to(self, method: str) -> Dataset:
        """Returns what a method trains on: the images, or each with its class."""
        return conditional(self.dataset) if METHODS[method].conditional else self.dataset


def read(setup: Setup, key: str) -> Images:
    """Opens a data set of `SETS`; with `--quick` digits.

    Raises:
      InputError: its files are missing.
    """
    words = SETS[key].words
    if setup.quick:
        return Images("digits", key, data.load("digits"))
    if key == "cifar10" and (pictures := pictures_of(setup.data_dir)) is not None:
        return Images(f"{words} as JPEG", key, data.load(str(pictures)))
    return Images(words, key, data.load(key, data_dir=setup.data_dir))


def pictures_of(data_dir: Path | None) -> Path | None:
    """Returns the zip of pictures of CIFAR-10 where a folder of data has it, and not the official
    files; else None.

    The values of pictures differ a little from the official ones, by compression.
    """
    from msae_jax.data import cifar

    root = data_dir or os.environ.get("MSAE_DATA_DIR")
    if root is None or not (path := Path(root).expanduser() / PICTURES).is_file():
        return None
    try:
        cifar.find(root)
    except InputError:  # the official files are not there
        return path
    return None
