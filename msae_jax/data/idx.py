"""`mnist` and `fashion_mnist`: the official IDX files, through TFDS and without TensorFlow.

`checksums.tsv` beside this module is TFDS's own table (URL, bytes, SHA-256, file name), which its
download manager enforces on downloaded and on local files alike. The rows without `.gz` are for
unpacked local files: nothing is downloaded from those addresses.
"""

from __future__ import annotations

import functools
import gzip
import os
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core.download.checksums import compute_url_info
from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError

from msae_jax.data.dataset import Dataset
from msae_jax.data.options import expanded
from msae_jax.data.prepare import data_root, is_prepared, opened, prepared
from msae_jax.data.records import Records
from msae_jax.errors import InputError

FILES = tuple(
    f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")
)
PATIENCE = 6  # seconds until a network that does not answer counts as none


class IdxImages(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """70,000 images, uint8 [28, 28, 1], in the order of the official files."""

    VERSION = tfds.core.Version("1.0.0")
    url: str
    layouts: tuple[str, ...]
    folder: Path | None = None  # where the files are, if not to be downloaded
    classes: tuple[str, ...] | None = None  # what the labels stand for, where they are no digits

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            disable_shuffling=True,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Tensor(
                        shape=(28, 28, 1), dtype=np.uint8, encoding=tfds.features.Encoding.BYTES
                    ),
                    "label": tfds.features.ClassLabel(num_classes=10),
                }
            ),
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator]:
        paths = dl_manager.download({file: self.url + stored(self.folder, file) for file in FILES})
        return {
            split: self._generate_examples(
                read_idx(paths[f"{part}-images-idx3-ubyte"]),
                read_idx(paths[f"{part}-labels-idx1-ubyte"]),
            )
            for split, part in [("train", "train"), ("test", "t10k")]
        }

    def _generate_examples(self, images: np.ndarray, labels: np.ndarray) -> Iterator:
        for index, (image, label) in enumerate(zip(images[..., None], labels, strict=True)):
            yield index, {"image": image, "label": int(label)}


class MsaeMnist(IdxImages):
    url = "https://storage.googleapis.com/cvdf-datasets/mnist/"
    layouts = ("mnist", "MNIST/raw", "raw", ".")


class MsaeFashionMnist(IdxImages):
    url = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
    layouts = ("fashion_mnist", "FashionMNIST/raw", "raw", ".")
    classes = (
        "T-shirt", "Trousers", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag",
        "Ankle boot",
    )  # fmt: skip


BUILDERS = {"mnist": MsaeMnist, "fashion_mnist": MsaeFashionMnist}


def load(name: str, *, data_dir: str | Path | None = None, streaming: bool = False) -> Dataset:
    """Returns 60,000 training and 10,000 test images, uint8 [N, 28, 28, 1], and labels 0..9.

    The first call prepares them, from `data_dir`, else MSAE_DATA_DIR, else the network.

    Raises: InputError if there are neither files nor a network, or a file's SHA-256 is wrong.
    """
    folder: Path | None = None

    def make() -> IdxImages:
        builder = BUILDERS[name](data_dir=data_root())
        builder.folder = folder  # as found below, once files are needed
        return builder

    builder = opened(make, name)
    if not is_prepared(builder):
        folder = find(name, data_dir)
        config = tfds.download.DownloadConfig(
            manual_dir=folder, try_download_gcs=False, force_checksums_validation=True
        )
        try:
            builder = prepared(make, name, config)
        except NonMatchingChecksumError as error:
            where = _mismatch(builder, folder) if folder else None
            raise InputError(where or " ".join(str(error).split())) from error
    train, test = (Records(builder, part).split(streaming=streaming) for part in ("train", "test"))
    return Dataset(name, train, test, classes=builder.classes)


mnist = functools.partial(load, "mnist")
fashion_mnist = functools.partial(load, "fashion_mnist")


def find(name: str, data_dir: str | Path | None) -> Path | None:
    """Returns the folder that holds the four files of `name`; None means: download them.

    Looks in `data_dir` (else MSAE_DATA_DIR) and in the sub-folders of the builder's `layouts`.

    Raises: InputError if `data_dir` is given and lacks files, or there is neither folder nor
    network; within `PATIENCE` seconds.
    """
    builder = BUILDERS[name]
    root = data_dir or os.environ.get("MSAE_DATA_DIR")
    looked = [expanded(root) / layout for layout in builder.layouts] if root else []
    for folder in looked:
        if all((folder / file).is_file() or (folder / f"{file}.gz").is_file() for file in FILES):
            return folder
    if data_dir is None:
        reason = unreachable(f"{builder.url}{FILES[-1]}.gz")
        if reason is None:
            return None
        problem = f"{name} cannot be downloaded ({reason})"
    else:
        problem = f"{name} is not in {data_dir}"
    places = f" (looked in {', '.join(map(str, looked))})" if looked else ""
    raise InputError(
        f"{problem}{places}: put {', '.join(f'{file}.gz' for file in FILES)}, packed or unpacked, "
        "into a folder and name it with --data-dir or the environment variable MSAE_DATA_DIR"
    )


def _mismatch(builder: IdxImages, folder: Path) -> str | None:
    """Returns which file of `folder` is not the official one, and why."""
    for file in FILES:
        path = folder / stored(folder, file)
        expected = builder.url_infos[builder.url + path.name].checksum
        got = compute_url_info(path).checksum
        if got != expected:
            return (
                f"{path}: SHA-256 is {got}, the official file's is {expected}: it is damaged or "
                f"another data set's; the official one is {builder.url}{file}.gz"
            )
    return None


def stored(folder: Path | None, file: str) -> str:
    """Returns the name an official file has in `folder`, or in the network: unpacked or `.gz`."""
    packed = folder is None or (folder / f"{file}.gz").is_file()
    return f"{file}.gz" if packed else file


def unreachable(url: str) -> str | None:
    """Returns why `url` cannot be had, or None if it can, within `PATIENCE` seconds.

    A thread asks, because looking up a name knows no time limit.
    """
    import requests

    answers: list[str | None] = []

    def ask() -> None:
        try:
            status = requests.head(url, timeout=PATIENCE, allow_redirects=True).status_code
            answers.append(None if status < 400 else f"HTTP status {status}")
        except (requests.RequestException, OSError, ValueError) as error:
            answers.append(type(error).__name__)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return answers[0] if answers else f"no answer in {PATIENCE} seconds"


def read_idx(path: str | os.PathLike[str]) -> np.ndarray:
    """Returns the uint8 array of an IDX file, gzipped or not: two zeros, 8, rank, sizes, values.

    Raises: InputError if the file is no such thing.
    """
    data = Path(path).read_bytes()
    try:
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        if data[:3] != b"\0\0\x08":
            raise ValueError(f"starts with {data[:4].hex()}")
        shape = np.frombuffer(data, ">i4", count=data[3], offset=4)
        return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(shape)
    except (ValueError, IndexError, OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: not an IDX file of bytes: {error}") from error
